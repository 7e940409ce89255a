"""What makes a small data set go further? Each option of the training alone, by validation AUC.

PTB-XL's folds 1-7 are trained on; folds 8 and 9 choose the epoch, as `fit` does, and evaluate. So
all rows are a little too good, and alike. The test fold is not touched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ecgnet_lib import __version__
from ecgnet_lib.denoising.apply import denoised
from ecgnet_lib.experiments.common import (
    CONFIG,
    DENOISING,
    LONGER,
    RHYTHM_CONFIG,
    device,
    frame,
    official_ptbxl,
    run_all,
    store,
)
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_RHYTHM, load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals
from ecgnet_lib.network.rhythm import ARR, RhythmNet
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops
from ecgnet_lib.training.pretraining import pretrain

SEEDS = (0, 1)
PLAIN = "labels only"


@dataclass(frozen=True)
class Option:
    """One way to train the default network."""

    config: TrainConfig = CONFIG
    start: str = ""  # "virtual", "virtual_rhythm": on virtual patients; "masked": on hidden values
    distilled: bool = False


LAST, BRANCH = "pre-training + distillation, 60,000 crops", "rhythm branch"
OPTIONS: dict[str, Option] = {
    PLAIN: Option(),
    "no augmentation": Option(replace(CONFIG, gain=0, lead_dropout=0, noise_mv=0, wander_mv=0)),
    "focal loss": Option(replace(CONFIG, focal_gamma=2.0)),
    "averaged weights": Option(replace(CONFIG, ema=0.999)),
    "60,000 crops": Option(LONGER),
    "pre-training on masked values": Option(start="masked"),
    "pre-training": Option(start="virtual"),
    "distillation": Option(distilled=True),
    "pre-training + distillation": Option(start="virtual", distilled=True),
    LAST: Option(LONGER, "virtual", distilled=True),
    BRANCH: Option(RHYTHM_CONFIG, "virtual_rhythm", distilled=True),  # evaluated with LAST
}


def train_and_score(
    signals: Signals,
    labels: Labels,
    rows: tuple[np.ndarray, np.ndarray],
    soft_labels: np.ndarray,
    origin: dict,
    option: Option,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Train once; return the scores (N, 6) of the validation recordings, and the seconds.

    rows: training and validation; origin: names data and pre-trained weights for `run_all`.
    """
    torch.set_num_threads(1)
    (train, val), began = rows, time.perf_counter()
    make, start, config = FoundationalECGNet, None, replace(option.config, seed=seed)
    if option.start == "virtual":
        start, _ = load_checkpoint(VIRTUAL)
    elif option.start == "virtual_rhythm":
        make, (start, _) = RhythmNet, load_checkpoint(VIRTUAL_RHYTHM)
    elif option.start == "masked":
        start, _ = pretrain(signals, train, config=config)
    soft = soft_labels if option.distilled else None
    model, _ = fit(signals, labels, train, val, make, config, start, soft_labels=soft)
    scores = np.column_stack(predict_crops(model, signals, config.crop_s, rows=val))
    return scores, time.perf_counter() - began


def options() -> dict:
    """What makes a small data set go further? Each option of the training alone, by validation."""
    data, table, split = official_ptbxl()
    fold, patient = (table[name].to_numpy() for name in ("fold", "patient"))
    val = np.concatenate([split.train[fold[split.train] == 8], split.val])
    train = np.setdiff1d(split.train, np.flatnonzero(np.isin(patient, patient[val])))
    signals, labels = denoised(data, DENOISING), Labels.of(table)
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, train)
    origin = {"data_manifest": data.manifest, "code_version": __version__}
    weights = [load_checkpoint(path)[1]["weights_sha256"] for path in (VIRTUAL, VIRTUAL_RHYTHM)]

    plan = [(name, seed) for seed in SEEDS for name in OPTIONS]
    calls = [
        (signals, labels, (train, val), soft_labels, origin | {"weights": weights}, OPTIONS[n], s)
        for n, s in plan
    ]
    ignore = ("signals", "labels", "rows", "soft_labels")
    found = dict(zip(plan, run_all(train_and_score, calls, ignore), strict=True))
    scores = {key: one for key, (one, _) in found.items() if key[0] != BRANCH}
    scores[f"{LAST}, mean of two seeds", 0] = np.mean([scores[LAST, s] for s in SEEDS], axis=0)
    for seed in SEEDS:
        mean, branch = scores[LAST, seed].copy(), found[BRANCH, seed][0]
        mean[:, ARR] = (mean[:, ARR] + branch[:, ARR]) / 2
        scores[f"{LAST}, rhythm branch", seed] = mean
    frames = [
        frame(one, table.index[val], "val", name, "validation", seed=seed)
        for (name, seed), one in scores.items()
    ]
    return origin | {
        "experiment": "options",
        "data": data.note,
        "device": device(),
        "seconds": round(sum(seconds for _, seconds in found.values())),
        "n": {"train": len(train), "val": len(val)},
        "configs": {name: option.config.to_dict() for name, option in OPTIONS.items()},
        **store("options", frames, table, [PLAIN]),
    }
