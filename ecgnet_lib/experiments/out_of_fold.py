"""Predictions of many trainings as one table, and the judgement of all methods on it.

`NAME.csv.gz` holds a row for each recording that a training validated or tested on: protocol,
method, part, seed, set ("val" or "test"), recording and the six probabilities.
`NAME_truth.csv` holds what is true of each recording. From both every metric can be computed again.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

from ecgnet_lib.evaluation.metrics import (
    MIN_POSITIVES,
    best_threshold,
    macro_auc_samples,
    patient_resamples,
    per_class,
)
from ecgnet_lib.evaluation.results import load_predictions
from ecgnet_lib.experiments.common import NAMES, RESAMPLES, interval
from ecgnet_lib.files import write_atomic

KEYS = ["protocol", "method", "part", "seed", "set", "recording"]
REFERENCES = ("ours", "no strip", "real only")  # every method is compared with these
DECIDED = ("precision", "recall", "f1")  # metrics that need a threshold
TRUTH = ["patient", "source", "only_sinus_rhythm", *NAMES]


def write_predictions(path: Path, scores: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Write both tables, `NAME.csv.gz` and beside it the truth, and return them as read again.

    scores: the columns of KEYS but the recording, which is the index, and NAMES; six decimals are
    kept. table: the recordings' table.
    """
    scores = scores.rename_axis("recording").reset_index()[[*KEYS, *NAMES]]
    text = scores.to_csv(index=False, float_format="%.6f")
    write_atomic(path, gzip.compress(text.encode(), mtime=0))
    truth = table[TRUTH].copy()
    truth[NAMES] = truth[NAMES].astype("boolean").astype("Int64")
    truth["only_sinus_rhythm"] = truth["only_sinus_rhythm"].astype(int)
    truth_of = path.with_name(path.name.replace(".csv.gz", "_truth.csv"))
    write_atomic(truth_of, truth.to_csv().encode())
    return load_predictions(path)


def decide(run: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Return the test rows of one method and seed with a decision `d_NAME` for each class.

    Each part's thresholds are those with the highest F1 on its validation rows; they come along,
    one a part. Where these hold only positives, or none, no threshold can be chosen: it is NaN.
    """
    tests, thresholds = [], {name: [] for name in NAMES}
    for _, part in run.groupby("part"):
        val, test = part[part.set == "val"], part[part.set == "test"].copy()
        for name in NAMES:
            known = val[name].notna().to_numpy()
            truth = val[name][known].to_numpy(bool)
            cut = np.nan
            if 0 < truth.sum() < len(truth):
                cut = best_threshold(truth, val[f"p_{name}"][known].to_numpy())
            test[f"d_{name}"] = test[f"p_{name}"] >= cut
            thresholds[name].append(cut)
        tests.append(test)
    return pd.concat(tests).set_index("recording"), thresholds


def judge_run(test: pd.DataFrame, thresholds: dict[str, list[float]]) -> pd.DataFrame:
    """Return `per_class` of the test rows of one method and seed.

    Where a part has no threshold the metrics of decisions are NaN.
    """
    scores = test[[f"p_{name}" for name in NAMES]].set_axis(NAMES, axis=1)
    decisions = test[[f"d_{name}" for name in NAMES]].set_axis(NAMES, axis=1)
    judged = per_class(test[NAMES], scores, decisions, test.patient.to_numpy(), RESAMPLES)
    undecided = [name for name, cuts in thresholds.items() if np.isnan(cuts).any()]
    judged.loc[undecided, [f"{m}{end}" for m in DECIDED for end in ("", "_low", "_high")]] = np.nan
    return judged


def macro_samples(tests: list[pd.DataFrame], recordings: pd.Index, columns: list[str],
                  counts: np.ndarray) -> np.ndarray:  # fmt: skip
    """Return the mean AUC over `columns`, averaged over seeds, for each resample in `counts`.

    tests: one frame a seed. Only seeds that tested all of `recordings` count.
    """
    tests = [test.loc[recordings] for test in tests if recordings.isin(test.index).all()]
    scores = [test[[f"p_{name}" for name in columns]].set_axis(columns, axis=1) for test in tests]
    truth = tests[0][columns]
    return np.mean([macro_auc_samples(truth, one, counts) for one in scores], axis=0)


def compare(predictions: pd.DataFrame) -> dict:
    """Judge all methods of one protocol.

    Each gets its metrics by class (first seed), its macro AUC and the paired differences to the
    REFERENCES on the recordings that both tested; intervals are 95 % bootstraps over patients. The
    macro AUC is the mean over the columns that are estimable on all tested recordings and of which
    each part's validation rows knew both answers: what nobody could learn is not judged. "abnormal"
    is judged on the sources that name enough normal recordings too: where all are abnormal, knowing
    the source would be enough.
    """
    comparable = predictions.assign(abnormal=known_both_ways(predictions))
    runs = {
        name: [decide(run) for _, run in rows.groupby("seed")]
        for name, rows in comparable.groupby("method", sort=False)
    }
    tests = {name: [test for test, _ in seeds] for name, seeds in runs.items()}
    metrics = {name: judge_run(*seeds[0]) for name, seeds in runs.items()}
    whole = tests["ours"][0]
    learned = {name for name, cuts in runs["ours"][0][1].items() if not np.isnan(cuts).any()}
    columns = [n for n in NAMES if n in learned and metrics["ours"]["estimable"][n]]
    judged = {}
    for name, seeds in tests.items():
        index = seeds[0].index
        counts = resamples(seeds[0])
        samples = macro_samples(seeds, index, columns, counts)
        differences = {}
        for other in REFERENCES:
            if other != name and other in tests:
                shared = index[index.isin(tests[other][0].index)]
                again = resamples(seeds[0].loc[shared])
                mine, theirs = (macro_samples(tests[one], shared, columns, again)
                                for one in (name, other))  # fmt: skip
                differences[f"difference_to_{other}"] = interval(mine - theirs) | {"n": len(shared)}
        judged[name] = {
            "seeds": len(seeds),
            "by_seed": [float(macro_samples([t], index, columns, counts[:1])[0]) for t in seeds],
            "parts": int(seeds[0].part.nunique()),
            "n": len(index),
            "macro_auc": interval(samples),
            **differences,
            "thresholds": {
                label: [None if np.isnan(cut) else cut for cut in cuts]
                for label, cuts in runs[name][0][1].items()
            },
            "metrics": json.loads(metrics[name].to_json(orient="index")),
            "sources": by_source(predictions, *runs[name][0]) if name == "ours" else {},
        }
    return {"n": len(whole), "columns": columns, "methods": judged}


def known_both_ways(predictions: pd.DataFrame) -> pd.Series:
    """Return `abnormal`, missing for sources with too few recordings of either kind."""
    once = predictions.drop_duplicates("recording").dropna(subset="abnormal")
    counts = once.groupby(["source", once["abnormal"].astype(bool)]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[False, True], fill_value=0)
    enough = counts.index[(counts >= MIN_POSITIVES).all(axis=1)]
    return predictions["abnormal"].where(predictions.source.isin(enough))


def resamples(test: pd.DataFrame) -> np.ndarray:
    """Return counts (1 + R, N): the recordings once each, then R draws of patients."""
    drawn = patient_resamples(test.patient.to_numpy(), RESAMPLES, seed=0)
    return np.vstack([np.ones((1, len(test)), drawn.dtype), drawn])


def by_source(
    predictions: pd.DataFrame, test: pd.DataFrame, thresholds: dict[str, list[float]]
) -> dict[str, dict]:
    """Return the metrics by class of each source, since source and class are confounded.

    predictions: for the stated `abnormal` of all sources; test: the rows to judge; thresholds: of
    each part.

    Where a source never says "normal ECG", its recordings with nothing but sinus rhythm stand in
    for the normal ones: weaker negatives, marked by `weak_negatives`.
    """
    stated = predictions.drop_duplicates("recording").set_index("recording")["abnormal"]
    test, found = test.assign(abnormal=stated.reindex(test.index)), {}
    for source, rows in test.groupby("source"):
        weak = bool(rows["abnormal"].dropna().all())
        if weak:
            rows = rows.assign(abnormal=rows["abnormal"].mask(rows.only_sinus_rhythm, False))
        parts = rows.part.unique()
        metrics = judge_run(rows, {n: [cuts[p] for p in parts] for n, cuts in thresholds.items()})
        found[source] = {
            "n": len(rows),
            "weak_negatives": weak,
            "metrics": json.loads(metrics.to_json(orient="index")),
        }
    return found
