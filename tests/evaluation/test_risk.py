"""Calibration, triage, conformal sets and net benefit: closed forms, oracles, known truths."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binom
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from ecgnet_lib.errors import SignalError
from ecgnet_lib.evaluation.metrics import patient_resamples
from ecgnet_lib.evaluation.risk import (
    HIGH_AT_LEAST,
    LEVELS,
    LOW_AT_MOST,
    abstention,
    answered_at,
    apply_platt,
    calibrate,
    conformal_sets,
    decision_curve,
    ece,
    noise_floor,
    observed_rates,
    platt,
    triage_cuts,
    triage_level,
    wilson,
)
from ecgnet_lib.figures import scores


def sample(n: int, slope: float = 1, intercept: float = 0, seed: int = 0):
    """Return truth (n,) and scores (n,) such that sigmoid(slope * logit(score) + ...) is right."""
    rng = np.random.default_rng(seed)
    score = expit(rng.normal(0, 2, n))
    return rng.random(n) < expit(slope * logit(score) + intercept), score


class Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose decision function is its input."""

    classes_ = np.array([0, 1])

    def fit(self, x: np.ndarray, y: np.ndarray) -> Scores:
        raise AssertionError("it is frozen")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (x[:, 0] > 0).astype(int)

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]


@pytest.mark.parametrize("separable", [False, True])
def test_platt_equals_scikit_learns_sigmoid_calibration(separable: bool) -> None:
    truth, score = sample(300, slope=0.5, intercept=-1)
    truth = score > 0.6 if separable else truth
    x = logit(score)[:, None]
    oracle = CalibratedClassifierCV(FrozenEstimator(Scores()), method="sigmoid").fit(x, truth)
    want = oracle.calibrated_classifiers_[0].calibrators[0]
    # the oracle stops early; what it and we predict is compared, not the parameters
    slope, intercept = platt(truth, score)
    got = expit(slope * x[:, 0] + intercept)
    np.testing.assert_allclose(got, expit(-want.a_ * x[:, 0] - want.b_), atol=2e-3)


def test_platt_needs_positives_and_negatives() -> None:
    truth, score = np.arange(100) < 19, np.linspace(0, 1, 100)
    assert platt(truth, score) is None
    assert platt(~truth, score) is None
    assert platt(np.arange(100) < 20, score) is not None


def frames(n: int = 3000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return truth and scores of validation recordings; QT is too rare, 100 are unknown."""
    sick, score = sample(n, slope=0.5, intercept=1)
    rare = np.arange(n) < 19
    truth = pd.DataFrame({"abnormal": sick, "MI": sick & (score > 0.5), "QT": rare})
    truth = truth.astype("boolean")
    truth.loc[:99, "abnormal"] = pd.NA
    return truth, pd.DataFrame({"abnormal": score, "MI": score * 0.9, "QT": score * 0.1})


def test_calibrate_gives_what_a_checkpoint_stores() -> None:
    truth, scores = frames()
    got = calibrate(truth, scores)
    assert json.loads(json.dumps(got)) == got
    assert list(got["platt"]) == ["abnormal", "MI"]
    known = truth["abnormal"].notna().to_numpy()
    sick = truth["abnormal"][known].to_numpy(bool)
    assert got["platt"]["abnormal"] == pytest.approx(platt(sick, scores["abnormal"][known]))
    p = apply_platt(scores, got["platt"])["abnormal"][known]
    assert got["triage_cuts"] == pytest.approx(triage_cuts(sick, p.to_numpy()))
    assert sick[p >= got["triage_cuts"][1]].mean() >= HIGH_AT_LEAST


def test_scaling_is_the_formula_keeps_the_rest_and_never_exceeds_abnormal() -> None:
    scores = pd.DataFrame({"abnormal": [0.5, 0.2], "MI": [0.4, 0.1], "QT": [0.3, 0.19]})
    got = apply_platt(scores, {"abnormal": [2.0, -1.0], "MI": [1.0, 5.0]})
    assert got["abnormal"].tolist() == pytest.approx(
        [1 / (1 + np.e), 1 / (1 + np.e * 16)]  # logit(0.2) = -ln 4, twice that is -ln 16
    )
    assert got["MI"].tolist() == got["abnormal"].tolist()
    assert got["QT"].tolist() == pytest.approx([min(0.3, got["abnormal"][0]), got["abnormal"][1]])
    pd.testing.assert_frame_equal(apply_platt(scores, {}), scores)
    sure = pd.DataFrame({"abnormal": [0.0, 1.0]})
    assert np.isfinite(apply_platt(sure, {"abnormal": [1.5, 0.1]}).to_numpy()).all()


def test_ece_by_hand() -> None:
    # bins of width 0.2: {0.05, 0.15} misses by |0.5 - 0.1|, {0.9} by 0.1, {1.0} shares its bin
    truth, p = np.array([0, 1, 1, 0]), np.array([0.05, 0.15, 0.9, 1.0])
    assert ece(truth, p, bins=5) == pytest.approx(2 / 4 * 0.4 + 2 / 4 * abs(0.5 - 0.95))
    assert ece([0, 1], [0.0, 1.0]) == 0


def test_noise_floor_is_what_calibrated_networks_have_and_falls_with_n() -> None:
    _, p = sample(500)
    mean, high = noise_floor(p, draws=400)
    rng = np.random.default_rng(99)
    errors = np.array([ece(rng.random(len(p)) < p, p) for _ in range(400)])
    assert mean == pytest.approx(errors.mean(), rel=0.05)
    assert 0.94 < (errors < high).mean() < 1
    wide, _ = noise_floor(np.tile(p, 16), draws=100)
    assert wide == pytest.approx(mean / 4, rel=0.1)  # one over the root of n
    one_bin, _ = noise_floor(np.full(400, 0.5), draws=4000)
    assert one_bin == pytest.approx(0.5 / 20 * np.sqrt(2 / np.pi), rel=0.05)  # half-normal mean


def test_triage_cuts_keep_their_promise() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(2000)
    abnormal = (rng.random(2000) < score).astype(float)
    low, high = triage_cuts(abnormal, score)
    assert abnormal[score < low].mean() <= LOW_AT_MOST
    assert abnormal[score >= high].mean() >= HIGH_AT_LEAST
    later, earlier = score[score >= low].min(), score[score < high].max()  # one step further
    assert abnormal[score <= later].mean() > LOW_AT_MOST
    assert abnormal[score >= earlier].mean() < HIGH_AT_LEAST
    assert 0 < low < high < 1
    levels = [triage_level(p, (low, high)) for p in (0.0, (low + high) / 2, high)]
    assert levels == list(LEVELS)
    cuts = triage_cuts(np.tile([1.0, 0.0], 50), np.arange(100.0))
    assert triage_level(0.99, cuts) == "medium"


def test_equal_scores_share_a_level() -> None:
    """Twenty normal and twenty abnormal with one score: no cut may run between them."""
    abnormal = np.r_[np.zeros(20), np.zeros(20), np.ones(20), np.ones(20)]
    score = np.repeat([0.1, 0.5, 0.9], [20, 40, 20])
    low, high = triage_cuts(abnormal, score)
    assert [triage_level(p, (low, high)) for p in (0.1, 0.5, 0.9)] == list(LEVELS)


def test_wilson_equals_the_closed_form() -> None:
    z = 1.959963984540054
    for k, n in ((0, 10), (3, 40), (200, 200)):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        assert wilson(k, n) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert wilson(0, 0) == (0, 1)


def test_rates_count_each_group_once() -> None:
    got = observed_rates(["low", "high", "low", "low"], [0, 1, 1, 0])
    assert list(got.index) == list(LEVELS)
    assert got["n"].tolist() == [3, 0, 1]
    assert got["positives"].tolist() == [1, 0, 1]
    assert got["share"].tolist() == [0.75, 0, 0.25]
    assert got.loc["low", "rate"] == pytest.approx(1 / 3)
    assert np.isnan(got.loc["medium", "rate"])
    assert (got.loc["low", "low"], got.loc["low", "high"]) == wilson(1, 3)


@pytest.mark.parametrize("by_class", [False, True])
def test_conformal_sets_follow_the_quantile(by_class: bool) -> None:
    truth, p = sample(500)
    sets = conformal_sets(truth[:300], p[:300], p[300:], alpha=0.2, by_class=by_class)
    scores = np.where(truth, 1 - p, p)[:300]
    for k in (0, 1):
        own = np.sort(scores[truth[:300] == k] if by_class else scores)
        limit = own[int(np.ceil((len(own) + 1) * 0.8)) - 1]
        np.testing.assert_array_equal(sets[:, k], (1 - p if k else p)[300:] <= limit)
    assert conformal_sets(truth[:300], p[:300], p[300:], alpha=1e-3, by_class=by_class).all()


def test_equal_probabilities_are_in_the_same_sets() -> None:
    """1 - (1 - 0.1) is less than 0.1, but the 19th of 20 normal scores must count as equal."""
    truth, p = np.repeat([False, True], 20), np.repeat([0.05, 0.1, 0.99], [10, 10, 20])
    sets = conformal_sets(truth, 1 - (1 - p), p, alpha=0.1, by_class=True)
    assert sets[:20].tolist() == [[True, False]] * 20


def test_conformal_coverage_is_the_promised_one_on_exchangeable_data() -> None:
    """Over many draws the share covered lies within binomial limits of at least 1 - alpha."""
    covered = {False: [], True: []}
    for seed in range(40):
        truth, p = sample(400, slope=2, intercept=1.5, seed=seed)  # badly calibrated on purpose
        for by_class, hits in covered.items():
            sets = conformal_sets(truth[:200], p[:200], p[200:], by_class=by_class)
            hits.append(pd.Series(sets[np.arange(200), truth[200:].astype(int)], truth[200:]))
    total = pd.concat(covered[False])
    # test recordings of one draw share its thresholds: the draws are the independent units
    assert np.mean([h.mean() for h in covered[False]]) == pytest.approx(0.9, abs=0.012)
    assert total.sum() > binom.ppf(1e-4, len(total), 0.9)
    for k in (False, True):
        assert np.mean([h[k].mean() for h in covered[True]]) == pytest.approx(0.905, abs=0.025)
    gap = abs(total[True].mean() - total[False].mean())
    assert gap > 0.05  # and the plain sets do not promise it for each class


def test_conformal_sets_refuse_too_few_of_a_class() -> None:
    with pytest.raises(SignalError, match="conformal"):
        conformal_sets(np.arange(100) < 19, np.linspace(0, 1, 100), np.zeros(3))


def test_net_benefit_in_closed_form() -> None:
    truth, p = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.3, 0.6, 0.2, 0.1])
    got = decision_curve(truth, p, np.array([0.25, 0.5]))
    assert got["network"].tolist() == pytest.approx([2 / 5 - 1 / 5 / 3, 1 / 5 - 1 / 5])
    assert got["all"].tolist() == pytest.approx([2 / 5 - 3 / 5 / 3, 2 / 5 - 3 / 5])
    assert got["none"].tolist() == [0, 0]
    at_a_score = decision_curve(truth, p, [0.3])["network"].item()  # 0.3 is acted on
    assert at_a_score == pytest.approx(2 / 5 - 1 / 5 * 3 / 7)
    perfect = decision_curve(truth, truth.astype(float), np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(perfect["network"], 0.4)
    assert decision_curve(truth, p, [0.4])["all"].item() == pytest.approx(0)  # the prevalence


def test_abstention_equals_scikit_learn_at_every_share_and_in_every_resample() -> None:
    truth, p = sample(200)
    counts = np.vstack([np.ones((1, 200), int), patient_resamples(np.arange(200) // 2, 5, seed=0)])
    answered, f1 = abstention(truth, p, counts)
    limits = np.sort(np.abs(p - 0.5))[::-1]
    for column in (20, 100, 199):
        kept = np.abs(p - 0.5) >= limits[column]
        for row, w in enumerate(counts):
            assert answered[row, column] == pytest.approx(w[kept].sum() / w.sum())
            want = sk.f1_score(truth[kept], p[kept] >= 0.5, sample_weight=w[kept])
            assert f1[row, column] == pytest.approx(want)


def test_abstention_of_a_network_that_errs_where_it_is_unsure() -> None:
    """Right above a sureness, wrong below: F1 is one, then falls with each further answer."""
    p = np.linspace(0.51, 0.99, 80)
    truth = np.arange(80) >= 30
    answered, f1 = abstention(truth, p, np.ones((1, 80), int))
    assert (f1[0, :50] == 1).all()
    assert (np.diff(f1[0, 49:]) < 0).all()
    assert answered_at(answered, f1, 1.0) == pytest.approx([50 / 80])
    assert answered_at(answered, f1, 2 * 50 / (2 * 50 + 10)) == pytest.approx([60 / 80])
    assert answered_at(answered, f1, 1.1) == [0]
    tied, _ = abstention(truth, np.full(80, 0.7), np.ones((1, 80), int))
    assert tied.tolist() == [[1.0]]  # equally sure: all or none
    _, normal_first = abstention(np.array([0, 1]), np.array([0.01, 0.6]), np.ones((1, 2), int))
    assert np.isnan(normal_first[0, 0]) and normal_first[0, 1] == 1


def every_figure() -> dict:
    truth, p = sample(300)
    rates = observed_rates(np.where(p < 0.3, "low", "high"), truth)  # nothing is medium
    errors = pd.DataFrame({"before": [0.1, 0.04], "after": [0.02, 0.03], "floor_high": 0.03})
    errors.index = ["abnormal", "MI"]
    curve = decision_curve(truth, p, np.linspace(0.05, 0.8, 20))
    counts = np.vstack([np.ones((1, 300), int), patient_resamples(np.arange(300), 20, seed=0)])
    rates = rates.rename(columns={"rate": "value"})
    return {
        "calibration_errors": scores.calibration_errors(errors, title="Errors"),
        "whiskers": scores.whiskers(rates, xlabel="rate (0 to 1)"),
        "net_benefit": scores.net_benefit({"network": curve}, title="Benefit"),
        "selective_f1": scores.selective_f1(*abstention(truth, p, counts), 0.99, title="F1"),
    }


def test_figures_name_their_axes_and_say_what_they_show() -> None:
    figures = every_figure()
    for name, figure in figures.items():
        for ax in figure.axes:
            assert "(" in ax.get_xlabel(), name
        assert ": " in figure.get_label(), name
    assert "abnormal: 0.100 before, 0.020 after" in figures["calibration_errors"].get_label()
    assert "medium: not estimable" in figures["whiskers"].get_label()
    dots = [line for line in figures["whiskers"].axes[0].lines if line.get_marker() == "o"]
    truth, p = sample(300)
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(
        [truth[p < 0.3].mean(), truth[p >= 0.3].mean()]
    )
    benefit = figures["net_benefit"].axes[0].lines[0]
    want = decision_curve(truth, p, benefit.get_xdata())["network"]
    np.testing.assert_allclose(benefit.get_ydata(), want)
    band = figures["selective_f1"].axes[0].collections[0]
    point = figures["selective_f1"].axes[0].lines[0].get_ydata()[-1]
    assert point == pytest.approx(sk.f1_score(truth, p >= 0.5))
    edge = band.get_paths()[0].vertices[:, 1][band.get_paths()[0].vertices[:, 0] == 1]
    assert edge.min() < point < edge.max()
