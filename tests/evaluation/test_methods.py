"""Methods under one protocol: thresholds, metrics and differences, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from ecgnet_lib.evaluation import methods
from ecgnet_lib.evaluation.methods import NAMES, apply_thresholds, evaluate, evaluate_run

SCORES = [f"p_{name}" for name in NAMES]


@pytest.fixture
def toy(monkeypatch, n: int = 600) -> pd.DataFrame:
    """Two methods, two folds: "ours" sees more of the truth than "labels only".

    QT has five positives; source b (the last 150 recordings) states abnormal or nothing.
    """
    monkeypatch.setattr(methods, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    truth = pd.DataFrame(rng.random((n, 6)) < 0.3, columns=NAMES)
    truth["QT"] = np.arange(n) < 5
    table = truth.assign(
        recording=[f"s/{i}" for i in range(n)],
        patient=[f"p{i // 2}" for i in range(n)],
        source=np.where(np.arange(n) < 450, "a", "b"),
        only_sinus_rhythm=np.arange(n) % 2 == 0,
        abnormal=truth["abnormal"].astype("boolean"),
    )
    table.loc[table.source == "b", "abnormal"] = pd.NA
    table.loc[table.index[-40:], "abnormal"] = True
    frames = []
    for method, noise in (("ours", 0.5), ("labels only", 2.0)):
        for fold in range(2):
            rows = table[fold::2]
            score = -truth.loc[rows.index] - noise * rng.standard_normal((len(rows), 6))
            rows = rows.join((1 / (1 + np.exp(score))).add_prefix("p_"))
            rows = rows.assign(protocol="B", method=method, fold=fold, seed=0)
            frames += [rows[::3].assign(set="val"), rows.assign(set="test")]
    found = pd.concat(frames, ignore_index=True)
    return found.astype(dict.fromkeys(NAMES, "boolean"))


def test_thresholds_come_from_the_fold_s_own_validation_rows(toy) -> None:
    run = toy[toy.method == "ours"]
    tests, thresholds = apply_thresholds(run)
    changed = run.copy()
    changed.loc[changed.set == "test", SCORES] = 0.123
    assert apply_thresholds(changed)[1] == thresholds
    assert len(thresholds["CD"]) == 2 and thresholds["CD"][0] != thresholds["CD"][1]
    first = tests[tests.fold == 0]
    assert (first["d_CD"] == (first["p_CD"] >= thresholds["CD"][0])).all()


def test_a_threshold_from_the_test_set_is_the_best_there(toy) -> None:
    run = toy[(toy.method == "ours") & (toy.fold == 0)]
    _, metrics = evaluate_run(run, "test")
    test = run[run.set == "test"]
    hits = test["p_CD"].to_numpy() >= np.unique(test["p_CD"])[:, None]
    every = 2 * (hits & test["CD"].to_numpy(bool)).sum(1) / (hits.sum(1) + test["CD"].sum())
    assert metrics.loc["CD", "f1"] == pytest.approx(every.max())
    assert metrics.loc["CD", "f1"] > evaluate_run(run)[1].loc["CD", "f1"]


def test_where_validation_holds_one_answer_only_nothing_is_decided(toy) -> None:
    rows = toy[toy.method == "ours"].copy()
    rows.loc[(rows.set == "val") & (rows.fold == 1), "CD"] = True
    thresholds, metrics = evaluate_run(rows)
    assert np.isnan(thresholds["CD"][1]) and not np.isnan(thresholds["CD"][0])
    assert metrics.loc["CD", ["f1", "f1_low", "precision", "recall_high"]].isna().all()
    assert metrics.loc[["CD", "ARR"], ["auc", "average_precision"]].notna().all(axis=None)
    assert metrics.loc["ARR", ["f1", "precision", "recall"]].notna().all()
    found = evaluate(rows)
    assert "CD" not in found["columns"]
    assert found["methods"]["ours"]["thresholds"]["CD"][1] is None


def test_methods_are_compared_on_the_same_recordings(toy) -> None:
    rows = toy[(toy.method == "ours") | (toy.fold == 0)]
    found = evaluate(rows, ["ours", "labels only"])
    assert found["columns"] == ["abnormal", "ARR", "CD", "MI", "HYP"]  # QT: five positives
    ours, other = found["methods"]["ours"], found["methods"]["labels only"]
    assert (ours["n"], other["n"], other["difference_to_ours"]["n"]) == (600, 300, 300)
    assert other["difference_to_ours"]["high"] < 0 < ours["difference_to_labels only"]["low"]
    assert "difference_to_ours" not in ours
    wanted = {}
    for name in ("ours", "labels only"):
        test = toy[(toy.method == name) & (toy.set == "test") & (toy.fold == 0)]
        test = test.assign(abnormal=test["abnormal"].where(test.source == "a"))
        known = {c: test[test[c].notna()] for c in found["columns"]}
        aucs = [roc_auc_score(rows[c].astype(bool), rows[f"p_{c}"]) for c, rows in known.items()]
        wanted[name] = np.mean(aucs)
    difference = wanted["labels only"] - wanted["ours"]
    assert other["difference_to_ours"]["value"] == pytest.approx(difference, abs=1e-9)
    assert other["macro_auc"]["value"] == pytest.approx(wanted["labels only"], abs=1e-9)


def test_seeds_are_averaged_and_shown_one_by_one(toy) -> None:
    rows = toy[toy.method == "ours"]
    again = rows.assign(seed=1, **{name: rows[name].to_numpy()[::-1] for name in ("p_CD", "p_MI")})
    found = evaluate(pd.concat([rows, again]))["methods"]["ours"]
    one, two = (evaluate(run)["methods"]["ours"]["macro_auc"]["value"] for run in (rows, again))
    assert (found["seeds"], found["by_seed"]) == (2, pytest.approx([one, two]))
    assert found["macro_auc"]["value"] == pytest.approx((one + two) / 2) and one > two + 0.1


def test_validation_rows_alone_are_evaluated_without_thresholds(toy) -> None:
    rows = toy[(toy.set == "val") & (toy.method == "ours")]
    found = evaluate(rows)
    ours, test = found["methods"]["ours"], evaluate(rows.assign(set="test"))["methods"]["ours"]
    assert ours["macro_auc"] == test["macro_auc"] and ours["n"] == 200
    assert ours["metrics"]["CD"]["f1"] is None and ours["metrics"]["CD"]["auc"] > 0.6


def test_a_source_without_normal_recordings_does_not_count_for_abnormal(toy) -> None:
    known = methods.known_abnormal(toy)
    assert known[toy.source == "b"].isna().all()
    assert known[toy.source == "a"].equals(toy["abnormal"][toy.source == "a"])
    rows = evaluate(toy)["methods"]["ours"]["sources"]
    assert not rows["a"]["weak_negatives"] and rows["b"]["weak_negatives"]
    sinus = toy[(toy.method == "ours") & (toy.set == "test") & (toy.source == "b")]
    told = (sinus["only_sinus_rhythm"] | sinus["abnormal"].notna()).sum()
    assert rows["b"]["metrics"]["abnormal"]["n"] == told


def test_several_windows_of_a_recording_count_as_one_recording(toy) -> None:
    rows = toy[toy.method == "ours"]
    rng = np.random.default_rng(1)
    windows = pd.concat([rows.assign(start_s=2.5 * k) for k in range(4)], ignore_index=True)
    windows["p_CD"] *= rng.uniform(0.5, 1, len(windows))
    test, thresholds = apply_thresholds(windows)
    metrics = methods.class_metrics(test, thresholds, resamples=20)
    assert (metrics.loc["CD", "windows"], metrics.loc["CD", "n"]) == (2400, 600)
    whole = rows[rows.set == "test"]
    assert metrics.loc["CD", "positives"] == whole["CD"].sum()
    assert not metrics.loc["QT", "estimable"]  # 20 windows, but 5 recordings
    cut = windows.fold.map(dict(enumerate(thresholds["CD"])))
    windows = windows.assign(d=windows["p_CD"] >= cut)[windows.set == "test"]
    wanted = f1_score(windows["CD"].astype(bool), windows["d"])
    assert metrics.loc["CD", "f1"] == pytest.approx(wanted)
    assert evaluate(windows)["methods"]["ours"]["n"] == 2400
