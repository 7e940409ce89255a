"""A network that has seen virtual patients only: where the default training starts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
from torch import nn

from ecgnet_lib import __version__, datasets
from ecgnet_lib.checkpoint import VIRTUAL, save_checkpoint
from ecgnet_lib.denoise import denoise
from ecgnet_lib.experiments.common import DENOISING, device
from ecgnet_lib.model import FoundationalECGNet
from ecgnet_lib.simulate import cohort
from ecgnet_lib.splits import official
from ecgnet_lib.train import Labels, TrainConfig, fit

PATIENTS = 24_000
CONFIG = TrainConfig(crops=100_000, seed=100)
FS_HZ = 100


def on_virtual_patients(
    make: Callable[[], nn.Module] = FoundationalECGNet,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a network on virtual patients alone; return it and its history, as `fit` does."""
    signals, patients = cohort(PATIENTS, FS_HZ, datasets.WINDOW_S, seed=1)
    signals, apart = denoise(signals, FS_HZ, DENOISING), official(patients)
    return fit(signals, Labels.of(patients), apart.train, apart.val, make, CONFIG)


def virtual() -> dict:
    """Train the default network on virtual patients; no recording of a real person is used.

    Writes `book/results/weights/virtual.json` and `.safetensors`.
    """
    model, history = on_virtual_patients()
    said = {
        "experiment": "virtual",
        "data": f"{PATIENTS:,} virtual patients",
        "denoise": DENOISING,
        "train_config": CONFIG.to_dict(),
        "code_version": __version__,
        "device": device(),
    }
    save_checkpoint(model, VIRTUAL, said)
    epochs = json.loads(history.drop(columns="seconds").to_json(orient="records"))
    return {"kind": "training", **said, "config": model.config.to_dict(), "history": epochs}
