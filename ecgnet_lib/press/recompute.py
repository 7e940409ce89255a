"""What a reviewer need not take on trust: stored files, weights, labels and metrics, checked anew.

Each check returns findings, good and bad; a bad one names the file and what is wrong with it. What
follows from stored predictions is computed again, once with scikit-learn and once with its
bootstrap. What cannot be (a loss, a time) is held against `book/results/record.sha256`, which the
commands that make results write: an edit by hand is found there, and in the repository's history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.datasets.download import read_sums
from ecgnet_lib.errors import SourceError
from ecgnet_lib.evaluation import results
from ecgnet_lib.experiments.common import SEAL, sha256, stored_files

DATABASES = {"ptb-xl": "ptbxl", "ludb": "ludb"}  # by the source in a name; the rest: the Challenge
PREDICTED = ("default", "denoising", "simulation", "options", "leakage", "comparison")
EXACT = 1e-9  # metrics were computed from the scores as they are stored
ROUNDED = {"simulation": 5e-4}  # its macro AUC was computed before the scores were rounded


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. old: as stored; new: as found now; both may be words."""

    check: str
    subject: str
    old: object
    new: object
    good: bool
    difference: float | None = None


def compare(
    check: str, subject: str, old: object, new: object, tolerance: float = EXACT
) -> Finding:
    """Return a finding about two values: numbers may differ by the tolerance, others not at all."""
    if not all(isinstance(value, int | float) for value in (old, new)):
        return Finding(check, subject, old, new, old == new)
    difference = float(new) - float(old)
    return Finding(check, subject, old, new, abs(difference) <= tolerance, difference)


def check_files() -> Iterator[Finding]:
    """Hold every stored file against the seal."""
    there, seal = stored_files(), results.RESULTS / SEAL
    listed = read_sums(seal) if seal.is_file() else {}
    for name in sorted(there.keys() | listed):
        found = sha256(there[name]) if name in there else "missing"
        yield compare("stored files", f"book/results/{name}", listed.get(name, "not listed"), found)


def check_weights() -> Iterator[Finding]:
    """Hold weights against the JSON beside them, and against the results that name them."""
    digests = {}
    for about in sorted((results.RESULTS / "weights").glob("*.json")):
        weights, name = about.with_suffix(".safetensors"), f"weights/{about.stem}.safetensors"
        digests[about.stem] = sha256(weights) if weights.is_file() else "missing"
        said = json.loads(about.read_text(encoding="utf-8")).get("weights_sha256")
        yield compare("weights", name, said, digests[about.stem])
    for file, key, network in (
        ("comparison.json", "virtual_weights", "virtual"),
        ("comparison.json", "virtual_rhythm_weights", "virtual_rhythm"),
        ("default.json", "initial.weights_sha256", "virtual"),
        ("default.json", "rhythm_branch.weights_sha256", "rhythm"),
        ("explanation.json", "weights_sha256", "default"),
    ):
        said = dict(leaves(results.load_result(file))).get(key)
        subject = f"{file}: {key}, of weights/{network}.safetensors"
        yield compare("weights", subject, said, digests.get(network))


def protocols(*names: str) -> Iterator[tuple[str, str, dict, dict, pd.DataFrame]]:
    """Yield experiment (those named, or all), protocol, result, its part stored, predictions."""
    for name in names or PREDICTED:
        table = results.load_predictions(f"{name}.csv.gz")
        result = results.load_result(f"{name}.json")
        for protocol, stored in result["protocols"].items():
            yield name, protocol, result, stored, table[table.protocol == protocol]


def check_predictions(*names: str) -> Iterator[Finding]:
    """Compute thresholds, counts and metrics of experiments from predictions, with scikit-learn."""
    for name, protocol, _, stored, rows in protocols(*names):
        where, ran = f"{name}.json: protocols.{protocol}", sorted(rows["method"].unique())
        yield compare("metrics", f"{where}.methods", sorted(stored["methods"]), ran)
        for subject, old, new, tolerance in again(rows, stored, ROUNDED.get(name, EXACT)):
            yield compare("metrics", f"{where}.methods.{subject}", old, new, tolerance)


def again(
    rows: pd.DataFrame, stored: dict, tolerance: float
) -> Iterator[tuple[str, object, object, float]]:
    """Yield (subject, stored value, value now, tolerance) for all methods of one protocol.

    tolerance: of the macro AUC.
    """
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    from ecgnet_lib.evaluation.methods import apply_thresholds, known_abnormal

    rows = rows.assign(abnormal=known_abnormal(rows))
    if not (rows["set"] == "test").any():
        rows = rows.assign(set="test")
    for name, method in stored["methods"].items():
        runs = [run for _, run in rows[rows["method"] == name].groupby("seed")]
        if not runs:
            yield f"{name}.macro_auc", method["macro_auc"]["value"], None, tolerance
            continue
        aucs = [[roc_auc_score(*known(run, c)) for c in stored["columns"]] for run in runs]
        means = np.mean(aucs, axis=1).tolist()
        yield f"{name}.macro_auc", method["macro_auc"]["value"], np.mean(means), tolerance
        for seed, (old, new) in enumerate(zip(method["by_seed"], means, strict=False)):
            yield f"{name}.by_seed.{seed}", old, new, tolerance
        test, thresholds = apply_thresholds(runs[0], stored["threshold_from"])
        for column, metrics in method["metrics"].items():
            cuts = [None if np.isnan(cut) else cut for cut in thresholds[column]]
            here, positives = f"{name}.metrics.{column}", test.groupby("recording")[column].max()
            yield f"{here}.threshold", method["thresholds"][column], cuts, EXACT
            yield f"{here}.positives", metrics["positives"], int(positives.sum()), EXACT
            truth, score = known(test, column)
            if truth.all() or not truth.any():
                continue
            precision = average_precision_score(truth, score)
            decision = test.loc[test[column].notna(), f"d_{column}"]
            f1 = None if None in cuts else f1_score(truth, decision)
            yield f"{here}.auc", metrics["auc"], roc_auc_score(truth, score), EXACT
            yield f"{here}.average_precision", metrics["average_precision"], precision, 5 * EXACT
            yield f"{here}.f1", metrics["f1"], f1, EXACT


def known(run: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and score of the test rows for which the truth is known."""
    rows = run[(run["set"] == "test") & run[column].notna()]
    return rows[column].to_numpy(bool), rows[f"p_{column}"].to_numpy()


def check_intervals(*where: tuple[str, str]) -> Iterator[Finding]:
    """Evaluate the stored predictions again, with their bootstrap, and compare every value.

    where: pairs of experiment and protocol; all if none is given, which takes minutes: intervals
    and differences are resampled with the same seed. Only what differs is reported in full.
    """
    from ecgnet_lib.evaluation.methods import evaluate

    for name, protocol, result, stored, rows in protocols(*dict.fromkeys(n for n, _ in where)):
        if where and (name, protocol) not in where:
            continue
        found = evaluate(rows, result["references"], stored["threshold_from"])
        now, held = dict(leaves(found)), dict(leaves({k: stored.get(k) for k in found}))
        subject = f"{name}.json: protocols.{protocol}"
        for path in sorted(now.keys() | held):
            loose = any(part in path for part in ("_auc", "difference_to", "by_seed"))
            tolerance = ROUNDED.get(name, EXACT) if loose else EXACT
            pair = held.get(path), now.get(path)
            finding = compare("intervals", f"{subject}.{path}", *pair, tolerance)
            if not finding.good:
                yield finding
        yield compare("intervals", subject, f"{len(held)} values", f"{len(now)} values")


def leaves(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (path, value) of every value in a tree of dictionaries and lists."""
    if not isinstance(tree, dict | list):
        yield path, tree
        return
    for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(child, f"{path}.{key}" if path else str(key))


def check_explanation() -> Iterator[Finding]:
    """Compute the mean areas and correlations from those of each recording."""
    result = results.load_result("explanation.json")
    sanity, pairs = result["sanity"], {}
    for form, found in result["deletion"]["forms"].items():
        for name, areas in found["areas"].items():
            path = f"deletion.forms.{form}.areas.{name}.all"
            pairs[path] = areas["all"], found["per_recording"][name]
    for name, parts in sanity["correlation"].items():
        for part, stored in parts.items():
            each = sanity["per_recording"][name][part]
            pairs[f"sanity.correlation.{name}.{part}"] = stored, each
    for path, (stored, each) in pairs.items():
        subject, mean = f"explanation.json: {path}", float(np.mean(each))
        yield compare("metrics", subject, stored["value"], mean, 2e-5)


def check_data() -> Iterator[Finding]:
    """Hold the stored labels against those made anew from the databases at hand.

    Every stored recording must be there, with its signal, in a database that is at hand.
    """
    from ecgnet_lib.datasets.sources import locate
    from ecgnet_lib.datasets.tables import READERS

    check, file = "data at hand", results.RESULTS / "comparison_truth.csv"
    truth = pd.read_csv(file, index_col="recording")
    owner = truth["source"].map(DATABASES).fillna("challenge-2021")
    for database, rows in truth.groupby(owner):
        count = f"{len(rows)} recordings"
        try:
            table, refused = READERS[database](locate(database))
        except SourceError:
            yield Finding(check, database, count, "not at hand", True)
            continue
        reasons = dict(refused)
        for name in rows.index.difference(table.index):
            found = reasons.get(name, "no such recording at hand")
            yield Finding(check, name, "a stored recording", found, False)
        shared = rows.index.intersection(table.index)
        classes = list(rows.columns.drop(["patient", "source"]))
        old, now = (t.loc[shared, classes].astype("boolean").astype("Int64") for t in (rows, table))
        same = ((now == old) | (now.isna() & old.isna())).fillna(False).astype(bool)
        for name, row in same[~same.all(axis=1)].iterrows():
            subject, wrong = f"comparison_truth.csv: {name}", ", ".join(row.index[~row])
            yield Finding(check, subject, "labels of the database", f"other {wrong}", False)
        yield Finding(check, database, count, f"{len(shared)}", True)


CHECKS = (check_files, check_weights, check_predictions, check_explanation, check_data)
