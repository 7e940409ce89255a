"""Three peers that train no network: MiniRocket, hand-crafted features, an untrained encoder.

Each computes features of a recording without its labels, then fits one classifier a label, whose
setting is chosen on validation by log loss: with a single positive the AUC would be chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.base import ClassifierMixin, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn
from tqdm.auto import tqdm

from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.training.loss import MIN_TRAIN, NAMES, Labels, truth_of

CROP_S = 2.5  # what the networks are trained on


class Peer:
    """Features and a classifier a label.

    A subclass gives `describe`, which maps recordings (N, 12, T) mV to features (N, F), the
    `scaling` of these, and `choices`, the classifiers among which validation chooses.
    """

    scaling: TransformerMixin = StandardScaler()
    choices: Sequence[ClassifierMixin]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.chosen: dict[str, ClassifierMixin | float] = {}

    def prepare(self, signals: np.ndarray) -> None:
        """Fit what `describe` needs to the training recordings."""

    def fit(self, signals: np.ndarray, labels: Labels, train: np.ndarray, val: np.ndarray) -> Peer:
        """Fit a classifier for each label on rows `train`, chosen by log loss on rows `val`.

        signals: (N, 12, T) float32 mV, whole recordings. A label with fewer than MIN_TRAIN
        positives or negatives in training predicts its prevalence. Returns itself.
        """
        self.prepare(signals[train])
        self.scale = clone(self.scaling)
        x = self.scale.fit_transform(self.describe(signals[train]))
        x_val = self.scale.transform(self.describe(signals[val]))
        truth = truth_of(labels)
        for column, name in enumerate(tqdm(NAMES, desc=type(self).__name__, unit="label")):
            y, y_val = truth[train, column], truth[val, column]
            known, known_val = ~np.isnan(y), ~np.isnan(y_val)
            y, y_val = y[known] > 0, y_val[known_val] > 0
            if min(y.sum(), (~y).sum()) < MIN_TRAIN:
                self.chosen[name] = float(y.mean()) if len(y) else 0.5
                continue
            best = np.inf
            for choice in self.choices:
                fitted = clone(choice).fit(x[known], y)
                loss = 0.0  # without validation labels, the first
                if known_val.any():
                    p = fitted.predict_proba(x_val[known_val])[:, 1]
                    loss = log_loss(y_val, p, labels=[False, True])
                if loss < best:
                    best, self.chosen[name] = loss, fitted
        return self

    def predict(self, signals: np.ndarray) -> np.ndarray:
        """Return probabilities (N, 6) float32 of NAMES."""
        x = self.scale.transform(self.describe(signals))
        columns = [
            np.full(len(x), one) if isinstance(one, float) else one.predict_proba(x)[:, 1]
            for one in (self.chosen[name] for name in NAMES)
        ]
        return np.column_stack(columns).astype(np.float32)


def logistic(*strengths: float) -> list[ClassifierMixin]:
    return [LogisticRegression(C=c, max_iter=300) for c in strengths]


class MiniRocket(Peer):
    """Shares of positive values after 10,000 fixed convolutions (Dempster et al., KDD 2021).

    The offsets of the kernels are drawn from training recordings; the classifier is a strongly
    regularised logistic regression. It does not change under rotation: principal components only
    make it faster. The transform is aeon's.
    """

    scaling = make_pipeline(StandardScaler(), PCA(svd_solver="full"))
    choices = logistic(1e-4, 1e-3, 1e-2)

    def prepare(self, signals: np.ndarray) -> None:
        from aeon.transformations.collection.convolution_based import MiniRocket as Transform

        self.transform = Transform(random_state=self.seed, n_jobs=1).fit(signals)

    def describe(self, signals: np.ndarray) -> np.ndarray:
        return np.asarray(self.transform.transform(signals), np.float32)


class Features(Peer):
    """The hand-crafted features of `features.py` and 500 extremely randomised trees a label."""

    scaling = FunctionTransformer()  # leaves the features as they are

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.choices = [ExtraTreesClassifier(500, random_state=seed)]

    def describe(self, signals: np.ndarray) -> np.ndarray:
        """Return the features, NaN where one cannot be measured; trees split on NaN as well."""
        return features_of(signals).to_numpy()


class Untrained(Peer):
    """A network with random weights: its pooled tokens, averaged over crops, and a regression.

    Its score is what the architecture alone accounts for. Crops of 2.5 s overlap by half.
    """

    choices = logistic(1e-2, 1e-1, 1, 10)

    def __init__(self, seed: int = 0, make: Callable[[], nn.Module] = FoundationalECGNet) -> None:
        super().__init__(seed)
        torch.manual_seed(seed)
        self.network = make().eval()

    def describe(self, signals: np.ndarray) -> np.ndarray:
        """Return the input of the network's trunk, (N, F), averaged over the crops."""
        seen: list[torch.Tensor] = []
        hook = self.network.trunk.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        length, rows = round(CROP_S * self.network.config.fs_hz), []
        with torch.no_grad():
            for start in range(0, len(signals), 128):
                seen.clear()
                batch = torch.from_numpy(np.ascontiguousarray(signals[start : start + 128]))
                for crop in batch.unfold(-1, length, length // 2).unbind(2):
                    self.network(crop)
                rows.append(torch.stack(seen).mean(0))
        hook.remove()
        return torch.cat(rows).numpy()


CLASSICAL = {"MiniRocket": MiniRocket, "features": Features, "untrained": Untrained}
