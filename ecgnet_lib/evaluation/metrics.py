"""Evaluation: metrics for each class with 95 % intervals from resampling patients.

A class with fewer than MIN_POSITIVES positives or negatives is not estimable.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from ecgnet_lib.errors import SignalError

MIN_POSITIVES = 20
METRICS = ("auc", "average_precision", "precision", "recall", "f1")


def best_threshold(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the threshold with the highest F1 on validation data; 0.5 without positives.

    truth, score: (N,). Predict positive where score >= threshold.
    """
    if not truth.any():
        return 0.5
    precision, recall, thresholds = precision_recall_curve(truth, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[np.argmax(f1[:-1])])


def weighted_metrics(
    truth: np.ndarray, score: np.ndarray, decision: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every metric of METRICS for R weightings of the same N recordings at once.

    truth, decision: (N,) in {0, 1}; score: (N,); weights: (R, N), how often each recording counts.
    AUC and average precision are those of the score, the others those of the decision. Average
    precision is the step sum sum_k (R_k - R_{k-1}) P_k. All equal scikit-learn's with
    `sample_weight`. A metric that is undefined in a resample (no positive) is NaN there.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # ends of runs of ties
    positive = (weights * truth)[:, order].cumsum(1)[:, last].astype(float)  # (R, K)
    flagged = weights[:, order].cumsum(1)[:, last].astype(float)
    n_positive = positive[:, -1]
    auc = weighted_auc(truth, score, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.diff(positive, axis=1, prepend=0.0)
        at = positive / np.where(flagged > 0, flagged, 1)
        average_precision = (gain * at).sum(1) / n_positive
        hits = weights @ (truth * decision)
        alarms = weights @ decision
        precision = np.where(alarms > 0, hits / np.maximum(alarms, 1), 0.0)
        recall = hits / n_positive
        f1 = 2 * hits / (alarms + n_positive)
    values = (auc, average_precision, precision, recall, f1)
    return {m: np.where(n_positive > 0, v, np.nan) for m, v in zip(METRICS, values, strict=True)}


def weighted_auc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC for R weightings of the same N recordings, (R,); NaN where it is undefined.

    It is the Mann-Whitney statistic: the share of pairs of a positive and a negative recording in
    which the positive has the higher score, ties counted as one half.
    """
    yes, no = truth > 0, truth == 0
    order = np.argsort(score[no], kind="stable")
    below = np.zeros((len(weights), len(order) + 1))  # (R, K): weight of the K lowest negatives
    np.cumsum(weights[:, no][:, order], axis=1, out=below[:, 1:])
    ranked, positive = score[no][order], weights[:, yes].astype(float)
    first, last = (np.searchsorted(ranked, score[yes], side) for side in ("left", "right"))
    pairs = 0.5 * np.einsum("rp,rp->r", positive, below[:, first] + below[:, last])
    with np.errstate(invalid="ignore", divide="ignore"):
        return pairs / (positive.sum(1) * below[:, -1])


def patient_resamples(patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return (R, N) counts: patients drawn with replacement, each with all their recordings."""
    codes, names = pd.factorize(np.asarray(patients))
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    return draws[:, codes]


def per_class(
    truth: pd.DataFrame,
    scores: pd.DataFrame,
    decisions: pd.DataFrame,
    patients: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row a column of `truth` with n, positives, and each metric with its interval.

    truth: (N, K) booleans, missing where unknown; scores: (N, K) probabilities and decisions:
    (N, K) booleans of the same columns; patients: (N,), the unit that is resampled. Columns: n,
    positives, prevalence, estimable, and for each metric m: m, m_low, m_high (2.5 and 97.5 % of the
    bootstrap). Raises SignalError when a score is not finite.
    """
    if not np.isfinite(scores.to_numpy(float)).all():
        raise SignalError("a score is NaN or infinite", remedy="check the output of the model")
    counts = patient_resamples(patients, resamples, seed)
    rows = {}
    for name in truth.columns:
        known = truth[name].notna().to_numpy()
        y, s, flagged = (f[name][known].to_numpy(float) for f in (truth, scores, decisions))
        rows[name] = row = {
            "n": len(y),
            "positives": int(y.sum()),
            "prevalence": y.mean() if len(y) else 0.0,
            "estimable": min(y.sum(), len(y) - y.sum()) >= MIN_POSITIVES,
        }
        if len(y):
            point = weighted_metrics(y, s, flagged, np.ones((1, len(y))))
            spread = weighted_metrics(y, s, flagged, counts[:, known])
            for metric in METRICS:
                row[metric] = float(point[metric][0])
                finite = spread[metric][np.isfinite(spread[metric])]
                low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan,) * 2
                row[f"{metric}_low"], row[f"{metric}_high"] = float(low), float(high)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("class")


def macro_auc_samples(truth: pd.DataFrame, scores: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Return the mean AUC over the columns for each weighting of the recordings, (R,).

    truth, scores: (N, K) of the same columns; counts: (R, N), a row of ones for the point itself or
    `patient_resamples`. Use the same counts for two networks and subtract: a paired bootstrap.
    """
    columns = []
    for name in truth.columns:
        known = truth[name].notna().to_numpy()
        y, s = (frame[name][known].to_numpy(float) for frame in (truth, scores))
        columns.append(weighted_auc(y, s, counts[:, known]))
    return np.mean(columns, axis=0)
