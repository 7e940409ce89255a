"""A network that has seen virtual patients only: where the default training starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
from torch import nn

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets.simulated import cohort
from ecgnet_lib.datasets.splits import official
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.experiments.common import DENOISING, STRIP_CONFIG, device
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_STRIP, save_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.training.loop import Labels, TrainConfig, fit

PATIENTS = 24_000
CONFIG = TrainConfig(crops=100_000, seed=100)
FS_HZ = 100


def on_virtual_patients(
    make: Callable[[], nn.Module] = FoundationalECGNet, config: TrainConfig = CONFIG
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a network on virtual patients alone; return it and its history, as `fit` does."""
    signals, patients = cohort(PATIENTS, FS_HZ, datasets.WINDOW_S, seed=1)
    signals, apart = denoise(signals, FS_HZ, DENOISING), official(patients)
    return fit(signals, Labels.of(patients), apart.train, apart.val, make, config)


def virtual() -> dict:
    """Train the default networks on virtual patients; no recording of a real person is used.

    Writes `virtual.json` and `.safetensors` in `book/results/weights/`, and the same for the rhythm
    strip as `virtual_strip`.
    """
    said = {
        "experiment": "virtual",
        "data": f"{PATIENTS:,} virtual patients",
        "denoise": DENOISING,
        "code_version": __version__,
        "device": device(),
    }
    found = {"kind": "training", **said}
    for make, path, crop_s in (
        (FoundationalECGNet, VIRTUAL, CONFIG.crop_s),
        (RhythmNet, VIRTUAL_STRIP, STRIP_CONFIG.crop_s),
    ):
        config = replace(CONFIG, crop_s=crop_s)
        model, history = on_virtual_patients(make, config)
        save_checkpoint(model, path, said | {"train_config": config.to_dict()})
        epochs = json.loads(history.drop(columns="seconds").to_json(orient="records"))
        found[path.stem] = {
            "train_config": config.to_dict(), "config": model.config.to_dict(), "history": epochs
        }  # fmt: skip
    return found
