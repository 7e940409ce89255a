"""Results of record: every metric is computed again from the stored predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from ecgnet_lib.checkpoint import DEFAULT, load_checkpoint
from ecgnet_lib.evaluate import MIN_POSITIVES
from ecgnet_lib.experiments import EXPERIMENTS
from ecgnet_lib.experiments.common import NAMES
from ecgnet_lib.results import RESULTS, load_result

ROWS = [
    (file.name, row)
    for file in sorted(RESULTS.glob("*.json"))
    for row in json.loads(file.read_text()).get("rows", {"": None})
]


def test_every_experiment_is_recorded() -> None:
    assert {file for file, _ in ROWS} == {f"{name}.json" for name in EXPERIMENTS}


@pytest.mark.parametrize(("file", "row"), ROWS)
def test_metrics_follow_from_the_predictions(file: str, row: str) -> None:
    result = load_result(file)
    judged = result["rows"][row] if row else result
    thresholds = judged.get("thresholds") or result["thresholds"]
    predictions = judged["predictions"]
    assert len({p["recording"] for p in predictions}) == result["n"]["test"]
    truth = np.array([p["truth"] for p in predictions])
    score = np.array([p["score"] for p in predictions])
    aucs = []
    for column, name in enumerate(NAMES):
        y, s, stored = truth[:, column], score[:, column], judged["metrics"][name]
        assert stored["positives"] == y.sum()
        assert stored["estimable"] == (min(y.sum(), (1 - y).sum()) >= MIN_POSITIVES)
        if not stored["estimable"]:
            continue
        aucs.append(sk.roc_auc_score(y, s))
        # scores are stored to six decimals: a tie or a threshold may move by one recording
        assert stored["auc"] == pytest.approx(aucs[-1], abs=1e-3)
        assert stored["average_precision"] == pytest.approx(
            sk.average_precision_score(y, s), abs=5e-3
        )
        decision = s >= thresholds[name] - 1e-6
        assert stored["f1"] == pytest.approx(sk.f1_score(y, decision), abs=1e-9)
        assert stored["auc_low"] < stored["auc"] < stored["auc_high"]
    if row:
        assert judged["macro_auc"]["value"] == pytest.approx(np.mean(aucs), abs=1e-3)


def test_the_weights_of_record_are_those_of_the_result() -> None:
    _, about = load_checkpoint(DEFAULT)
    result = load_result("default.json")
    for key in ("config", "thresholds", "triage_cuts", "data_manifest", "train_config"):
        assert about[key] == result[key], key
