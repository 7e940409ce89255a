"""Experiments: jobs that are done once, and methods judged on the same recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from ecgnet_lib import experiments
from ecgnet_lib.__main__ import main
from ecgnet_lib.evaluation.results import RESULTS, load_predictions
from ecgnet_lib.experiments import EXPERIMENTS, comparison, jobs, out_of_fold
from ecgnet_lib.experiments.common import CONFIG, NAMES
from ecgnet_lib.experiments.jobs import Jobs
from ecgnet_lib.experiments.out_of_fold import (
    compare,
    decide,
    judge_run,
    known_both_ways,
    write_predictions,
)
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.press.sealed import SEAL


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Jobs:
    """Jobs in a folder of the test."""
    monkeypatch.setattr(jobs, "JOBS", tmp_path)
    monkeypatch.setattr(jobs, "WAIT_S", 0.01)
    return Jobs("toy")


def test_a_job_is_done_once_and_survives_a_stop(queue) -> None:
    calls = []

    def work(value: int, fail: bool = False) -> dict[str, np.ndarray]:
        calls.append(value)
        if fail:
            raise KeyboardInterrupt
        return {"x": np.array(value)}

    with pytest.raises(KeyboardInterrupt):
        queue.run_all({"a": lambda: work(1), "b": lambda: work(2, fail=True)})
    queue.run_all({"a": lambda: work(1), "b": lambda: work(3)})
    assert calls == [1, 2, 3]
    assert [int(queue.load(job)["x"]) for job in "ab"] == [1, 3]
    assert not list(queue.folder.glob("*.claim")) and not list(queue.folder.glob("*.part*"))


def test_a_job_that_another_process_holds_is_left_to_it(queue) -> None:
    claim = queue.file("a").with_suffix(".claim")
    claim.write_text(str(os.getppid()))
    assert queue.run("a", lambda: pytest.fail("it was claimed")) is False
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    claim.write_text(str(dead.pid))
    assert queue.run("a", lambda: {"x": np.ones(2)}) is True
    assert queue.load("a")["x"].tolist() == [1, 1]


def test_another_configuration_is_another_job() -> None:
    assert Jobs.name("a", {"crops": 1}) == Jobs.name("a", {"crops": 1})
    assert Jobs.name("a", {"crops": 1}) != Jobs.name("a", {"crops": 2})


def toy_predictions(n: int = 600) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two methods on the same recordings: "ours" sees more of the truth than "real only"."""
    rng = np.random.default_rng(0)
    index = pd.Index([f"s/{i}" for i in range(n)], name="recording")
    truth = pd.DataFrame(rng.random((n, 6)) < 0.3, index=index, columns=NAMES)
    truth["QT"] = np.arange(n) < 5
    table = truth.assign(
        patient=[f"p{i // 2}" for i in range(n)], only_sinus_rhythm=False,
        source=np.where(np.arange(n) < 450, "a", "b"),
    )  # fmt: skip
    table["abnormal"] = table["abnormal"].astype("boolean")
    table.loc[table.source == "b", "abnormal"] = pd.NA
    table.loc[index[-40:], "abnormal"] = True  # source b never says normal
    frames = []
    for method, noise in (("ours", 0.5), ("real only", 2.0)):
        for part in range(2):
            here = index[part::2]
            score = 1 / (1 + np.exp(-truth.loc[here] - noise * rng.standard_normal((len(here), 6))))
            for side, rows in (("val", score[::3]), ("test", score)):
                keys = {"protocol": "B", "method": method, "part": part, "seed": 0, "set": side}
                frames.append(rows.assign(**keys))
    return pd.concat(frames), table


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> pd.DataFrame:
    """The toy predictions, written and read again."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_fold, "RESAMPLES", 200)
        return write_predictions(folder / "toy.csv.gz", *toy_predictions())


def test_predictions_come_back_as_they_were_written(toy) -> None:
    scores, table = toy_predictions()
    assert len(toy) == len(scores)
    test = toy[(toy.method == "ours") & (toy.set == "test")].set_index("recording")
    wanted = scores[(scores.method == "ours") & (scores.set == "test")]
    for name in NAMES:
        np.testing.assert_allclose(test[f"p_{name}"], wanted[name].loc[test.index], atol=5e-7)
        assert test[name].equals(table[name].astype("boolean").loc[test.index])


def test_thresholds_come_from_the_part_s_own_validation_rows(toy) -> None:
    run = toy[toy.method == "ours"]
    tests, thresholds = decide(run)
    changed = run.copy()
    changed.loc[changed.set == "test", [f"p_{name}" for name in NAMES]] = 0.123
    assert decide(changed)[1] == thresholds
    assert len(thresholds["CD"]) == 2 and thresholds["CD"][0] != thresholds["CD"][1]
    first = tests[tests.part == 0]
    assert (first["d_CD"] == (first["p_CD"] >= thresholds["CD"][0])).all()


def test_where_validation_knows_one_answer_only_nothing_is_decided(toy) -> None:
    rows = toy[toy.method == "ours"].copy()
    rows.loc[(rows.set == "val") & (rows.part == 1), "CD"] = True
    tests, thresholds = decide(rows)
    judged = judge_run(tests, thresholds)
    assert np.isnan(thresholds["CD"][1]) and not np.isnan(thresholds["CD"][0])
    assert judged.loc["CD", ["f1", "f1_low", "precision", "recall_high"]].isna().all()
    assert judged.loc[["CD", "ARR"], ["auc", "average_precision"]].notna().all(axis=None)
    assert judged.loc["ARR", ["f1", "precision", "recall"]].notna().all()


def test_methods_are_compared_on_the_same_recordings(toy, monkeypatch) -> None:
    monkeypatch.setattr(out_of_fold, "RESAMPLES", 200)
    judged = compare(toy[~((toy.method == "real only") & (toy.part == 1))])
    assert judged["columns"] == ["abnormal", "ARR", "CD", "MI", "HYP"]  # QT: five positives
    ours, other = judged["methods"]["ours"], judged["methods"]["real only"]
    assert (ours["n"], other["n"], other["difference_to_ours"]["n"]) == (600, 300, 300)
    assert other["difference_to_ours"]["high"] < 0
    tests = {
        name: toy[(toy.method == name) & (toy.set == "test") & (toy.part == 0)]
        for name in ("ours", "real only")
    }
    wanted = {}
    for name, test in tests.items():
        test = test.assign(abnormal=test["abnormal"].where(test.source == "a"))
        known = {c: test[test[c].notna()] for c in judged["columns"]}
        wanted[name] = np.mean([roc_auc_score(k[c].astype(bool), k[f"p_{c}"])
                                for c, k in known.items()])  # fmt: skip
    difference = wanted["real only"] - wanted["ours"]
    assert other["difference_to_ours"]["value"] == pytest.approx(difference, abs=1e-9)
    assert other["macro_auc"]["value"] == pytest.approx(wanted["real only"], abs=1e-9)


def test_a_source_without_normal_recordings_does_not_judge_abnormal(toy) -> None:
    judged = known_both_ways(toy)
    assert judged[toy.source == "b"].isna().all()
    assert judged[toy.source == "a"].equals(toy["abnormal"][toy.source == "a"])


def test_the_list_names_every_experiment_with_its_state() -> None:
    result = CliRunner().invoke(main, ["experiment", "--list"])
    assert result.exit_code == 0, result.output
    for name in EXPERIMENTS:
        assert any(line.startswith(f"{name} ") for line in result.output.splitlines())


def test_the_comparison_on_other_data_leaves_the_record_alone(
    physionet: Path, tmp_path: Path, monkeypatch
) -> None:
    short = replace(CONFIG, crops=32)
    runs = {"A": (1, 1), "C": (3, 1)}  # C has no meaning for one database
    few = {
        "no strip": comparison.Method(runs, comparison.ours(), config=short),
        "strip": comparison.Method(runs, RhythmNet, config=replace(short, crop_s=10.0)),
        "features": replace(comparison.METHODS["features"], runs=runs),
    }
    monkeypatch.setattr(comparison, "METHODS", few)
    both = {"ours + features": comparison.TOGETHER["ours + features"]}
    monkeypatch.setattr(comparison, "TOGETHER", both)
    monkeypatch.setattr(comparison, "PASSES", 0)
    monkeypatch.setattr(out_of_fold, "RESAMPLES", 50)
    monkeypatch.setattr(jobs, "JOBS", tmp_path / "jobs")
    monkeypatch.setattr(experiments, "OTHER", tmp_path)
    record = {path: path.read_bytes() for path in RESULTS.glob("*.*") if path.name != SEAL}
    run = CliRunner().invoke(main, ["experiment", "comparison", "--data", "ptbxl-500"])
    assert run.exit_code == 0, run.output
    assert "protocol A" in run.output and "protocol C" not in run.output
    assert record == {path: path.read_bytes() for path in record}

    folder = tmp_path / "ptbxl-500"
    result = json.loads((folder / "comparison.json").read_text())
    assert list(result["data_manifests"]) == ["ptbxl-500"] and list(result["protocols"]) == ["A"]
    rows = load_predictions(folder / "comparison.csv.gz", method="features", set="test")
    assert len(rows) == result["protocols"]["A"]["n"]
    judged, columns = (result["protocols"]["A"][key] for key in ("methods", "columns"))
    area = [roc_auc_score(rows[name].astype(bool), rows[f"p_{name}"]) for name in columns]
    assert judged["features"]["macro_auc"]["value"] == pytest.approx(np.mean(area), abs=1e-6)
    three = [load_predictions(folder / "comparison.csv.gz", method=name, set="test")
             for name in ("ours", "features", "ours + features")]  # fmt: skip
    one, two, mean = (rows.set_index("recording")["p_CD"] for rows in three)
    np.testing.assert_allclose(mean, (one + two)[mean.index] / 2, atol=2e-6)

    scores = [f"p_{name}" for name in NAMES]  # ours is "no strip", but for P(ARR)
    ours, crops, strip = (
        load_predictions(folder / "comparison.csv.gz", method=name)
        .set_index(["set", "recording"])[scores]
        .sort_index()
        for name in ("ours", "no strip", "strip")
    )
    pd.testing.assert_frame_equal(ours.drop(columns="p_ARR"), crops.drop(columns="p_ARR"))
    np.testing.assert_allclose(ours.p_ARR, (crops.p_ARR + strip.p_ARR) / 2, atol=2e-6)
    assert (strip.nunique() == 1).sum() == len(NAMES) - 1  # the strip knows one class


def test_only_the_comparison_has_a_choice_of_data() -> None:
    run = CliRunner().invoke(main, ["experiment", "default", "--data", "ludb"])
    assert run.exit_code == 1 and "leave --data out" in run.output
