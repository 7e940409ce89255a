"""The shipped networks, first on virtual patients, then on PTB-XL; denoising and simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets import sources
from ecgnet_lib.datasets.simulated import cohort
from ecgnet_lib.datasets.splits import Split, official
from ecgnet_lib.denoising.apply import denoised, denoised_archive
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.evaluation.methods import NAMES, RESAMPLES, plain
from ecgnet_lib.evaluation.metrics import per_class
from ecgnet_lib.evaluation.risk import calibrate
from ecgnet_lib.experiments.common import (
    CONFIG,
    DENOISING,
    LONGER,
    RHYTHM_CONFIG,
    about,
    device,
    frame,
    official_ptbxl,
    seal,
    store,
)
from ecgnet_lib.measurements.ludb_marks import ludb_qtc
from ecgnet_lib.network.checkpoint import (
    DEFAULT,
    RHYTHM,
    VIRTUAL,
    VIRTUAL_RHYTHM,
    load_checkpoint,
    save_checkpoint,
)
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals
from ecgnet_lib.network.rhythm import RhythmNet, predict_with_rhythm
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit

PATIENTS = 24_000
VIRTUAL_CONFIG = TrainConfig(crops=100_000, seed=100)
FS_HZ = 100


def on_virtual_patients(
    make: Callable[[], nn.Module] = FoundationalECGNet, config: TrainConfig = VIRTUAL_CONFIG
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a network on virtual patients alone; return it and its history, as `fit` does."""
    signals, patients = cohort(PATIENTS, FS_HZ, datasets.WINDOW_S, seed=1)
    signals, split = denoise(signals, FS_HZ, DENOISING), official(patients)
    return fit(signals, Labels.of(patients), split.train, split.val, make, config)


def virtual() -> dict:
    """Pre-train the networks on virtual patients; no recording of a real person is used.

    Writes `virtual` and, for the rhythm branch, `virtual_rhythm` in `book/results/weights/`.
    """
    found = {
        "experiment": "virtual",
        "data": f"{PATIENTS:,} virtual patients",
        "denoise": DENOISING,
        "code_version": __version__,
        "device": device(),
    }
    said = dict(found)
    for make, path, crop_s in (
        (FoundationalECGNet, VIRTUAL, VIRTUAL_CONFIG.crop_s),
        (RhythmNet, VIRTUAL_RHYTHM, RHYTHM_CONFIG.crop_s),
    ):
        config = replace(VIRTUAL_CONFIG, crop_s=crop_s)
        model, history = on_virtual_patients(make, config)
        save(model, path, said | {"train_config": config.to_dict()})
        found[path.stem] = {
            "train_config": config.to_dict(),
            "config": model.config.to_dict(),
            "history": epochs(history),
        }
    return found


def default() -> dict:
    """Train the default network on PTB-XL's official folds; its weights are those of `predict`.

    It is pre-trained on virtual patients and distilled from a random forest; so is its rhythm
    branch. Writes `default` and `rhythm` in `book/results/weights/`.
    """
    data, table, split = official_ptbxl()
    start, pretrained = load_checkpoint(VIRTUAL)
    signals, labels = denoised_archive(data, DENOISING), Labels.of(table)  # memory stays flat
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, split.train)
    sets = (signals, labels, split.train, split.val)
    model, history = fit(*sets, config=LONGER, initial=start, soft_labels=soft_labels)
    start, pretrained_rhythm = load_checkpoint(VIRTUAL_RHYTHM)
    rhythm, _ = fit(*sets, RhythmNet, RHYTHM_CONFIG, start, soft_labels=soft_labels)
    initial = {"initial": origin(VIRTUAL_RHYTHM, pretrained_rhythm)}
    said = about("default", data, split, RHYTHM_CONFIG) | {"denoise": DENOISING}
    save(rhythm, RHYTHM, said | initial)

    frames = held_out("ours", model, signals, table, split, rhythm)
    stored = store("default", frames, table)
    thresholds = stored["protocols"]["A"]["methods"]["ours"]["thresholds"]
    val = frames[0].set_index("recording")[NAMES]
    said = about("default", data, split, LONGER) | {
        "denoise": DENOISING,
        "initial": origin(VIRTUAL, pretrained),
        "rhythm_branch": origin(RHYTHM, load_checkpoint(RHYTHM)[1]),
        **calibrate(table[NAMES].astype("boolean").loc[val.index], val),
    }
    save(model, DEFAULT, said | {"thresholds": {name: cut for name, (cut,) in thresholds.items()}})
    return said | {"config": model.config.to_dict(), "history": epochs(history)} | stored


def denoising() -> dict:
    """Does denoising help the classifier? One network for each method, all else equal."""
    data, table, split = official_ptbxl()
    config, labels, frames = TrainConfig(crops=20_000), Labels.of(table), []
    for method in ("none", "butterworth", "paper", "gated"):
        signals = denoised(data, method)
        model, _ = fit(signals, labels, split.train, split.val, config=config)
        frames += held_out(method, model, signals, table, split)
    return about("denoising", data, split, config) | store("denoising", frames, table, ["none"])


def simulation() -> dict:
    """Do virtual patients help? A network trained on them alone, or first, or not at all."""
    data, table, split = official_ptbxl()
    labels, signals = Labels.of(table), denoised(data, DENOISING)
    on_virtual, pretrained = load_checkpoint(VIRTUAL)
    on_real, _ = fit(signals, labels, split.train, split.val, config=CONFIG)
    on_both, _ = fit(signals, labels, split.train, split.val, config=CONFIG, initial=on_virtual)
    networks = {"simulated only": on_virtual, "real only": on_real, "simulated, then real": on_both}
    frames = [f for n, model in networks.items() for f in held_out(n, model, signals, table, split)]
    return about("simulation", data, split, CONFIG) | {
        "simulated": pretrained["data"],
        "measured_qt": {name: qt_on_ludb(model) for name, model in networks.items()},
        **store("simulation", frames, table, ["real only"]),
    }


def qt_on_ludb(model: FoundationalECGNet) -> dict:
    """Return how well P(QT) ranks LUDB's recordings by a measured, not a stated, long QT.

    The truth is QTc above the limit on LUDB's manual marks: a derived label, never pooled with the
    statements of the other sources.
    """
    ludb = datasets.load("ludb")
    truth = ludb_qtc(sources.locate("ludb"), ludb.table)[["prolonged"]]
    scores = np.column_stack(predict_with_rhythm(model, None, denoised(ludb, DENOISING)))
    long_qt = pd.DataFrame({"prolonged": scores[:, NAMES.index("QT")]}, index=ludb.table.index)
    patients = ludb.table.patient.to_numpy()
    metrics = per_class(truth, long_qt, long_qt > 0.5, patients, RESAMPLES)
    return plain(metrics[["n", "positives", "estimable", "auc", "auc_low", "auc_high"]])[
        "prolonged"
    ]


def held_out(
    method: str,
    model: FoundationalECGNet,
    signals: Signals,
    table: pd.DataFrame,
    split: Split,
    rhythm: RhythmNet | None = None,
) -> list[pd.DataFrame]:
    """Return the predictions of a network for the validation and the test recordings."""
    return [
        frame(np.column_stack(predict_with_rhythm(model, rhythm, signals, rows=rows)),
              table.index[rows], name, method)
        for name, rows in (("val", split.val), ("test", split.test))
    ]  # fmt: skip


def save(model: nn.Module, path: Path, said: dict) -> None:
    """Write a checkpoint and seal its two files."""
    save_checkpoint(model, path, said)
    seal(*(f"weights/{path.with_suffix(end).name}" for end in (".json", ".safetensors")))


def origin(path: Path, said: dict) -> dict[str, str]:
    """Name weights that a network starts from or stands beside."""
    return {"weights": path.name, "weights_sha256": said["weights_sha256"]}


def epochs(history: pd.DataFrame) -> list[dict]:
    """Return the history of a training for JSON."""
    return json.loads(history.drop(columns="seconds").to_json(orient="records"))
