"""Experiments of record: one command makes one, `python -m ecgnet_lib experiment NAME`.

Each writes `book/results/NAME.json` with what was run on what, the metrics, and the predictions
from which they can be computed again. Never run by a build: a page reads what is recorded.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ecgnet_lib import __version__, datasets, sources
from ecgnet_lib.checkpoint import DEFAULT, save_checkpoint, write_atomic
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluate import (
    METRICS,
    best_threshold,
    macro_auc_samples,
    patient_resamples,
    per_class,
    triage_cuts,
)
from ecgnet_lib.intervals import ludb_qtc
from ecgnet_lib.labels import DISEASES
from ecgnet_lib.model import FoundationalECGNet
from ecgnet_lib.results import RESULTS
from ecgnet_lib.splits import Split, audit, duplicates, merge_duplicates, official
from ecgnet_lib.train import Labels, TrainConfig, fit, predict_crops

NAMES = ["abnormal", *DISEASES]
DENOISING = "gated"
RESAMPLES = 2000
SIMULATED_PATIENTS = 4000


def official_ptbxl() -> tuple[datasets.Dataset, pd.DataFrame, Split]:
    """Return PTB-XL with duplicates merged, and its official folds, audited."""
    data = datasets.load("ptbxl")
    table = merge_duplicates(data.table, duplicates(data.signals, data.table))
    split = official(table)
    audit(split, table, data.signals)
    return data, table, split


def scores_of(
    model: FoundationalECGNet, signals: np.ndarray, table: pd.DataFrame, rows: np.ndarray
) -> pd.DataFrame:
    """Return the probabilities (N, 6) of NAMES for some rows, indexed by recording."""
    scores = np.column_stack(predict_crops(model, signals[rows]))
    return pd.DataFrame(scores, index=table.index[rows], columns=NAMES)


def judge(table: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame) -> dict:
    """Return thresholds fixed on validation scores, and metrics and predictions of the test."""
    truth = table[NAMES].astype("boolean")
    thresholds = {
        name: best_threshold(truth[name].loc[val.index].to_numpy(bool), val[name].to_numpy())
        for name in NAMES
    }
    truth, patients = truth.loc[test.index], table.patient.loc[test.index].to_numpy()
    metrics = per_class(truth, test, test >= pd.Series(thresholds), patients, RESAMPLES)
    rows = [
        {
            "recording": name,
            "patient": patient,
            "truth": [int(v) for v in truth.loc[name]],
            "score": [round(float(v), 6) for v in test.loc[name]],
        }
        for name, patient in zip(test.index, patients, strict=True)
    ]
    return {
        "thresholds": thresholds,
        "metrics": json.loads(metrics.to_json(orient="index")),
        "predictions": rows,
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

    def interval(values: np.ndarray) -> dict[str, float]:
        low, high = np.nanquantile(values[1:], [0.025, 0.975])
        return {"value": float(values[0]), "low": float(low), "high": float(high)}

    return {
        name: {
            "columns": columns,
            "macro_auc": interval(values),
            f"difference_to_{against}": interval(values - samples[against]),
        }
        for name, values in samples.items()
    }


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
        "device": f"CPU, 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
    }


def default() -> dict:
    """Train the default network on PTB-XL's official folds; its weights are those of `predict`.

    Writes `book/results/weights/default.json` and `.safetensors` too.
    """
    data, table, split = official_ptbxl()
    config = TrainConfig(crops=60_000)
    signals = data.denoised(DENOISING)
    model, history = fit(signals, Labels.of(table), split.train, split.val, config=config)
    val, test = (scores_of(model, signals, table, rows) for rows in (split.val, split.test))
    truth = table["abnormal"].loc[val.index].to_numpy(float)
    judged = judge(table, val, test)
    said = about("default", data, split, config) | {
        "denoise": DENOISING,
        "thresholds": judged.pop("thresholds"),
        "triage_cuts": triage_cuts(truth, val["abnormal"].to_numpy()),
    }
    save_checkpoint(model, DEFAULT, said)
    epochs = json.loads(history.drop(columns="seconds").to_json(orient="records"))
    return said | {"config": model.config.to_dict(), "history": epochs} | judged


def denoising() -> dict:
    """Does denoising help the classifier? One network for each method, all else equal."""
    data, table, split = official_ptbxl()
    config, labels = TrainConfig(crops=20_000), Labels.of(table)
    runs, judged = {}, {}
    for method in ("none", "butterworth", "paper", "gated"):
        signals = data.denoised(method)
        model, _ = fit(signals, labels, split.train, split.val, config=config)
        val, runs[method] = (scores_of(model, signals, table, r) for r in (split.val, split.test))
        judged[method] = judge(table, val, runs[method])
    rows = {name: m | judged[name] for name, m in macro(table, runs, "none").items()}
    return about("denoising", data, split, config) | {"rows": rows}


def simulation() -> dict:
    """How far do virtual patients carry? Trained on them alone, before real ones, or not at all."""
    from ecgnet_lib.denoise import denoise
    from ecgnet_lib.simulate import cohort

    data, table, split = official_ptbxl()
    config, labels = TrainConfig(crops=20_000), Labels.of(table)
    signals = data.denoised(DENOISING)
    virtual, patients = cohort(SIMULATED_PATIENTS, data.fs_hz, datasets.WINDOW_S, seed=1)
    apart = official(patients)
    made = denoise(virtual, data.fs_hz, DENOISING)
    on_virtual, _ = fit(made, Labels.of(patients), apart.train, apart.val, config=config)
    on_real, _ = fit(signals, labels, split.train, split.val, config=config)
    on_both, _ = fit(signals, labels, split.train, split.val, config=config, initial=on_virtual)
    networks = {"simulated only": on_virtual, "real only": on_real, "simulated, then real": on_both}
    runs, judged = {}, {}
    for name, model in networks.items():
        val, runs[name] = (scores_of(model, signals, table, r) for r in (split.val, split.test))
        judged[name] = judge(table, val, runs[name])
    measured = {name: qt_on_ludb(model) for name, model in networks.items()}
    rows = {
        name: m | {"measured_qt": measured[name]} | judged[name]
        for name, m in macro(table, runs, "real only").items()
    }
    said = about("simulation", data, split, config)
    return said | {"simulated_patients": SIMULATED_PATIENTS, "rows": rows}


def qt_on_ludb(model: FoundationalECGNet) -> dict:
    """Return how well P(QT) ranks LUDB's recordings by a measured, not a stated, long QT.

    The truth is QTc above the limit on LUDB's manual marks: a derived label, never pooled with the
    statements of the other sources.
    """
    ludb = datasets.load("ludb")
    truth = ludb_qtc(sources.locate("ludb"), ludb.table)[["prolonged"]]
    scores = scores_of(model, ludb.denoised(DENOISING), ludb.table, np.arange(len(ludb.table)))
    scores = scores[["QT"]].set_axis(["prolonged"], axis=1)
    patients = ludb.table.patient.to_numpy()
    result = per_class(truth, scores, scores > 0.5, patients, RESAMPLES).loc["prolonged"]
    kept = ["n", "positives", "estimable", "auc", "auc_low", "auc_high"]
    return json.loads(result[kept].to_json())


EXPERIMENTS: dict[str, Callable[[], dict]] = {
    "default": default,
    "denoising": denoising,
    "simulation": simulation,
}


def run(name: str) -> Path:
    """Run one experiment, print its figures, return the result file; ConfigError if unknown."""
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}", expected=f"one of {', '.join(EXPERIMENTS)}"
        )
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = EXPERIMENTS[name]() | {"seconds": round(time.perf_counter() - began)}
    write_atomic(RESULTS / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    for row, judged in result.get("rows", {name: result}).items():
        table = pd.DataFrame.from_dict(judged["metrics"], orient="index")
        print(row, judged.get("macro_auc", ""))
        print(table[["n", "positives", "estimable", *METRICS]].round(3).to_string())
    return RESULTS / f"{name}.json"
