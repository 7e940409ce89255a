"""The README: short, its commands on top, its table that of the stored comparison."""

from __future__ import annotations

import re
import tomllib

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.evaluation.results import load_result
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.numbers import bare_numbers

README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = {
    "abnormal": "normal or abnormal",
    "ARR": "arrhythmias",
    "CD": "conduction disorders",
    "MI": "myocardial infarction",
    "QT": "QT abnormalities",
    "HYP": "hypertrophy",
}


def results() -> dict[str, list[str]]:
    """Return {class in words: cells} of the README's table of results."""
    rows = [line.strip("| ").split(" | ") for line in README.splitlines() if "| " in line]
    return {name: cells for name, *cells in rows if name in WORDS.values()}


def test_it_is_short_and_the_commands_stand_on_top() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert next(i for i, line in enumerate(lines, 1) if line.startswith("make book")) < 25


def test_its_table_is_that_of_the_stored_comparison() -> None:
    stored = load_result("comparison.json")["protocols"]["B"]["methods"]["ours"]["metrics"]
    table = results()
    assert list(stored) == ["abnormal", *DISEASES] and set(table) == set(WORDS.values())
    for name, row in stored.items():
        _, ours, on = table[WORDS[name]]
        if row["estimable"]:
            assert ours == f"{row['f1']:.2f} [{row['f1_low']:.2f}, {row['f1_high']:.2f}]"
        else:
            assert ours == "not estimable" and on.endswith(f"{row['positives']} positives")
        assert on.startswith("the same") or on.startswith(f"{row['n']:,} recordings")
    same = {row["n"] for name, row in stored.items() if name != "abnormal"}
    assert len(same) == 1  # what "the same" says


def test_its_prose_states_no_result() -> None:
    text = "\n".join(line for line in README.splitlines() if not line.startswith("|"))
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    assert bare_numbers(README, {})[0], "the table is gone"
    assert bare_numbers(text, {"95 % interval": ""})[0] == []


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.match(r"[\w-]+", text)[0] for group in groups for text in group}
    reasons = re.findall(r"^\| ([a-z].*?) \| (.+) \|$", README, re.MULTILINE)
    said = {name.split()[0] for packages, _ in reasons for name in packages.split(", ")}
    assert names - said == set()


def test_its_conclusions_follow_from_the_stored_comparison() -> None:
    methods = load_result("comparison.json")["protocols"]["B"]["methods"]
    rows = [row for row in methods["ours"]["metrics"].values() if row["estimable"]]
    assert "No F1 comes near" in README and max(row["f1_high"] for row in rows) < 0.9
    level = methods["features"]["difference_to_ours"]
    assert "random forest rank level with" in README and level["low"] < 0 < level["high"]
    whole = "resnet1d_wang + pre-training + distillation + rhythm branch"
    higher = methods[whole]["difference_to_ours"]
    assert "ranks a little higher" in README and 0 < higher["low"] < higher["high"] < 0.01
