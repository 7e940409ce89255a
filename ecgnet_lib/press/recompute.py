"""What a reviewer need not believe: files, weights, labels and metrics of record, checked anew.

Each check returns findings, good and bad; a bad one names the file and what is wrong with it. What
follows from stored predictions is computed again with scikit-learn. What cannot be (an interval, a
loss, a time) is held against `book/results/record.sha256`, which the commands that make results
write: an edit by hand is found there, and in the history of the repository.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.datasets.download import read_sums
from ecgnet_lib.errors import SourceError
from ecgnet_lib.evaluation import results
from ecgnet_lib.press.sealed import SEAL, sealed_files, sha256

DATABASES = {"ptb-xl": "ptbxl", "ludb": "ludb"}  # by the source in a name; the rest: the Challenge
EXACT = 1e-9  # metrics were computed from the scores as they are stored


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. old: as recorded; new: as found now; both may be words."""

    check: str
    subject: str
    old: object
    new: object
    good: bool
    difference: float | None = None


def check_files() -> Iterator[Finding]:
    """Hold every file of record against the seal."""
    folder = results.RESULTS
    there = sealed_files(folder)
    listed = read_sums(folder / SEAL) if (folder / SEAL).is_file() else {}
    for name in sorted(there.keys() | listed):
        found = sha256(there[name]) if name in there else "missing"
        expected = listed.get(name, "not listed")
        yield Finding("files of record", f"book/results/{name}", expected, found, found == expected)


def check_weights() -> Iterator[Finding]:
    """Hold weights against the JSON beside them, and against the results that name them."""
    folder = results.RESULTS / "weights"
    digests = {}
    for about in sorted(folder.glob("*.json")):
        weights, name = about.with_suffix(".safetensors"), f"weights/{about.stem}.safetensors"
        digests[about.stem] = sha256(weights) if weights.is_file() else "missing"
        said = json.loads(about.read_text(encoding="utf-8")).get("weights_sha256")
        yield Finding("weights", name, said, digests[about.stem], said == digests[about.stem])
    named = (
        ("comparison.json", "virtual_weights", "virtual"),
        ("comparison.json", "virtual_strip_weights", "virtual_strip"),
        ("default.json", "strip.weights_sha256", "strip"),
        ("explanation.json", "weights_sha256", "default"),
    )
    for file, key, network in named:
        said = dict(leaves(results.load_result(file))).get(key)
        subject = f"{file}: {key}, of weights/{network}.safetensors"
        yield Finding("weights", subject, said, digests.get(network), said == digests.get(network))


def number(check: str, subject: str, old: float, new: float, tolerance: float) -> Finding:
    """Return a finding about a number that must not move by more than the tolerance."""
    if old is None or new is None:
        return Finding(check, subject, old, new, old == new)
    difference = float(new) - float(old)
    return Finding(check, subject, old, float(new), abs(difference) <= tolerance, difference)


def scored(subject: str, truth, score, decision, stored: dict, tolerance: float):
    """Yield findings for the metrics of one class. truth, score, decision: (N,).

    decision is None where validation gave no threshold: then no F1 may be stored.
    """
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    y = np.asarray(truth, dtype=bool)
    if not y.any() or y.all():
        return
    again = {
        "auc": roc_auc_score(y, score),
        "average_precision": average_precision_score(y, score),
        "f1": None if decision is None else f1_score(y, decision),
    }
    for metric, value in again.items():
        slack = 5 * tolerance if metric == "average_precision" else tolerance
        yield number("metrics", f"{subject}.{metric}", stored[metric], value, slack)


def check_comparison() -> Iterator[Finding]:
    """Compute the metrics of every method and protocol from comparison.csv.gz."""
    from sklearn.metrics import roc_auc_score

    from ecgnet_lib.evaluation.metrics import best_threshold
    from ecgnet_lib.experiments.out_of_fold import known_both_ways

    table = results.load_predictions("comparison.csv.gz")
    for protocol, judged in results.load_result("comparison.json")["protocols"].items():
        rows = table[table.protocol == protocol]
        rows = rows.assign(abnormal=known_both_ways(rows))
        where = f"comparison.json: protocols.{protocol}.methods"
        for name, method in judged["methods"].items():
            seeds = [run for _, run in rows[rows.method == name].groupby("seed")]
            means = []
            for run in (run[run.set == "test"] for run in seeds):
                known = {c: run[run[c].notna()] for c in judged["columns"]}
                aucs = [roc_auc_score(r[c].astype(bool), r[f"p_{c}"]) for c, r in known.items()]
                means.append(np.mean(aucs))
            yield number("metrics", f"{where}.{name}.macro_auc", method["macro_auc"]["value"],
                         np.mean(means) if means else None, EXACT)  # fmt: skip
            for column, stored in method["metrics"].items():
                run = seeds[0][seeds[0][column].notna()]
                val, test = run[run.set == "val"], run[run.set == "test"]
                cuts = {}
                for part in seeds[0].part.unique():
                    rest = val[val.part == part]
                    y, p = rest[column].to_numpy(bool), rest[f"p_{column}"].to_numpy()
                    cuts[part] = best_threshold(y, p) if 0 < y.sum() < len(y) else None
                subject = f"{where}.{name}.metrics.{column}"
                count = int(test[column].sum())
                yield number("metrics", f"{subject}.positives", stored["positives"], count, 0)
                decision = None
                if None not in cuts.values():
                    decision = test[f"p_{column}"] >= test.part.map(cuts)
                yield from scored(
                    subject, test[column], test[f"p_{column}"], decision, stored, EXACT
                )


def leaves(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (path, value) of every value in a tree of dictionaries and lists."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, child in children:
        where = f"{path}.{key}" if path else str(key)
        if isinstance(child, dict | list):
            yield from leaves(child, where)
        else:
            yield where, child


def check_intervals(protocols: Collection[str] = ("A", "B", "C")) -> Iterator[Finding]:
    """Judge the comparison again, with its bootstrap, and hold every value against the record.

    Takes a minute or two: intervals and differences are resampled with the seed of record.
    """
    from ecgnet_lib.experiments.out_of_fold import compare

    table, stored = (
        results.load_predictions("comparison.csv.gz"),
        results.load_result("comparison.json"),
    )
    for protocol in protocols:
        subject = f"comparison.json: protocols.{protocol}"
        again = dict(leaves(compare(table[table.protocol == protocol])))
        held = dict(leaves(stored["protocols"][protocol]))
        for path in sorted(again.keys() | held):
            old, new = held.get(path), again.get(path)
            if isinstance(old, float) and isinstance(new, int | float):
                finding = number("intervals", f"{subject}.{path}", old, new, EXACT)
            else:
                finding = Finding("intervals", f"{subject}.{path}", old, new, old == new)
            if not finding.good:
                yield finding
        count = f"{len(held)} values"
        yield Finding("intervals", subject, count, f"{len(again)} values", len(held) == len(again))


def check_options() -> Iterator[Finding]:
    """Compute the mean AUC of every option of the training from options.csv.gz."""
    from sklearn.metrics import roc_auc_score

    table, result = results.load_predictions("options.csv.gz"), results.load_result("options.json")
    for name, row in result["rows"].items():
        runs = [run for _, run in table[table.method == name].groupby("seed")]
        aucs = [
            [roc_auc_score(run[c].astype(bool), run[f"p_{c}"]) for c in result["columns"]]
            for run in runs
        ]
        subject = f"options.json: rows.{name}.macro_auc"
        mean = float(np.mean(aucs)) if aucs else None
        yield number("metrics", subject, row["macro_auc"]["value"], mean, EXACT)


def check_official() -> Iterator[Finding]:
    """Compute the thresholds and metrics of the results that hold their own predictions."""
    from ecgnet_lib.evaluation.metrics import best_threshold

    for file in ("default.json", "denoising.json", "simulation.json"):
        result = results.load_result(file)
        for row, judged in result.get("rows", {"": result}).items():
            cuts, where = judged.get("thresholds") or result["thresholds"], f"rows.{row}."
            val, test = (
                {key: np.array([p[key] for p in judged[rows]]) for key in ("truth", "score")}
                for rows in ("validation", "predictions")
            )
            for column, (name, stored) in enumerate(judged["metrics"].items()):
                subject = f"{file}: {where if row else ''}metrics.{name}"
                y, s = test["truth"][:, column], test["score"][:, column]
                count = int(y.sum())
                yield number("metrics", f"{subject}.positives", stored["positives"], count, 0)
                cut = best_threshold(val["truth"][:, column] > 0, val["score"][:, column])
                yield number("metrics", f"{subject}.threshold", cuts[name], cut, EXACT)
                yield from scored(subject, y, s, s >= cut, stored, EXACT)


def check_leakage() -> Iterator[Finding]:
    """Compute the metrics of the leakage lab from leakage.csv.gz."""
    table = results.load_predictions("leakage.csv.gz", set="test")
    for protocol, judged in results.load_result("leakage.json")["protocols"].items():
        for name, method in judged["methods"].items():
            rows = table[(table.method == name) & (table.protocol == judged["predictions"])]
            for column, stored in method["metrics"].items():
                subject = f"leakage.json: protocols.{protocol}.methods.{name}.metrics.{column}"
                held = int(rows.drop_duplicates("recording")[column].sum())
                yield number("metrics", f"{subject}.positives", stored["positives"], held, 0)
                decision = rows[f"p_{column}"] >= method["thresholds"][column]
                yield from scored(
                    subject, rows[column], rows[f"p_{column}"], decision, stored, EXACT
                )


def check_explanation() -> Iterator[Finding]:
    """Compute the mean areas and correlations from those of each recording."""
    result = results.load_result("explanation.json")
    for form, found in result["deletion"]["forms"].items():
        for name, areas in found["areas"].items():
            subject = f"explanation.json: deletion.forms.{form}.areas.{name}.all"
            mean = float(np.mean(found["per_recording"][name]))
            yield number("metrics", subject, areas["all"]["value"], mean, 2e-5)
    for name, parts in result["sanity"]["correlation"].items():
        for part, stored in parts.items():
            mean = float(np.mean(result["sanity"]["per_recording"][name][part]))
            subject = f"explanation.json: sanity.correlation.{name}.{part}"
            yield number("metrics", subject, stored["value"], mean, 2e-5)


def check_data() -> Iterator[Finding]:
    """Hold the labels of record against those made anew from the databases at hand.

    Every recording of record must be there, with its signal, in a database that is at hand.
    """
    from ecgnet_lib.datasets.sources import locate
    from ecgnet_lib.datasets.tables import READERS

    truth = pd.read_csv(results.RESULTS / "comparison_truth.csv", index_col="recording")
    owner = truth["source"].map(lambda source: DATABASES.get(source, "challenge-2021"))
    for database, rows in truth.groupby(owner):
        try:
            labelled = READERS[database](locate(database))
        except SourceError:
            yield Finding("data at hand", database, f"{len(rows)} recordings", "not at hand", True)
            continue
        table, reasons = labelled.table, dict(labelled.refused)
        for name in rows.index.difference(table.index):
            found = reasons.get(name, "no such recording at hand")
            yield Finding("data at hand", name, "a recording of record", found, False)
        shared = rows.index.intersection(table.index)
        classes = list(rows.columns.drop(["patient", "source"]))
        now = table.loc[shared, classes].astype("boolean").astype("Int64")
        old = rows.loc[shared, classes].astype("Int64")
        same = (now == old) | (now.isna() & old.isna())
        for name in same.index[~same.fillna(False).all(axis=1)]:
            wrong = ", ".join(same.columns[~same.loc[name].fillna(False)])
            subject = f"comparison_truth.csv: {name}"
            yield Finding(
                "data at hand", subject, "labels of the database", f"other {wrong}", False
            )
        yield Finding("data at hand", database, f"{len(rows)} recordings", f"{len(shared)}", True)


CHECKS = (
    check_files,
    check_weights,
    check_comparison,
    check_options,
    check_official,
    check_leakage,
    check_explanation,
    check_data,
)
