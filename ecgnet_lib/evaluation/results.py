"""Stored results: what `experiments` wrote, for pages to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.paths import RESULTS


def load_result(file: str) -> dict:
    """Return the result in `book/results/<file>`; ConfigError says how to make a missing one.

    A page names the file with its suffix: it is then executed again when the result changes.
    """
    try:
        return json.loads((RESULTS / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise missing(file, error) from error


def missing(file: str, error: Exception) -> ConfigError:
    remedy = f"python -m ecgnet_lib experiment {file.partition('.')[0]}"
    what, found = "there is no such result", type(error).__name__
    return ConfigError(what, file=f"book/results/{file}", found=found, remedy=remedy)


def ablation(*parts: str) -> dict[str, dict]:
    """Return the full network and those without a part, in rows for `figures.compared`.

    parts: "GAT" for the row "no GAT", or a row by its name ("one stage"); those that were not run
    are left out. A row holds `macro_auc`, `difference_to_full` and `effect`, which says it in
    words. "full" is the network trained on labels only, under protocol B, as the others here.
    """
    methods = load_result("comparison.json")["protocols"]["B"]["methods"]
    rows = {"full": methods["labels only"]}
    for name in (part if part in methods else f"no {part}" for part in parts):
        if name in methods:
            gap = methods[name]["difference_to_labels only"]
            rows[name] = methods[name] | {"difference_to_full": gap, "effect": effect(gap)}
    return rows


def effect(difference: dict[str, float]) -> str:
    """Say what a difference in macro AUC (reduced minus full network) shows, to end a sentence.

    Only an interval without zero is called a cost or a gain.
    """
    value, low, high = (difference[part] for part in ("value", "low", "high"))
    if low <= 0 <= high:
        interval = f"{value:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
        told = f"which {difference['n']:,} recordings cannot tell apart from no change"
        return f"changes the macro AUC by {interval}, {told}"
    least, most = sorted((abs(low), abs(high)))
    word = "costs" if high < 0 else "gains"
    return f"{word} {abs(value):.3f} of macro AUC here (95 % interval {least:.3f} to {most:.3f})"


def format_interval(row: Mapping, name: str = "value", form: str = ".2f") -> str:
    """Return `row[name]` with its 95 % interval as text: "0.91 [0.88, 0.94]".

    row: a dictionary or a row of a table, with `name`, and `name_low` and `name_high`, or `low` and
    `high`. Else it returns "not estimable" or, where a value is missing, "no threshold".
    """
    if not row.get("estimable", True):
        return "not estimable"
    if pd.isna(row[name]):
        return "no threshold"
    ends = (f"{name}_low", f"{name}_high") if f"{name}_low" in row else ("low", "high")
    value, low, high = (format(row[key], form) for key in (name, *ends))
    return f"{value} [{low}, {high}]"


def load_predictions(file: str | Path, **where: object) -> pd.DataFrame:
    """Return the predictions in a file of `book/results` beside the truth, one row each.

    Columns: protocol, method, fold, seed, set ("val" or "test"), recording; start_s where windows
    are classified; p_abnormal, p_ARR, ... (probabilities, those of the diseases joint with
    abnormal); patient, source, only_sinus_rhythm, and abnormal, ARR, ... (nullable booleans).
    where: values to select, such as `protocol="B"`. ConfigError when the file is missing.
    """
    path = RESULTS / file
    try:
        scores = pd.read_csv(path, dtype={"recording": str})
        truth = pd.read_csv(path.with_name(path.name.replace(".csv.gz", "_truth.csv")))
    except (OSError, ValueError) as error:
        raise missing(path.name, error) from error
    for column, value in where.items():
        scores = scores[scores[column] == value]
    names = [name for name in truth.columns if name in scores.columns and name != "recording"]
    truth[names] = truth[names].astype("Int64").astype("boolean")
    truth["only_sinus_rhythm"] = truth["only_sinus_rhythm"].astype(bool)
    scores = scores.rename(columns={name: f"p_{name}" for name in names})
    return scores.merge(truth, on="recording", how="left").reset_index(drop=True)
