"""Stored results: complete, patient-disjoint, and of the shipped weights.

That metrics follow from the stored predictions is what `press.recompute` checks.
"""

from __future__ import annotations

import pandas as pd
import pytest

from ecgnet_lib.evaluation.results import RESULTS, format_interval, load_predictions, load_result
from ecgnet_lib.experiments import EXPERIMENTS
from ecgnet_lib.network.checkpoint import DEFAULT, load_checkpoint
from ecgnet_lib.press.recompute import PREDICTED


def test_every_experiment_is_stored() -> None:
    assert {file.stem for file in RESULTS.glob("*.json")} == set(EXPERIMENTS)
    assert {file.name.split(".")[0] for file in RESULTS.glob("*.csv.gz")} == set(PREDICTED)


def test_the_shipped_weights_are_those_of_the_stored_result() -> None:
    _, about = load_checkpoint(DEFAULT)
    result = load_result("default.json")
    for key in ("config", "triage_cuts", "data_manifest", "train_config", "rhythm_branch"):
        assert about[key] == result[key], key
    thresholds = result["protocols"]["A"]["methods"]["ours"]["thresholds"]
    assert {name: [cut] for name, cut in about["thresholds"].items()} == thresholds


@pytest.mark.parametrize("name", sorted(set(PREDICTED) - {"leakage"}))
def test_no_patient_stands_in_two_sets(name: str) -> None:
    rows = load_predictions(f"{name}.csv.gz")
    for _, run in rows.groupby(["protocol", "method", "fold", "seed"]):
        assert run["recording"].is_unique
        assert (run.groupby("patient")["set"].nunique() == 1).all()
    if name == "comparison":  # each recording is in one test set
        for _, run in rows[rows["set"] == "test"].groupby(["protocol", "method", "seed"]):
            assert run["recording"].is_unique


def test_the_options_do_not_touch_the_test_fold() -> None:
    rows, test = load_predictions("options.csv.gz"), load_predictions("default.csv.gz", set="test")
    assert set(rows["set"]) == {"val"} and set(rows["recording"]).isdisjoint(test["recording"])
    assert len(rows["recording"].unique()) == load_result("options.json")["n"]["val"]


def test_an_interval_is_written_with_its_value_or_says_why_not() -> None:
    line = {"auc": 0.914, "auc_low": 0.881, "auc_high": 0.94, "f1": float("nan")}
    for row in (line, pd.Series(line)):
        assert format_interval(row, "auc") == "0.91 [0.88, 0.94]"
        assert format_interval(row, "f1") == "no threshold"
    assert format_interval(line | {"estimable": False}, "auc") == "not estimable"
    gap = {"value": -0.02, "low": -0.03, "high": 0.01}
    assert format_interval(gap, form="+.3f") == "-0.020 [-0.030, +0.010]"
