"""Metrics of several methods under one protocol, computed from their stored predictions.

A run is one method and one seed: all rows of its folds, as `results.load_predictions` gives them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.evaluation.metrics import (
    MIN_POSITIVES,
    best_threshold,
    macro_auc_samples,
    patient_resamples,
    per_class,
)

NAMES = ["abnormal", *DISEASES]
RESAMPLES = 2000
DECIDED = ("precision", "recall", "f1")  # metrics that need a threshold

Thresholds = dict[str, list[float]]
"""{class: one threshold for each fold}; NaN where the validation rows hold one answer only."""


def evaluate(
    predictions: pd.DataFrame, references: Sequence[str] = (), threshold_from: str = "val"
) -> dict:
    """Return the metrics of all methods under one protocol, as plain values for JSON.

    Each method gets its metrics by class (first seed), its macro AUC, averaged over seeds, and the
    paired difference to each of the references, on the recordings that both tested. Intervals are
    95 % bootstraps over patients, the same resamples for all. The macro AUC is the mean over
    `columns`: the classes that are estimable and that each fold's validation rows hold positives
    and negatives of. "abnormal" is as in `known_abnormal`. Where there are no test rows, the
    validation rows are evaluated, without thresholds.
    """
    known = predictions.assign(abnormal=known_abnormal(predictions))
    tuned = (known["set"] == "val").any()
    if not (known["set"] == "test").any():
        known, tuned = known.assign(set="test"), False
    runs = {
        name: [apply_thresholds(run, threshold_from) for _, run in rows.groupby("seed")]
        for name, rows in known.groupby("method", sort=False)
    }
    tests = {name: [test for test, _ in seeds] for name, seeds in runs.items()}
    metrics = {name: class_metrics(*seeds[0]) for name, seeds in runs.items()}
    main = references[0] if references else next(iter(runs))
    cuts = runs[main][0][1]
    untuned = {name for name in NAMES if tuned and np.isnan(cuts[name]).any()}
    columns = [name for name in NAMES if metrics[main]["estimable"][name] and name not in untuned]
    patients = pd.concat([seeds[0] for seeds in tests.values()])[["patient"]]
    patients = patients[~patients.index.duplicated()]

    @cache  # most methods tested the same recordings
    def counts(recordings: tuple) -> np.ndarray:
        return patient_counts(patients.loc[list(recordings)])

    @cache
    def samples(name: str, recordings: tuple) -> np.ndarray:
        return macro_samples(tests[name], pd.Index(recordings), columns, counts(recordings))

    def difference(name: str, other: str) -> dict[str, float]:
        index = tests[name][0].index
        shared = tuple(index[index.isin(tests[other][0].index)])
        return interval(samples(name, shared) - samples(other, shared)) | {"n": len(shared)}

    found = {}
    for name, seeds in tests.items():
        index = tuple(seeds[0].index)
        one = counts(index)[:1]
        each = [macro_samples([test], seeds[0].index, columns, one) for test in seeds]
        others = [other for other in references if other != name and other in tests]
        found[name] = {
            "seeds": len(seeds),
            "by_seed": [float(values[0]) for values in each],
            "folds": int(seeds[0]["fold"].nunique()),
            "n": len(index),
            "macro_auc": interval(samples(name, index)),
            **{f"difference_to_{other}": difference(name, other) for other in others},
            "thresholds": {
                label: [None if np.isnan(cut) else cut for cut in of_folds]
                for label, of_folds in runs[name][0][1].items()
            },
            "metrics": plain(metrics[name]),
        }
    if predictions["source"].nunique() > 1:
        found[main]["sources"] = by_source(predictions, *runs[main][0])
    said = {"threshold_from": threshold_from, "n": len(tests[main][0])}
    return said | {"columns": columns, "methods": found}


def evaluate_run(
    run: pd.DataFrame, threshold_from: str = "val", resamples: int | None = None, seed: int = 0
) -> tuple[Thresholds, pd.DataFrame]:
    """Return the thresholds of a run and its metrics by class; threshold_from: "val" or "test"."""
    test, thresholds = apply_thresholds(run, threshold_from)
    return thresholds, class_metrics(test, thresholds, resamples, seed)


def apply_thresholds(
    run: pd.DataFrame, threshold_from: str = "val"
) -> tuple[pd.DataFrame, Thresholds]:
    """Return the test rows of a run with a decision `d_NAME` for each class, and the thresholds.

    The thresholds of a fold have the highest F1 on its validation rows. The index of the test rows
    is `recording`, or `recording` and `start_s` where windows are classified.
    """
    tests, thresholds = [], {name: [] for name in NAMES}
    for _, fold in run.groupby("fold"):
        chooses, test = fold[fold["set"] == threshold_from], fold[fold["set"] == "test"].copy()
        for name in NAMES:
            known = chooses[name].notna().to_numpy()
            truth = chooses[name][known].to_numpy(bool)
            cut = np.nan
            if 0 < truth.sum() < len(truth):
                cut = best_threshold(truth, chooses[f"p_{name}"][known].to_numpy())
            test[f"d_{name}"] = test[f"p_{name}"] >= cut
            thresholds[name].append(cut)
        tests.append(test)
    unit = [name for name in ("recording", "start_s") if name in run]
    return pd.concat(tests).set_index(unit), thresholds


def class_metrics(
    test: pd.DataFrame, thresholds: Thresholds, resamples: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return `metrics.per_class` of test rows with decisions.

    Metrics of decisions are NaN where a fold has no threshold. Where windows are classified, `n`,
    `positives` and `estimable` count recordings. resamples: RESAMPLES if not given.
    """
    truth = test[NAMES].astype("boolean")
    scores, decisions = (
        test[[f"{kind}_{name}" for name in NAMES]].set_axis(NAMES, axis=1) for kind in "pd"
    )
    patients, resamples = test["patient"].to_numpy(), resamples or RESAMPLES
    found = per_class(truth, scores, decisions, patients, resamples, seed)
    missing = [name for name, cuts in thresholds.items() if np.isnan(cuts).any()]
    found.loc[missing, [f"{m}{end}" for m in DECIDED for end in ("", "_low", "_high")]] = np.nan
    if "start_s" in test.index.names:
        whole = truth.groupby(level="recording").max()
        found["windows"], found["n"] = found["n"], whole.notna().sum()
        found["positives"] = whole.sum().astype(int)
        fewer = np.minimum(found["positives"], found["n"] - found["positives"])
        found["estimable"] = fewer >= MIN_POSITIVES
    return found


def macro_samples(
    tests: list[pd.DataFrame], recordings: pd.Index, columns: list[str], counts: np.ndarray
) -> np.ndarray:
    """Return the mean AUC over `columns` for each resample in `counts`, averaged over `tests`.

    tests: one frame for each seed; those count that hold all of `recordings`.
    """
    tests = [test.loc[recordings] for test in tests if recordings.isin(test.index).all()]
    scores = [test[[f"p_{name}" for name in columns]].set_axis(columns, axis=1) for test in tests]
    truth = tests[0][columns]
    return np.mean([macro_auc_samples(truth, one, counts) for one in scores], axis=0)


def patient_counts(test: pd.DataFrame) -> np.ndarray:
    """Return counts (1 + R, N): the recordings once each, then R draws of patients."""
    drawn = patient_resamples(test["patient"].to_numpy(), RESAMPLES, seed=0)
    return np.vstack([np.ones((1, len(test)), drawn.dtype), drawn])


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the value and its 95 % interval from (1 + R,): the data themselves, then resamples."""
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def known_abnormal(predictions: pd.DataFrame) -> pd.Series:
    """Return `abnormal`, missing for sources with too few normal or too few abnormal recordings."""
    once = predictions.drop_duplicates("recording").dropna(subset="abnormal")
    counts = once.groupby(["source", once["abnormal"].astype(bool)]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[False, True], fill_value=0)
    enough = counts.index[(counts >= MIN_POSITIVES).all(axis=1)]
    return predictions["abnormal"].where(predictions["source"].isin(enough))


def by_source(
    predictions: pd.DataFrame, test: pd.DataFrame, thresholds: Thresholds
) -> dict[str, dict]:
    """Return the metrics by class of each source, since source and class are confounded.

    Where a source never states "normal ECG", its recordings with nothing but sinus rhythm stand in
    for the normal ones, marked by `weak_negatives`.
    """
    stated = predictions.drop_duplicates("recording").set_index("recording")["abnormal"]
    test, found = test.assign(abnormal=stated.reindex(test.index)), {}
    for source, rows in test.groupby("source"):
        weak = bool(rows["abnormal"].dropna().all())
        if weak:
            rows = rows.assign(abnormal=rows["abnormal"].mask(rows["only_sinus_rhythm"], False))
        folds = rows["fold"].unique()
        cuts = {name: [cut[fold] for fold in folds] for name, cut in thresholds.items()}
        metrics = class_metrics(rows, cuts)
        found[source] = {"n": len(rows), "weak_negatives": weak, "metrics": plain(metrics)}
    return found


def plain(table: pd.DataFrame) -> dict[str, dict]:
    """Return a table as {row: {column: value}} for JSON; NaN becomes None."""
    return json.loads(table.to_json(orient="index"))
