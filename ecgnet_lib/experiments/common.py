"""What the experiments share: data and split, scores, judgements, what a result says of itself."""

from __future__ import annotations

import json
import platform

import numpy as np
import pandas as pd
import torch

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.splits import Split, audit, duplicates, merge_duplicates, official
from ecgnet_lib.evaluation.metrics import (
    best_threshold,
    macro_auc_samples,
    patient_resamples,
    per_class,
)
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals
from ecgnet_lib.network.rhythm import RHYTHM_S, RhythmNet, predict_with_rhythm
from ecgnet_lib.training.loop import TrainConfig

NAMES = ["abnormal", *DISEASES]
DENOISING = "gated"
RESAMPLES = 2000
CONFIG = TrainConfig(crops=24_000)  # what a network sees of real recordings
TAUGHT = TrainConfig(crops=60_000)  # with a teacher: beliefs are not so soon learned by heart
STRIP_CONFIG = TrainConfig(crops=24_000, crop_s=RHYTHM_S, learning_rate=2e-3)  # of the rhythm strip


def official_ptbxl() -> tuple[datasets.Dataset, pd.DataFrame, Split]:
    """Return PTB-XL with duplicates merged, and its official folds, audited."""
    data = datasets.load("ptbxl")
    table = merge_duplicates(data.table, duplicates(data.signals, data.table))
    split = official(table)
    audit(split, table, data.signals)
    return data, table, split


def scores_of(
    model: FoundationalECGNet,
    signals: Signals,
    table: pd.DataFrame,
    rows: np.ndarray,
    strip: RhythmNet | None = None,
) -> pd.DataFrame:
    """Return the probabilities (N, 6) of NAMES for some rows, indexed by recording."""
    scores = np.column_stack(predict_with_rhythm(model, strip, signals, rows=rows))
    return pd.DataFrame(scores, index=table.index[rows], columns=NAMES)


def judge(table: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame) -> dict:
    """Return thresholds fixed on validation scores, and metrics and predictions of the test."""
    truth = table[NAMES].astype("boolean")
    val, test = (scores.astype(float).round(6) for scores in (val, test))  # as they are stored
    thresholds = {
        name: best_threshold(truth[name].loc[val.index].to_numpy(bool), val[name].to_numpy())
        for name in NAMES
    }
    patients = table.patient.loc[test.index].to_numpy()
    decisions = test >= pd.Series(thresholds)
    metrics = per_class(truth.loc[test.index], test, decisions, patients, RESAMPLES)

    def rows(scores: pd.DataFrame) -> list[dict]:
        return [
            {
                "recording": name,
                "patient": table.patient[name],
                "truth": [int(v) for v in truth.loc[name]],
                "score": list(score),
            }
            for name, score in zip(scores.index, scores.to_numpy(), strict=True)
        ]

    return {
        "thresholds": thresholds,
        "metrics": json.loads(metrics.to_json(orient="index")),
        "validation": rows(val),
        "predictions": rows(test),
    }


def macro(table: pd.DataFrame, runs: dict[str, pd.DataFrame], against: str) -> dict[str, dict]:
    """Return each run's mean AUC over the estimable columns and its difference to one of them.

    runs: test scores (N, 6) of the same recordings. Intervals are 95 % bootstraps over patients,
    the same resamples for all runs, so that differences are paired.
    """
    test = runs[against].index
    truth = table[NAMES].astype("boolean").loc[test]
    patients = table.patient.loc[test].to_numpy()
    metrics = per_class(truth, runs[against], truth, patients, 1)
    columns = list(metrics.index[metrics["estimable"]])
    ones = np.ones((1, len(test)))
    counts = np.vstack([ones, patient_resamples(patients, RESAMPLES, seed=0)])
    samples = {n: macro_auc_samples(truth[columns], s[columns], counts) for n, s in runs.items()}

    return {
        name: {
            "columns": columns,
            "macro_auc": interval(values),
            f"difference_to_{against}": interval(values - samples[against]),
        }
        for name, values in samples.items()
    }


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the value and its 95 % interval from (1 + R,): the data themselves, then resamples."""
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def about(name: str, data: datasets.Dataset, split: Split, config: TrainConfig) -> dict:
    """Return what every result says of itself."""
    return {
        "experiment": name,
        "data": data.note,
        "data_manifest": data.manifest,
        "protocol": split.protocol,
        "n": {part: len(getattr(split, part)) for part in ("train", "val", "test")},
        "train_config": config.to_dict(),
        "code_version": __version__,
        "device": device(),
    }


def device() -> str:
    """Say what computed a result."""
    return f"CPU, 1 thread, torch {torch.__version__}, Python {platform.python_version()}"
