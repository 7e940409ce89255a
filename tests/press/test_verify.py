"""`make verify` by tampering: whatever is altered is caught, and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ecgnet_lib import files
from ecgnet_lib.evaluation import results
from ecgnet_lib.experiments.common import seal
from ecgnet_lib.press import recompute, verify
from ecgnet_lib.press.book import ROOT, Book
from ecgnet_lib.press.recompute import Finding
from ecgnet_lib.press.verify import alike, guarded

RESULTS = ROOT / "book" / "results"


@pytest.fixture
def record(tmp_path: Path, monkeypatch) -> Path:
    """A copy of the stored files, which a test may spoil."""
    folder = tmp_path / "book" / "results"
    shutil.copytree(RESULTS, folder)
    monkeypatch.setattr(results, "RESULTS", folder)
    return folder


def wrong(check: Callable, *given: object) -> list[Finding]:
    return [finding for finding in guarded(check, *given) if not finding.good]


def names(check: Callable, *given: object) -> list[str]:
    return [finding.subject for finding in wrong(check, *given)]


def edit(file: Path, *path: object, to: object) -> None:
    """Set one value deep in a JSON file."""
    content = json.loads(file.read_text())
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    assert inside[path[-1]] != to
    inside[path[-1]] = to
    file.write_text(json.dumps(content, indent=1) + "\n")


# --- nothing altered ------------------------------------------------------------------------------


@pytest.mark.parametrize("check", recompute.CHECKS[:-1], ids=lambda check: check.__name__)
def test_the_stored_results_agree_with_themselves(check) -> None:
    found = guarded(check)
    assert found and all(finding.good for finding in found), "after a new result: verify --record"


def test_the_stored_labels_are_those_of_the_databases(physionet: Path) -> None:
    found = guarded(recompute.check_data)
    assert all(finding.good for finding in found)
    truth = pd.read_csv(RESULTS / "comparison_truth.csv")
    assert sum(int(finding.new) for finding in found) == len(truth)


# --- an edited result -----------------------------------------------------------------------------


def test_an_edited_result_is_named_even_when_it_is_sealed_again(record: Path) -> None:
    row = ("protocols", "B", "methods", "ours", "metrics", "abnormal", "f1")
    edit(record / "comparison.json", *row, to=0.99)
    assert names(recompute.check_files) == ["book/results/comparison.json"]
    seal("comparison.json")
    assert names(recompute.check_files) == []
    (finding,) = wrong(recompute.check_predictions, "comparison")
    assert finding.subject == "comparison.json: protocols.B.methods.ours.metrics.abnormal.f1"
    assert finding.old == 0.99 and finding.difference == pytest.approx(finding.new - 0.99)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("default", "A.methods.ours.metrics.MI.f1"),
        ("simulation", "A.methods.real only.thresholds.CD.0"),
        ("denoising", "A.methods.gated.metrics.ARR.average_precision"),
        ("leakage", "patient.methods.trees.metrics.CD.auc"),
        ("leakage", "threshold from the test set.methods.network.metrics.CD.f1"),
        ("options", "validation.methods.distillation.macro_auc.value"),
        ("options", "validation.methods.distillation.by_seed.1"),
        ("options", "validation.methods.distillation.metrics.MI.positives"),
    ],
)
def test_every_kind_of_result_is_computed_again(record: Path, name: str, path: str) -> None:
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    edit(record / f"{name}.json", "protocols", *keys, to=0.987)
    (found,) = names(recompute.check_predictions, name)
    method, _, rest = path.partition(".methods.")
    assert found.startswith(f"{name}.json: protocols.{method}.methods.{rest.split('.')[0]}.")


def test_an_edited_mean_of_the_explanation_is_named(record: Path) -> None:
    path = ("deletion", "forms", "leads", "areas", "GAT", "all")
    edit(record / "explanation.json", *path, "value", to=0.987)
    assert names(recompute.check_explanation) == [f"explanation.json: {'.'.join(path)}"]


def test_edited_intervals_are_found_by_their_bootstrap(record: Path) -> None:
    row = ("protocols", "A", "methods", "ours")
    edit(record / "default.json", *row, "metrics", "CD", "f1_high", to=0.99)
    edit(record / "default.json", *row, "macro_auc", "low", to=0.97)
    edit(record / "default.json", *row, "n", to=199)
    assert names(recompute.check_intervals, ("default", "A")) == [
        "default.json: protocols.A.methods.ours.macro_auc.low",
        "default.json: protocols.A.methods.ours.metrics.CD.f1_high",
        "default.json: protocols.A.methods.ours.n",
    ]
    row = ("protocols", "A", "methods", "simulated only", "difference_to_real only", "high")
    edit(record / "simulation.json", *row, to=-0.001)
    found = names(recompute.check_intervals, ("simulation", "A"))
    assert found == [f"simulation.json: {'.'.join(row)}"]


def test_a_method_that_was_taken_out_is_named(record: Path) -> None:
    content = json.loads((record / "denoising.json").read_text())
    del content["protocols"]["A"]["methods"]["paper"]
    (record / "denoising.json").write_text(json.dumps(content))
    where = "denoising.json: protocols.A.methods"
    assert names(recompute.check_predictions, "denoising") == [where]


def test_an_experiment_seals_what_it_wrote_and_no_edit_by_hand(record: Path) -> None:
    (record / "virtual.json").write_text("{}")  # by hand
    (record / "leakage.json").write_text("{}\n")  # by an experiment
    seal("leakage.json")
    assert names(recompute.check_files) == ["book/results/virtual.json"]


def test_what_cannot_be_computed_again_is_held_by_the_seal(record: Path) -> None:
    edit(record / "default.json", "history", 0, "loss", to=0.1)
    assert names(recompute.check_files) == ["book/results/default.json"]
    (record / "leakage_truth.csv").unlink()
    (record / "extra.json").write_text("{}")
    assert names(recompute.check_files)[1:] == [
        "book/results/extra.json",
        "book/results/leakage_truth.csv",
    ]


# --- weights, labels, data ------------------------------------------------------------------------


def test_an_edited_weight_is_named(record: Path) -> None:
    file = record / "weights" / "default.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    found = names(recompute.check_weights)
    assert found[0] == "weights/default.safetensors" and "explanation.json" in found[1]
    (record / "weights" / "virtual.safetensors").unlink()
    assert "weights/virtual.safetensors" in names(recompute.check_weights)


def test_an_edited_label_is_named(record: Path, physionet: Path) -> None:
    file = record / "comparison_truth.csv"
    text = file.read_text()
    line = next(line for line in text.splitlines() if line.startswith("ptb-xl/00008"))
    changed = line.split(",")
    changed[5] = str(1 - int(changed[5]))  # ARR
    file.write_text(text.replace(line, ",".join(changed)))
    seal("comparison_truth.csv")
    (finding,) = wrong(recompute.check_data)
    assert finding.subject == "comparison_truth.csv: ptb-xl/00008" and finding.new == "other ARR"
    moved = names(recompute.check_predictions, "comparison")
    assert any(".ARR.positives" in name for name in moved)


def test_a_missing_data_file_is_named(tmp_path: Path, monkeypatch) -> None:
    """Stored recordings without the signal of one: that one is named, and its file."""
    folder = tmp_path / "ludb" / "data"
    folder.mkdir(parents=True)
    rows = ["recording,patient,source,only_sinus_rhythm,abnormal,ARR,CD,MI,QT,HYP"]
    for i in (1, 2):
        rows.append(f"ludb/{i},ludb/{i},ludb,1,,0,0,0,0,0")
        header = f"{i} 1 500 5000\n{i}.dat 16 1000/mV 16 0 0 0 0 i\n"
        (folder / f"{i}.hea").write_text(
            header + "#<age>: 50\n#<sex>: F\n#<diagnoses>:\n#Rhythm: Sinus rhythm.\n"
        )
        (folder / f"{i}.dat").write_bytes(b"\0" * 10000)
    (tmp_path / "comparison_truth.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path))
    assert wrong(recompute.check_data) == []
    (folder / "2.dat").unlink()
    (finding,) = wrong(recompute.check_data)
    assert finding.subject == "ludb/2" and "2" in str(finding.new)


def test_a_missing_stored_file_is_named_and_does_not_end_the_check(record: Path) -> None:
    (record / "comparison.csv.gz").unlink()
    assert "book/results/comparison.csv.gz" in names(recompute.check_files)
    finding = wrong(recompute.check_predictions)[0]
    assert not finding.good and "book/results/comparison.csv.gz" in finding.new


# --- pages ----------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A book of one page, executed and accepted."""
    (tmp_path / "ecgnet_lib").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "book/_toc.yml").write_text("root: 01_a\n")
    write_page(tmp_path, "x = 1")
    pretend(tmp_path, 0.5)
    (tmp_path / "book/results").mkdir()
    monkeypatch.setattr(results, "RESULTS", tmp_path / "book/results")
    verify.record_pages(fresh(tmp_path))
    return tmp_path


def fresh(root: Path) -> Book:
    return Book(root, lambda *_: "data", verify.FRESH)


def write_page(root: Path, code: str) -> None:
    cells = [new_code_cell("seed: int = 0  # of all", id="a"), new_code_cell(code, id="b")]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), root / "book" / "01_a.ipynb")


def pretend(root: Path, value: object, data: str = "PTB-XL, 2 of 3, read from A") -> None:
    """Write what an execution of the page would leave."""
    job = fresh(root).job("01_a")
    notebook = nbformat.from_dict(job.page.notebook)
    claim = {"claim": {"name": "f1", "value": value}}
    notebook.cells[1].outputs = [
        new_output("display_data", {"text/plain": f"Data of this page. {data}"}),
        new_output("display_data", {}, metadata=claim),
    ]
    notebook.metadata["ecgnet"] = {"key": job.key, "about": {}}
    job.out.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, job.out)


def of_pages(root: Path) -> list[str]:
    return names(verify.check_code, fresh(root)) + names(verify.check_values, fresh(root))


def test_an_altered_page_is_named(project: Path) -> None:
    assert of_pages(project) == []
    write_page(project, "x = 2")
    assert of_pages(project) == ["book/01_a.ipynb: its code", "01_a: executed"]
    pretend(project, 0.99)
    assert of_pages(project) == ["book/01_a.ipynb: its code", "01_a: f1"]


def test_a_value_that_moved_is_named_unless_the_data_are_others(project: Path) -> None:
    pretend(project, 0.5001, data="PTB-XL, 2 of 3, read from B")
    assert of_pages(project) == []
    pretend(project, 0.52)
    assert of_pages(project) == ["01_a: f1"]
    pretend(project, 0.52, data="PTB-XL, 3 of 3")
    assert of_pages(project) == []


def test_values_agree_within_rounding_and_words_exactly() -> None:
    assert alike(0.86, 0.8601) and not alike(0.86, 0.90)
    assert alike(3163, 3163) and not alike(3163, 3200)
    row = "0.86 [0.85, 0.87]"
    assert alike(row, "0.861 [0.85, 0.87]") and not alike(row, "0.86 [0.80, 0.87]")
    assert not alike("not estimable", row) and not alike("rises", "falls")
    assert not alike(True, False) and not alike(None, 0.5)
    assert alike("1,358 of 2,854", "1,358 of 2,854") and not alike("1,358 of 2", "1,458 of 2")


# --- the report -----------------------------------------------------------------------------------


def test_the_report_says_what_is_wrong_first(monkeypatch, tmp_path: Path) -> None:
    bad = Finding("metrics", "comparison.json: <f1>", 0.99, 0.859, False, -0.131)
    good = Finding("weights", "default", "a", "a", True)
    monkeypatch.setattr(verify, "CHECKS", (lambda: iter([good, bad]),))
    monkeypatch.setattr(verify, "check_code", lambda book: iter(()))
    for write in (files.write_atomic, files.write_json):

        def here(path: Path, what: object, write: Callable = write) -> None:
            write(tmp_path / path.name, what)

        monkeypatch.setattr(verify, write.__name__, here)
    assert verify.verify(ROOT, execute=False, say=lambda _: None) == [bad]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert not manifest["passed"] and manifest["seconds"] >= 0
    assert manifest["environment"]["torch"] and len(manifest["claims"]) > 15
    assert manifest["files"]["weights/default.safetensors"]
    assert {f["subject"]: f["difference"] for f in manifest["findings"]}[bad.subject] == -0.131
    page = (tmp_path / "index.html").read_text()
    assert "1 things do not agree" in page and page.index("&lt;f1&gt;") < page.index("The claims")
    assert "http" not in page  # needs nothing else


def test_the_command_fails_and_names_what_moved(monkeypatch) -> None:
    from click.testing import CliRunner

    from ecgnet_lib.__main__ import main

    bad = Finding("metrics", "comparison.json: f1", 0.99, 0.859, False, -0.131)
    monkeypatch.setattr(verify, "verify", lambda **_: [bad])
    done = CliRunner().invoke(main, ["verify"])
    assert done.exit_code == 1 and "comparison.json: f1: 0.99 stored, 0.859 now" in done.output
    monkeypatch.setattr(verify, "verify", lambda **_: [])
    assert CliRunner().invoke(main, ["verify"]).exit_code == 0


def test_nothing_but_times_may_differ_from_the_accepted_values() -> None:
    names = {f"{p}: {n}" for p, page in verify.accepted_pages(ROOT).items() for n in page["values"]}
    timed = {"slowest", "slowest_share", "other_share", "pass_ms"}
    wanted = {f"06_model: {name}" for name in timed} | {"07_training: seconds"}
    assert set(filter(verify.TIMED.match, names)) == wanted
