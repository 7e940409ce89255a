"""Calibration, triage levels, conformal sets, net benefit, selective prediction. No prognosis.

Scaling, cuts and quantiles are fitted on validation data. The truth is a reader's diagnosis from
the ECG; the databases hold no follow-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import binomtest

from ecgnet_lib.errors import SignalError
from ecgnet_lib.evaluation.metrics import MIN_POSITIVES

CLIP = 1e-6  # probabilities are recorded with six decimals; the logit of 0 or 1 is infinite
BINS = 15
LEVELS = ("low", "medium", "high")
LOW_AT_MOST, HIGH_AT_LEAST = 0.05, 0.9  # shares of abnormal recordings that the levels aim at


def platt(truth: np.ndarray, p: np.ndarray) -> tuple[float, float] | None:
    """Return slope and intercept of Platt scaling; None with too few positives or negatives.

    calibrated = sigmoid(slope * logit(p) + intercept), by maximum likelihood on validation data.
    truth: (N,) in {0, 1}; p: (N,). As in Platt (1999) the targets are (n + 1) / (n + 2) for the n
    positives and 1 / (n + 2) for the n negatives: the slope stays finite. Too few: under
    MIN_POSITIVES of either kind.
    """
    from sklearn.linear_model import LogisticRegression

    y = np.asarray(truth, dtype=bool)
    n_positive, n_negative = y.sum(), (~y).sum()
    if min(n_positive, n_negative) < MIN_POSITIVES:
        return None
    target = np.where(y, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    x = _logit(p)
    # scikit-learn has no soft targets: each row counts as both classes, weighted by its target
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.tile(x, 2)[:, None], np.repeat([1, 0], len(x)), np.concatenate([target, 1 - target])
    )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _logit(p: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(p, dtype=float), CLIP, 1 - CLIP))


def calibrate(truth: pd.DataFrame, scores: pd.DataFrame) -> dict:
    """Return {"platt": {name: [slope, intercept]}, "triage_cuts": [low, high]} for a checkpoint.

    truth: (N, K) booleans, missing where unknown; scores: (N, K) probabilities, both of validation
    recordings and with a column "abnormal". A column with too few positives or negatives gets no
    parameters. The cuts are those of the calibrated P(abnormal).
    """
    parameters = {}
    for name in scores:
        known = truth[name].notna().to_numpy()
        if fit := platt(truth[name][known].to_numpy(bool), scores[name].to_numpy()[known]):
            parameters[name] = list(fit)
    known = truth["abnormal"].notna().to_numpy()
    calibrated = apply_platt(scores, parameters)["abnormal"].to_numpy()[known]
    cuts = triage_cuts(truth["abnormal"][known].to_numpy(float), calibrated)
    return {"platt": parameters, "triage_cuts": list(cuts)}


def apply_platt(scores: pd.DataFrame, parameters: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Return calibrated probabilities (N, K); a column without parameters stays as it is.

    scores: (N, K) with a column "abnormal". The others are joint with it: one that exceeds it after
    scaling is set to it.
    """
    result = scores.astype(float)
    for name, (slope, intercept) in parameters.items():
        result[name] = expit(slope * _logit(result[name]) + intercept)
    return result.clip(upper=result["abnormal"], axis=0)


def ece(truth: np.ndarray, p: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error, sum_b n_b / N |observed share - mean p| (Guo 2017).

    truth: (N,) in {0, 1}; p: (N,) probabilities of the positive; equal bins of [0, 1].
    """
    y, p = np.asarray(truth, dtype=float), np.asarray(p, dtype=float)
    which = np.minimum((p * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(which, y - p)).sum() / len(p))


def noise_floor(p: np.ndarray, bins: int = BINS, draws: int = 1000, seed: int = 0) -> tuple:
    """Return mean and 97.5 % point of the ECE of a perfectly calibrated network.

    Its truth is drawn from its probabilities p (N,), `draws` times.
    """
    p, rng = np.asarray(p, dtype=float), np.random.default_rng(seed)
    errors = [ece(rng.random(len(p)) < p, p, bins) for _ in range(draws)]
    return float(np.mean(errors)), float(np.quantile(errors, 0.975))


def triage_cuts(abnormal: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Return the two cuts of P(abnormal), from validation data, between low, medium and high.

    Below the first at most LOW_AT_MOST of the recordings are abnormal, from the second on at least
    HIGH_AT_LEAST. Where no cut reaches this the cut is 0 (or above 1). Equal scores stay together.
    """
    order = np.argsort(score)
    y, s = np.asarray(abnormal, float)[order], np.asarray(score, float)[order]
    n, steps = np.arange(1, len(y) + 1), s[1:] != s[:-1]
    clean = np.flatnonzero(np.append(steps, True) & (y.cumsum() / n <= LOW_AT_MOST))
    sick = np.append(True, steps) & ((y[::-1].cumsum() / n)[::-1] >= HIGH_AT_LEAST)
    low = float(np.nextafter(s[clean[-1]], 2)) if len(clean) else 0.0
    high = float(s[sick.argmax()]) if sick.any() else 1.1
    return min(low, high), high


def triage_level(p_abnormal: float, cuts: Sequence[float]) -> str:
    """Name the level of one recording: "low", "medium" or "high"."""
    return "low" if p_abnormal < cuts[0] else "high" if p_abnormal >= cuts[1] else "medium"


def wilson(positives: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval (1927) of a share; (0, 1) without a case."""
    if not n:
        return 0.0, 1.0
    interval = binomtest(int(positives), int(n)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def observed_rates(
    groups: Sequence[str], truth: np.ndarray, order: Sequence[str] = LEVELS
) -> pd.DataFrame:
    """Return n, share, positives, rate, low and high (Wilson) for each group, in `order`.

    groups: (N,) names; truth: (N,) in {0, 1}. The rate of an empty group is NaN.
    """
    counts = pd.Series(np.asarray(truth, int)).groupby(np.asarray(groups)).agg(["size", "sum"])
    rows = counts.reindex(order, fill_value=0).set_axis(["n", "positives"], axis=1)
    rows.insert(1, "share", rows["n"] / len(truth))
    rows["rate"] = rows["positives"] / rows["n"]
    limits = [wilson(k, n) for k, n in zip(rows["positives"], rows["n"], strict=True)]
    rows[["low", "high"]] = np.reshape(limits, (len(rows), 2))
    return rows.rename_axis(None)


def conformal_sets(
    truth: np.ndarray, p_val: np.ndarray, p: np.ndarray, alpha: float = 0.1, by_class: bool = False
) -> np.ndarray:
    """Return the conformal set of each p (N,) as (N, 2) bool: normal, abnormal.

    Split conformal prediction with the score 1 - P(answer): an answer is in the set when its score
    is at most the ceil((n + 1)(1 - alpha))-th smallest score of the truth among the n validation
    recordings (truth, p_val: both (n,)), infinity when there is none. The set holds the truth with
    chance 1 - alpha or more, if validation and test are exchangeable; by_class, with quantiles of
    its own for each class, within each class (Vovk 2013). Raises SignalError with fewer than
    MIN_POSITIVES recordings of a class.
    """
    y, counts = np.asarray(truth, int), np.bincount(np.asarray(truth, int), minlength=2)
    if counts.min() < MIN_POSITIVES:
        what = f"conformal sets need {MIN_POSITIVES} normal and {MIN_POSITIVES} abnormal recordings"
        raise SignalError(what, found=counts.tolist())
    p_val, p, sets = np.asarray(p_val, float), np.asarray(p, float), []
    of_truth = np.where(y == 1, 1 - p_val, p_val)
    for answer, score in enumerate((p, 1 - p)):
        known = np.sort(of_truth[y == answer] if by_class else of_truth)
        rank = int(np.ceil((len(known) + 1) * (1 - alpha)))
        limit = known[rank - 1] if rank <= len(known) else np.inf
        sets.append(score <= limit + CLIP / 100)  # 1 - p is rounded: equal scores stay equal
    return np.column_stack(sets)


def decision_curve(truth: np.ndarray, p: np.ndarray, thresholds: np.ndarray) -> pd.DataFrame:
    """Return the net benefit of acting on p, of acting on all, and on none (Vickers, Elkin 2006).

    Net benefit = TP / N - FP / N * t / (1 - t), acting where p >= t, for each t in `thresholds`
    (inside (0, 1), the index). truth, p: (N,). Columns network, all, none.
    """
    y, p, t = np.asarray(truth, bool), np.asarray(p, float), np.asarray(thresholds, float)
    act = p >= t[:, None]  # (T, N)
    odds = t / (1 - t)
    network = (act & y).mean(1) - (act & ~y).mean(1) * odds
    everybody = y.mean() - (1 - y.mean()) * odds
    index = pd.Index(t, name="threshold")
    return pd.DataFrame({"network": network, "all": everybody, "none": 0.0}, index)


def abstention(truth: np.ndarray, p: np.ndarray, counts: np.ndarray) -> tuple:
    """Return the share answered and the F1 among the answered, both (R, K), by falling confidence.

    The network answers "abnormal" where p >= 0.5; its confidence is |p - 0.5|, of which the K
    columns are the distinct values. truth, p: (N,), calibrated; counts: (R, N), how often each
    recording counts. F1 is NaN where there is neither an abnormal recording nor an alarm.
    """
    y, p = np.asarray(truth, bool), np.asarray(p, float)
    confidence = np.abs(p - 0.5)
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))  # ends of runs of ties

    def so_far(which: np.ndarray) -> np.ndarray:
        return (counts * which)[:, order].cumsum(1)[:, last]

    answered = so_far(np.ones(len(y), dtype=bool))
    hits, wrong = so_far(y & (p >= 0.5)), so_far(y != (p >= 0.5))
    with np.errstate(invalid="ignore"):
        return answered / answered[:, -1:], 2 * hits / (2 * hits + wrong)


def answered_at(answered: np.ndarray, f1: np.ndarray, target: float) -> np.ndarray:
    """Return the largest share answered with F1 >= target for each row of `abstention`, else 0."""
    return np.where(f1 >= target, answered, 0.0).max(1)
