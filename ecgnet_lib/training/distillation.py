"""Distillation: a random forest on hand-crafted features gives the network soft labels.

On few recordings such a forest classifies better than a network alone. Its probabilities hold more
than the 0 or 1 of the label, and the network learns from both (Hinton, Vinyals and Dean 2015, arXiv
1503.02531, section 2). Once trained it needs neither forest nor features.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.network.inference import Signals, batch_getter
from ecgnet_lib.training.loss import MIN_TRAIN, Labels, truth_of

FOREST = {"n_estimators": 500, "min_samples_leaf": 2, "max_features": 0.3}
FOREST |= {"class_weight": "balanced_subsample", "bootstrap": True, "oob_score": True}
READ = 256  # recordings in memory at a time


def features_of_all(signals: Signals) -> np.ndarray:
    """Return the hand-crafted features (N, F) of all recordings, read some at a time."""
    get, rows = batch_getter(signals), np.arange(len(signals))
    parts = np.split(rows, range(READ, len(rows), READ))
    return np.concatenate([features_of(get(part)).to_numpy() for part in parts])


def out_of_bag_soft_labels(
    features: np.ndarray, labels: Labels, train: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Return the probabilities (N, 6) of abnormal and the five diseases that forests give.

    features: (N, F). Each tree grows on a bootstrap sample of the rows `train`, and a recording's
    probability comes from the trees that have not seen it (out of bag): otherwise the forest would
    repeat the labels. Where a label is unknown, all trees count. Rows outside `train` are NaN. A
    class with fewer than MIN_TRAIN positives or negatives gets its prevalence.
    """
    truth, soft_labels = truth_of(labels), np.full((len(features), 6), np.nan, np.float32)
    for column in range(soft_labels.shape[1]):
        known = train[~np.isnan(truth[train, column])]
        y = truth[known, column] > 0
        if min(y.sum(), (~y).sum()) < MIN_TRAIN:
            soft_labels[train, column] = y.mean() if len(y) else 0.5
            continue
        forest = ExtraTreesClassifier(random_state=seed, **FOREST).fit(features[known], y)
        unknown = np.setdiff1d(train, known)
        if len(unknown):
            soft_labels[unknown, column] = forest.predict_proba(features[unknown])[:, 1]
        soft_labels[known, column] = forest.oob_decision_function_[:, 1]
    return soft_labels
