"""Experiments: a training is done once, results are stored and sealed as they are read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from joblib import parallel_config
from sklearn.metrics import roc_auc_score

from ecgnet_lib.__main__ import main
from ecgnet_lib.datasets.download import read_sums
from ecgnet_lib.evaluation import methods, results
from ecgnet_lib.evaluation.results import load_predictions
from ecgnet_lib.experiments import EXPERIMENTS, common, comparison, run
from ecgnet_lib.experiments.common import CONFIG, NAMES, SEAL, frame, run_all, store
from ecgnet_lib.network.rhythm import RhythmNet

CALLS: list[int] = []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder of results; trainings run in this process and are kept there too."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(methods, "RESAMPLES", 50)
    with parallel_config("sequential"):
        yield tmp_path


def training(data: np.ndarray, seed: int) -> np.ndarray:
    CALLS.append(seed)
    if len(data) == 0:
        raise KeyboardInterrupt
    return data * seed


def test_a_training_is_done_once_and_survives_a_stop(folder) -> None:
    CALLS.clear()
    one, none = np.ones(2), np.ones(0)
    with pytest.raises(KeyboardInterrupt):
        run_all(training, [(one, 1), (none, 2)], ignore=["data"])
    found = run_all(training, [(one, 1), (one, 2), (one, 3)], ignore=["data"])
    assert CALLS == [1, 2, 2, 3]
    assert [each.tolist() for each in found] == [[1, 1], [2, 2], [3, 3]]
    run_all(training, [(one, 1)], ignore=[])
    run_all(training, [(2 * one, 1)], ignore=[])  # other data, another call
    assert CALLS == [1, 2, 2, 3, 1, 1]


def test_predictions_come_back_as_they_were_written(folder) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((90, 6)) < 0.5, columns=NAMES).astype(object)
    table.loc[:40, "abnormal"] = pd.NA
    table = table.assign(patient="p", source="s", only_sinus_rhythm=True)
    table.index = [f"s/{i}" for i in range(90)]
    scores = rng.random((80, 6))
    parts = [(scores[:40], table.index[:40], "val"), (scores[40:], table.index[40:80], "test")]
    stored = store("toy", [frame(*part, "ours") for part in parts], table)
    read = load_predictions("toy.csv.gz")
    np.testing.assert_allclose(read[[f"p_{name}" for name in NAMES]], scores, atol=5e-7)
    assert read["recording"].tolist() == table.index[:80].tolist()
    assert read["set"].tolist() == ["val"] * 40 + ["test"] * 40
    for name in NAMES:
        assert read[name].tolist() == table[name].tolist()[:80]
    assert stored["protocols"]["A"] == methods.evaluate(read)
    assert set(read_sums(folder / SEAL)) == {"toy.csv.gz", "toy_truth.csv"}


def test_an_experiment_stores_prints_and_seals_its_result_and_nothing_else(
    folder, monkeypatch, capsys
) -> None:
    (folder / "other.json").write_text("{}")
    (folder / SEAL).write_text(f"{'0' * 64}  other.json\n")
    one = {"macro_auc": {"value": 0.91, "low": 0.9, "high": 0.92}, "n": 1234}
    monkeypatch.setitem(EXPERIMENTS, "toy", lambda: {"protocols": {"A": {"methods": {"x": one}}}})
    run("toy")
    assert capsys.readouterr().out == "A, x, 1,234 tested: macro AUC 0.910 [0.900, 0.920]\n"
    assert results.load_result("toy.json")["seconds"] >= 0
    sums = read_sums(folder / SEAL)
    assert sums == {"other.json": "0" * 64, "toy.json": common.sha256(folder / "toy.json")}


def test_the_list_names_every_experiment_and_an_unknown_one_is_refused() -> None:
    result = CliRunner().invoke(main, ["experiment"])
    assert result.exit_code == 0, result.output
    for name in EXPERIMENTS:
        assert any(line.startswith(f"{name} ") for line in result.output.splitlines())
    assert CliRunner().invoke(main, ["experiment", "nonesuch"]).exit_code == 1


def test_the_comparison_trains_combines_and_stores(physionet: Path, folder, monkeypatch) -> None:
    short, runs = replace(CONFIG, crops=32), {"A": (1, 1), "C": (2, 1)}
    few = {
        comparison.OURS_ALONE: comparison.Method(runs, comparison.ours(), config=short),
        comparison.BRANCH: comparison.Method(runs, RhythmNet, config=replace(short, crop_s=10.0)),
        "features": replace(comparison.METHODS["features"], runs={"A": (1, 1)}),
    }
    both = {"ours + features": comparison.ENSEMBLES["ours + features"]}
    for name, value in {"METHODS": few, "ENSEMBLES": both, "PASSES": 0}.items():
        monkeypatch.setattr(comparison, name, value)
    monkeypatch.setattr(comparison, "DATABASES", ("ptbxl-500", "ludb"))
    result = comparison.comparison()
    assert list(result["data_manifests"]) == ["ptbxl-500", "ludb"]
    assert list(result["protocols"]) == ["A", "C"]

    found = result["protocols"]["A"]
    rows = load_predictions("comparison.csv.gz", protocol="A", method="features", set="test")
    assert len(rows) == found["n"]
    area = [roc_auc_score(rows[c].astype(bool), rows[f"p_{c}"]) for c in found["columns"]]
    stored = found["methods"]["features"]["macro_auc"]["value"]
    assert stored == pytest.approx(np.mean(area), abs=1e-6)

    scores = [f"p_{name}" for name in NAMES]
    ours, crops, branch, features, mean = (
        load_predictions("comparison.csv.gz", method=name)
        .set_index(["protocol", "fold", "set", "recording"])[scores]
        .sort_index()
        for name in ("ours", comparison.OURS_ALONE, comparison.BRANCH, "features", *both)
    )
    pd.testing.assert_frame_equal(ours.drop(columns="p_ARR"), crops.drop(columns="p_ARR"))
    np.testing.assert_allclose(ours.p_ARR, (crops.p_ARR + branch.p_ARR) / 2, atol=2e-6)
    np.testing.assert_allclose(mean, (ours.loc[["A"]] + features) / 2, atol=2e-6)
    constant = branch.groupby(["protocol", "fold"]).nunique() == 1
    assert constant.sum(axis=1).tolist() == [len(NAMES) - 1] * 3  # the branch knows one class
