"""Metrics against scikit-learn, intervals by their properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from ecgnet_lib.errors import SignalError
from ecgnet_lib.evaluation.metrics import (
    best_threshold,
    macro_auc_samples,
    patient_resamples,
    per_class,
    weighted_metrics,
)


def sample(n: int = 300, seed: int = 0, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(float)
    score = rng.normal(truth, 1.0)
    return truth, np.round(score, 1) if ties else score


@pytest.mark.parametrize("ties", [True, False])
def test_every_metric_equals_scikit_learn_with_weights(ties: bool) -> None:
    truth, score = sample(ties=ties)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(truth)))
    decision = (score >= 0.4).astype(float)
    got = weighted_metrics(truth, score, decision, weights)
    for r, w in enumerate(weights):
        want = {
            "auc": sk.roc_auc_score(truth, score, sample_weight=w),
            "average_precision": sk.average_precision_score(truth, score, sample_weight=w),
            "precision": sk.precision_score(truth, decision, sample_weight=w),
            "recall": sk.recall_score(truth, decision, sample_weight=w),
            "f1": sk.f1_score(truth, decision, sample_weight=w),
        }
        for name, value in want.items():
            assert got[name][r] == pytest.approx(value, abs=1e-10), name


def test_best_threshold_has_the_highest_f1_of_all() -> None:
    truth, score = sample()
    found = best_threshold(truth, score)
    every = [sk.f1_score(truth, score >= t) for t in np.unique(score)]
    assert sk.f1_score(truth, score >= found) == pytest.approx(max(every))
    assert best_threshold(np.zeros(4), np.arange(4.0)) == 0.5


def test_patients_are_resampled_whole() -> None:
    patients = np.array(["a", "b", "b", "c", "c", "c"])
    counts = patient_resamples(patients, 200, seed=0)
    assert counts.shape == (200, 6) and (counts[:, [0, 1, 3]].sum(1) == 3).all()
    assert (counts[:, [1, 3, 3]] == counts[:, [2, 4, 5]]).all()
    assert np.array_equal(counts, patient_resamples(patients, 200, seed=0))


def frames(n: int = 400) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth, score = sample(n)
    rare = np.zeros(n)
    rare[:19] = 1
    return (
        pd.DataFrame({"MI": truth.astype(bool), "QT": rare.astype(bool)}),
        pd.DataFrame({"MI": score, "QT": np.linspace(0, 1, n)}),
    )


def test_per_class_marks_what_cannot_be_estimated_and_brackets_the_point() -> None:
    truth, scores = frames()
    result = per_class(truth, scores, scores > 0.5, np.arange(400), resamples=300)
    assert result.loc["MI", "estimable"]
    assert not result.loc["QT", "estimable"]
    assert result.loc["QT", "positives"] == 19
    for name in ("auc", "average_precision", "precision", "recall", "f1"):
        low, point, high = (result.loc["MI", name + end] for end in ("_low", "", "_high"))
        assert low < point < high


def test_intervals_widen_when_recordings_come_from_few_patients() -> None:
    truth, scores = frames()
    order = np.argsort(scores["MI"].to_numpy())
    truth, scores = truth.iloc[order], scores.iloc[order]
    many = per_class(truth, scores, scores > 0.5, np.arange(400), resamples=300)
    few = per_class(truth, scores, scores > 0.5, np.arange(400) // 40, resamples=300)

    def width(frame: pd.DataFrame) -> float:
        return frame.loc["MI", "recall_high"] - frame.loc["MI", "recall_low"]

    assert width(few) > 1.5 * width(many)


def test_unknown_labels_are_left_out_and_nan_scores_refused() -> None:
    truth, scores = frames()
    unknown = truth.astype("boolean")
    unknown.loc[:99, "MI"] = pd.NA
    part = per_class(unknown, scores, scores > 0.5, np.arange(400), resamples=10)
    assert part.loc["MI", "n"] == 300
    assert part.loc["MI", "auc"] == pytest.approx(
        sk.roc_auc_score(truth["MI"][100:], scores["MI"][100:])
    )
    scores.iloc[0, 0] = np.nan
    with pytest.raises(SignalError):
        per_class(truth, scores, scores > 0.5, np.arange(400), resamples=10)


def test_macro_auc_is_the_mean_of_scikit_learns_and_differences_are_paired() -> None:
    truth, scores = frames()
    counts = patient_resamples(np.arange(400), 50, seed=1)
    got = macro_auc_samples(truth, scores, counts)
    for r in (0, 49):
        want = [sk.roc_auc_score(truth[c], scores[c], sample_weight=counts[r]) for c in truth]
        assert got[r] == pytest.approx(np.mean(want))
    same = macro_auc_samples(truth, scores * 2 + 1, counts)  # a monotone map keeps every rank
    np.testing.assert_allclose(same - got, 0, atol=1e-12)
