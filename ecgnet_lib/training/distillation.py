"""A forest that has measured a recording teaches a network that only sees it.

On few recordings two hundred textbook measurements and a forest judge better than a network alone.
What the forest believes of a training recording, a probability a class, says more than the 0 or 1
of its label: the network learns from both (distillation: Hinton, Vinyals and Dean 2015,
arXiv 1503.02531, section 2). Once trained it needs neither forest nor measurements.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.network.inference import Signals, reader
from ecgnet_lib.training.loss import MIN_TRAIN, Labels, truth_of

TREES = 500
READ = 256  # recordings in memory at a time


def measurements(signals: Signals) -> np.ndarray:
    """Return the hand-made features (N, F) of all recordings, read some at a time."""
    read, rows = reader(signals), np.arange(len(signals))
    parts = np.split(rows, range(READ, len(rows), READ))
    return np.concatenate([features_of(read(part)).to_numpy() for part in parts])


def teach(features: np.ndarray, labels: Labels, train: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return what forests believe of the rows `train`: P of abnormal and the five diseases (N, 6).

    features: (N, F). Each tree grows on a bootstrap sample, and only trees that have not grown on a
    recording judge it (out of bag): otherwise the forest would repeat the labels. Where a label is
    not known, all trees judge. Rows outside `train` are NaN. A class with fewer than MIN_TRAIN
    positives or negatives is believed to be as frequent as it is.
    """
    truth, beliefs = truth_of(labels), np.full((len(features), 6), np.nan, np.float32)
    for column in range(beliefs.shape[1]):
        known = train[~np.isnan(truth[train, column])]
        y = truth[known, column] > 0
        if min(y.sum(), (~y).sum()) < MIN_TRAIN:
            beliefs[train, column] = y.mean() if len(y) else 0.5
            continue
        forest = ExtraTreesClassifier(
            TREES, min_samples_leaf=2, max_features=0.3, class_weight="balanced_subsample",
            bootstrap=True, oob_score=True, random_state=seed,
        ).fit(features[known], y)  # fmt: skip
        unknown = np.setdiff1d(train, known)
        if len(unknown):
            beliefs[unknown, column] = forest.predict_proba(features[unknown])[:, 1]
        beliefs[known, column] = forest.oob_decision_function_[:, 1]
    return beliefs
