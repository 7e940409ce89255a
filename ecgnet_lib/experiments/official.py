"""The shipped networks, and what changes them, on virtual patients and PTB-XL's official folds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
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
from ecgnet_lib.experiments import common
from ecgnet_lib.experiments.common import BRANCH, CONFIG, DENOISING, LONGER, RHYTHM_CONFIG
from ecgnet_lib.measurements.ludb_marks import ludb_qtc
from ecgnet_lib.network import checkpoint
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_RHYTHM, load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals
from ecgnet_lib.network.rhythm import RhythmNet, predict_with_rhythm
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops
from ecgnet_lib.training.pretraining import pretrain

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
    """Pre-train the networks on virtual patients; writes weights `virtual`, `virtual_rhythm`."""
    said = {
        "experiment": "virtual",
        "data": f"{PATIENTS:,} virtual patients",
        "denoise": DENOISING,
        "code_version": __version__,
        "device": common.device(),
    }
    trained, rhythm_config = {}, replace(VIRTUAL_CONFIG, crop_s=RHYTHM_CONFIG.crop_s)
    for make, path, config in (
        (FoundationalECGNet, VIRTUAL, VIRTUAL_CONFIG),
        (RhythmNet, VIRTUAL_RHYTHM, rhythm_config),
    ):
        model, history = on_virtual_patients(make, config)
        used = {"train_config": config.to_dict()}
        save(model, path, said | used)
        trained[path.stem] = used | {"config": model.config.to_dict(), "history": epochs(history)}
    return said | trained


def default() -> dict:
    """Train the default network on PTB-XL's official folds; its weights are those of `predict`.

    It is pre-trained on virtual patients and distilled from a random forest; so is its rhythm
    branch. Writes weights `default` and `rhythm`.
    """
    data, table, split = common.official_folds()
    start, pretrained = load_checkpoint(VIRTUAL)
    signals, labels = denoised_archive(data, DENOISING), Labels.of(table)  # memory stays flat
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, split.train)
    sets = (signals, labels, split.train, split.val)
    model, history = fit(*sets, config=LONGER, initial=start, soft_labels=soft_labels)
    start, pretrained_rhythm = load_checkpoint(VIRTUAL_RHYTHM)
    rhythm, _ = fit(*sets, RhythmNet, RHYTHM_CONFIG, start, soft_labels=soft_labels)
    initial = {"denoise": DENOISING, "initial": origin(VIRTUAL_RHYTHM, pretrained_rhythm)}
    said = common.about("default", data, split, RHYTHM_CONFIG)
    save(rhythm, checkpoint.RHYTHM, said | initial)

    frames = held_out("ours", model, signals, table, split, rhythm)
    stored = common.store("default", frames, table)
    thresholds = stored["protocols"]["A"]["methods"]["ours"]["thresholds"]
    thresholds = {name: cut for name, (cut,) in thresholds.items()}
    val = frames[0].set_index("recording")[NAMES]
    said = common.about("default", data, split, LONGER) | {
        "denoise": DENOISING,
        "initial": origin(VIRTUAL, pretrained),
        "rhythm_branch": origin(checkpoint.RHYTHM, load_checkpoint(checkpoint.RHYTHM)[1]),
        **calibrate(table[NAMES].astype("boolean").loc[val.index], val),
    }
    save(model, checkpoint.DEFAULT, said | {"thresholds": thresholds})
    return said | {"config": model.config.to_dict(), "history": epochs(history)} | stored


def denoising() -> dict:
    """Does denoising help the classifier? One network for each method, all else equal."""
    data, table, split = common.official_folds()
    config, labels, frames = TrainConfig(crops=20_000), Labels.of(table), []
    for method in ("none", "butterworth", "paper", "gated"):
        signals = denoised(data, method)
        model, _ = fit(signals, labels, split.train, split.val, config=config)
        frames += held_out(method, model, signals, table, split)
    return common.about("denoising", data, split, config) | common.store(
        "denoising", frames, table, ["none"]
    )


def simulation() -> dict:
    """Do virtual patients help? A network trained on them alone, or first, or not at all."""
    data, table, split = common.official_folds()
    labels, signals = Labels.of(table), denoised(data, DENOISING)
    on_virtual, pretrained = load_checkpoint(VIRTUAL)
    on_real, _ = fit(signals, labels, split.train, split.val, config=CONFIG)
    on_both, _ = fit(signals, labels, split.train, split.val, config=CONFIG, initial=on_virtual)
    networks = {"simulated only": on_virtual, "real only": on_real, "simulated, then real": on_both}
    frames = [f for n, model in networks.items() for f in held_out(n, model, signals, table, split)]
    return common.about("simulation", data, split, CONFIG) | {
        "simulated": pretrained["data"],
        "measured_qt": {name: qt_on_ludb(model) for name, model in networks.items()},
        **common.store("simulation", frames, table, ["real only"]),
    }


def qt_on_ludb(model: FoundationalECGNet) -> dict:
    """Return how well P(QT) ranks LUDB's recordings by QTc above the limit on its manual marks."""
    ludb = datasets.load("ludb")
    truth = ludb_qtc(sources.locate("ludb"), ludb.table)[["prolonged"]]
    scores = np.column_stack(predict_with_rhythm(model, None, denoised(ludb, DENOISING)))
    long_qt = pd.DataFrame({"prolonged": scores[:, NAMES.index("QT")]}, index=ludb.table.index)
    patients = ludb.table.patient.to_numpy()
    metrics = per_class(truth, long_qt, long_qt > 0.5, patients, RESAMPLES)
    shown = ["n", "positives", "estimable", "auc", "auc_low", "auc_high"]
    return plain(metrics[shown])["prolonged"]


def held_out(
    method: str,
    model: FoundationalECGNet,
    signals: Signals,
    table: pd.DataFrame,
    split: Split,
    rhythm: RhythmNet | None = None,
) -> list[pd.DataFrame]:
    """Return the predictions of a network for the validation and the test recordings."""
    frames = []
    for name, rows in (("val", split.val), ("test", split.test)):
        scores = np.column_stack(predict_with_rhythm(model, rhythm, signals, rows=rows))
        frames.append(common.frame(scores, table.index[rows], name, method))
    return frames


def save(model: nn.Module, path: Path, said: dict) -> None:
    checkpoint.save_checkpoint(model, path, said)
    common.seal(*(f"weights/{path.with_suffix(end).name}" for end in (".json", ".safetensors")))


def origin(path: Path, said: dict) -> dict[str, str]:
    return {"weights": path.name, "weights_sha256": said["weights_sha256"]}


def epochs(history: pd.DataFrame) -> list[dict]:
    return json.loads(history.drop(columns="seconds").to_json(orient="records"))


SEEDS = (0, 1)
LABELS_ONLY = "labels only"


@dataclass(frozen=True)
class Option:
    """One way to train the default network."""

    config: TrainConfig = CONFIG
    start: Path | None = None  # weights from virtual patients
    distilled: bool = False
    masked: bool = False  # pre-trained on hidden values of the recordings themselves


LAST = "pre-training + distillation, 60,000 crops"
OPTIONS: dict[str, Option] = {
    LABELS_ONLY: Option(),
    "no augmentation": Option(replace(CONFIG, gain=0, lead_dropout=0, noise_mv=0, wander_mv=0)),
    "focal loss": Option(replace(CONFIG, focal_gamma=2.0)),
    "averaged weights": Option(replace(CONFIG, ema=0.999)),
    "60,000 crops": Option(LONGER),
    "pre-training on masked values": Option(masked=True),
    "pre-training": Option(start=VIRTUAL),
    "distillation": Option(distilled=True),
    "pre-training + distillation": Option(start=VIRTUAL, distilled=True),
    LAST: Option(LONGER, VIRTUAL, distilled=True),
    BRANCH: Option(RHYTHM_CONFIG, VIRTUAL_RHYTHM, distilled=True),  # evaluated with LAST
}


def train_option(data: tuple, origin: dict, option: Option, seed: int) -> tuple[np.ndarray, float]:
    """Train once; return the scores (N, 6) of the validation recordings, and the seconds.

    data: signals, labels, rows for training and for validation, soft labels; origin: names data
    and pre-trained weights for `run_all`.
    """
    torch.set_num_threads(1)
    (signals, labels, train, val, soft_labels), began = data, time.perf_counter()
    make = RhythmNet if option.start == VIRTUAL_RHYTHM else FoundationalECGNet
    start, config = None, replace(option.config, seed=seed)
    if option.start:
        start, _ = load_checkpoint(option.start)
    if option.masked:
        start, _ = pretrain(signals, train, config=config)
    soft = soft_labels if option.distilled else None
    model, _ = fit(signals, labels, train, val, make, config, start, soft_labels=soft)
    scores = np.column_stack(predict_crops(model, signals, config.crop_s, rows=val))
    return scores, time.perf_counter() - began


def options() -> dict:
    """What makes a small data set go further? Each option of the training alone, by validation AUC.

    PTB-XL's folds 1-7 are trained on; folds 8 and 9 choose the epoch, as `fit` does, and evaluate.
    So all rows are a little too good, and alike. The test fold is not touched.
    """
    data, table, split = common.official_folds()
    fold, patient = (table[name].to_numpy() for name in ("fold", "patient"))
    val = np.concatenate([split.train[fold[split.train] == 8], split.val])
    train = np.setdiff1d(split.train, np.flatnonzero(np.isin(patient, patient[val])))
    signals, labels = denoised(data, DENOISING), Labels.of(table)
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, train)
    origin = {"data_manifest": data.manifest, "code_version": __version__}
    weights = [load_checkpoint(path)[1]["weights_sha256"] for path in (VIRTUAL, VIRTUAL_RHYTHM)]

    plan = [(name, seed) for seed in SEEDS for name in OPTIONS]
    sets = (signals, labels, train, val, soft_labels)
    calls = [(sets, origin | {"weights": weights}, OPTIONS[name], seed) for name, seed in plan]
    found = dict(zip(plan, common.run_all(train_option, calls, ["data"]), strict=True))
    scores = pd.concat(
        common.frame(one, table.index[val], "val", name, "validation", seed=seed)
        for (name, seed), (one, _) in found.items()
    )
    alone = scores[scores["method"] != BRANCH]
    mean = common.mean_of(scores, f"{LAST}, mean of two seeds", [(LAST, seed) for seed in SEEDS])
    branch = common.with_rhythm_branch(scores, f"{LAST}, {BRANCH}", LAST)
    return origin | {
        "experiment": "options",
        "data": data.note,
        "device": common.device(),
        "seconds": round(sum(seconds for _, seconds in found.values())),
        "n": {"train": len(train), "val": len(val)},
        "configs": {name: option.config.to_dict() for name, option in OPTIONS.items()},
        **common.store("options", [alone, mean, branch], table, [LABELS_ONLY]),
    }
