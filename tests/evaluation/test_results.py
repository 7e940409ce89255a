"""Results of record: every metric is computed again from the stored predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from ecgnet_lib.evaluation.metrics import MIN_POSITIVES
from ecgnet_lib.evaluation.results import RESULTS, format_interval, load_predictions, load_result
from ecgnet_lib.experiments import EXPERIMENTS
from ecgnet_lib.experiments.common import NAMES
from ecgnet_lib.network.checkpoint import DEFAULT, load_checkpoint
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.numbers import bare_numbers, prose_of

FILES = {file.name: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))}
# A result with a "kind" holds other things than metrics of classes: its own test recomputes them.
ROWS = [
    (name, row)
    for name, result in FILES.items()
    if "kind" not in result
    for row in result.get("rows", {"": None})
]


def test_every_experiment_is_recorded() -> None:
    assert set(FILES) == {f"{name}.json" for name in EXPERIMENTS}


@pytest.mark.parametrize(("file", "row"), ROWS)
def test_metrics_follow_from_the_predictions(file: str, row: str) -> None:
    result = load_result(file)
    judged = result["rows"][row] if row else result
    thresholds = judged.get("thresholds") or result["thresholds"]
    predictions = judged["predictions"]
    assert len({p["recording"] for p in predictions}) == result["n"]["test"]
    truth = np.array([p["truth"] for p in predictions])
    score = np.array([p["score"] for p in predictions])
    held_out, guess = (np.array([p[k] for p in judged["validation"]]) for k in ("truth", "score"))
    assert not {p["patient"] for p in predictions} & {p["patient"] for p in judged["validation"]}
    aucs = []
    for column, name in enumerate(NAMES):
        y, s, stored = truth[:, column], score[:, column], judged["metrics"][name]
        assert stored["positives"] == y.sum()
        assert stored["estimable"] == (min(y.sum(), (1 - y).sum()) >= MIN_POSITIVES)
        if not stored["estimable"]:
            continue
        aucs.append(sk.roc_auc_score(y, s))
        assert stored["auc"] == pytest.approx(aucs[-1], abs=1e-9)
        assert stored["average_precision"] == pytest.approx(
            sk.average_precision_score(y, s), abs=1e-9
        )
        decision = s >= thresholds[name]
        assert stored["f1"] == pytest.approx(sk.f1_score(y, decision), abs=1e-9)
        precision, recall, _ = sk.precision_recall_curve(held_out[:, column], guess[:, column])
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        chosen = sk.f1_score(held_out[:, column], guess[:, column] >= thresholds[name])
        assert chosen == pytest.approx(best, abs=1e-9)
        assert stored["auc_low"] < stored["auc"] < stored["auc_high"]
    if row:
        assert judged["macro_auc"]["value"] == pytest.approx(np.mean(aucs), abs=1e-3)


def test_the_weights_of_record_are_those_of_the_result() -> None:
    _, about = load_checkpoint(DEFAULT)
    result = load_result("default.json")
    for key in ("config", "thresholds", "triage_cuts", "data_manifest", "train_config"):
        assert about[key] == result[key], key


@pytest.mark.parametrize("protocol", ["A", "B", "C"])
def test_the_comparison_follows_from_its_predictions(protocol: str) -> None:
    judged = load_result("comparison.json")["protocols"][protocol]
    rows = load_predictions("comparison.csv.gz", protocol=protocol, set="test")
    rows["abnormal"] = rows["abnormal"].where(rows.source == "ptb-xl")  # alone it says "normal"
    assert set(judged["methods"]) == set(rows.method)
    for name, method in judged["methods"].items():
        runs = [run for _, run in rows[rows.method == name].groupby("seed")]
        assert (len(runs), len(runs[0])) == (method["seeds"], method["n"])
        means = []
        for run in runs:
            assert run.recording.is_unique
            aucs = {}
            for column in judged["columns"]:
                known = run[run[column].notna()]
                truth = known[column].astype(bool)
                aucs[column] = sk.roc_auc_score(truth, known[f"p_{column}"])
            means.append(np.mean(list(aucs.values())))
        # probabilities are stored to six decimals: the metrics are computed from the stored ones
        assert method["macro_auc"]["value"] == pytest.approx(np.mean(means), abs=1e-9)
        assert method["by_seed"] == pytest.approx(means, abs=1e-9)
        for column, stored in method["metrics"].items():
            run = runs[0][runs[0][column].notna()]
            truth, score = run[column].astype(bool), run[f"p_{column}"]
            assert (stored["n"], stored["positives"]) == (len(run), truth.sum())
            if stored["estimable"] and None in method["thresholds"][column]:
                assert stored["f1"] is None
            elif stored["estimable"]:
                cut = run.part.map(dict(enumerate(method["thresholds"][column])))
                assert stored["f1"] == pytest.approx(sk.f1_score(truth, score >= cut), abs=1e-9)
                assert stored["auc"] == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-9)


def test_the_options_follow_from_their_predictions() -> None:
    result, table = load_result("options.json"), load_predictions("options.csv.gz")
    assert set(result["rows"]) == set(table.method) and set(table.set) == {"val"}
    tested = load_result("default.json")["predictions"]
    assert not set(table.recording) & {p["recording"] for p in tested}  # fold 10 is not touched
    for name, row in result["rows"].items():
        for seed, stored in enumerate(row["seeds"]):
            run = table[(table.method == name) & (table.seed == seed)]
            assert len(run) == run.recording.nunique() == result["n"]["val"]
            aucs = [sk.roc_auc_score(run[c].astype(bool), run[f"p_{c}"]) for c in result["columns"]]
            assert stored == pytest.approx(np.mean(aucs), abs=1e-9)
        assert row["macro_auc"]["value"] == pytest.approx(np.mean(row["seeds"]), abs=1e-9)


def test_nobody_stands_on_two_sides_of_the_comparison() -> None:
    rows = load_predictions("comparison.csv.gz", method="ours", seed=0)
    for _, part in rows.groupby(["protocol", "part"]):
        sides = part.groupby("patient")["set"].nunique()
        assert (sides == 1).all()
    tested = rows[(rows.protocol == "B") & (rows.set == "test")]
    assert tested.recording.is_unique


def readme_lines() -> list[str]:
    """Return the rows of the README's two tables of results, from the comparison of record."""
    protocols = load_result("comparison.json")["protocols"]

    def f1(row: dict) -> str:
        if not row["estimable"]:
            return "not estimable"
        if row["f1"] is None:
            return "no threshold"
        return f"{row['f1']:.2f} [{row['f1_low']:.2f}, {row['f1_high']:.2f}]"

    def text(interval: dict, sign: str = "") -> str:
        value, low, high = (f"{interval[key]:{sign}.3f}" for key in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"

    lines = []
    for name in NAMES:
        cells = [f1(protocols[p]["methods"]["ours"]["metrics"][name]) for p in "ABC"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, method in protocols["B"]["methods"].items():
        if name == "strip":  # knows one class: its mean over all of them says nothing
            continue
        differences = [method.get(f"difference_to_{other}") for other in ("ours", "real only")]
        cells = [text(method["macro_auc"]), *(text(d, "+") if d else "" for d in differences)]
        lines.append(f"| {name} | {method['n']:,} | {' | '.join(cells)} |".replace("|  |", "| |"))
    return lines


def test_the_readme_s_tables_are_those_of_the_comparison() -> None:
    readme = (RESULTS.parents[1] / "README.md").read_text()
    for line in readme_lines():
        assert line in readme, line


def test_the_readme_states_no_number_but_those_of_its_tables() -> None:
    readme = prose_of(ROOT / "README.md")
    assert bare_numbers(readme, {})[0], "the tables are gone"
    for line in readme_lines():
        readme = readme.replace(line, "")
    assert bare_numbers(readme, {"95 % interval": ""})[0] == []


def test_an_interval_is_written_with_its_value_or_says_why_not() -> None:
    line = {"auc": 0.914, "auc_low": 0.881, "auc_high": 0.94, "f1": float("nan")}
    for row in (line, pd.Series(line)):
        assert format_interval(row, "auc") == "0.91 [0.88, 0.94]"
        assert format_interval(row, "f1") == "no threshold"
    assert format_interval(line | {"estimable": False}, "auc") == "not estimable"
    gap = {"value": -0.02, "low": -0.03, "high": 0.01}
    assert format_interval(gap, form="+.3f") == "-0.020 [-0.030, +0.010]"
