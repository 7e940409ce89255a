"""Experiments on PTB-XL's official folds: the network of record, denoising, simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ecgnet_lib import datasets
from ecgnet_lib.datasets import sources
from ecgnet_lib.denoising.apply import denoised, denoised_archive
from ecgnet_lib.evaluation.metrics import per_class
from ecgnet_lib.evaluation.risk import calibrate
from ecgnet_lib.experiments.common import (
    CONFIG,
    DENOISING,
    NAMES,
    RESAMPLES,
    STRIP_CONFIG,
    TAUGHT,
    about,
    judge,
    macro,
    official_ptbxl,
    scores_of,
)
from ecgnet_lib.measurements.ludb_marks import ludb_qtc
from ecgnet_lib.network.checkpoint import (
    DEFAULT,
    STRIP,
    VIRTUAL,
    VIRTUAL_STRIP,
    load_checkpoint,
    save_checkpoint,
)
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit


def default() -> dict:
    """Train the default network on PTB-XL's official folds; its weights are those of `predict`.

    It starts from the network of virtual patients, and a forest teaches it; so with the rhythm
    strip that is read beside it. Writes both to `book/results/weights/` too, as `default.json` and
    `strip.json` with `.safetensors`.
    """
    data, table, split = official_ptbxl()
    start, virtual = load_checkpoint(VIRTUAL)
    signals, labels = denoised_archive(data, DENOISING), Labels.of(table)  # memory stays flat
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, split.train)
    model, history = fit(
        signals,
        labels,
        split.train,
        split.val,
        config=TAUGHT,
        initial=start,
        soft_labels=soft_labels,
    )
    strip_start, strip_virtual = load_checkpoint(VIRTUAL_STRIP)
    strip, _ = fit(
        signals, labels, split.train, split.val, RhythmNet, STRIP_CONFIG, strip_start,
        soft_labels=soft_labels,
    )  # fmt: skip
    strip_said = about("default", data, split, STRIP_CONFIG) | {
        "denoise": DENOISING,
        "initial": origin(VIRTUAL_STRIP, strip_virtual),
    }
    save_checkpoint(strip, STRIP, strip_said)
    val, test = (scores_of(model, signals, table, rows, strip) for rows in (split.val, split.test))
    judged = judge(table, val, test)
    said = about("default", data, split, TAUGHT) | {
        "denoise": DENOISING,
        "initial": origin(VIRTUAL, virtual),
        "strip": origin(STRIP, load_checkpoint(STRIP)[1]),
        "thresholds": judged.pop("thresholds"),
        **calibrate(table[NAMES].astype("boolean").loc[val.index], val),
    }
    save_checkpoint(model, DEFAULT, said)
    epochs = json.loads(history.drop(columns="seconds").to_json(orient="records"))
    return said | {"config": model.config.to_dict(), "history": epochs} | judged


def origin(path: Path, about: dict) -> dict[str, str]:
    """Name weights that a network starts from or stands beside."""
    return {"weights": path.name, "weights_sha256": about["weights_sha256"]}


def denoising() -> dict:
    """Does denoising help the classifier? One network for each method, all else equal."""
    data, table, split = official_ptbxl()
    config, labels = TrainConfig(crops=20_000), Labels.of(table)
    runs, judged = {}, {}
    for method in ("none", "butterworth", "paper", "gated"):
        signals = denoised(data, method)
        model, _ = fit(signals, labels, split.train, split.val, config=config)
        val, runs[method] = (scores_of(model, signals, table, r) for r in (split.val, split.test))
        judged[method] = judge(table, val, runs[method])
    rows = {name: m | judged[name] for name, m in macro(table, runs, "none").items()}
    return about("denoising", data, split, config) | {"rows": rows}


def simulation() -> dict:
    """How far do virtual patients carry? Trained on them alone, before real ones, or not at all."""
    data, table, split = official_ptbxl()
    labels, signals = Labels.of(table), denoised(data, DENOISING)
    on_virtual, virtual = load_checkpoint(VIRTUAL)
    on_real, _ = fit(signals, labels, split.train, split.val, config=CONFIG)
    on_both, _ = fit(signals, labels, split.train, split.val, config=CONFIG, initial=on_virtual)
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
    said = about("simulation", data, split, CONFIG)
    return said | {"simulated": virtual["data"], "rows": rows}


def qt_on_ludb(model: FoundationalECGNet) -> dict:
    """Return how well P(QT) ranks LUDB's recordings by a measured, not a stated, long QT.

    The truth is QTc above the limit on LUDB's manual marks: a derived label, never pooled with the
    statements of the other sources.
    """
    ludb = datasets.load("ludb")
    truth = ludb_qtc(sources.locate("ludb"), ludb.table)[["prolonged"]]
    scores = scores_of(model, denoised(ludb, DENOISING), ludb.table, np.arange(len(ludb.table)))
    scores = scores[["QT"]].set_axis(["prolonged"], axis=1)
    patients = ludb.table.patient.to_numpy()
    result = per_class(truth, scores, scores > 0.5, patients, RESAMPLES).loc["prolonged"]
    kept = ["n", "positives", "estimable", "auc", "auc_low", "auc_high"]
    return json.loads(result[kept].to_json())
