"""A network that has seen virtual patients only: where the default training starts."""

from __future__ import annotations

import json

from ecgnet_lib import __version__, datasets
from ecgnet_lib.checkpoint import VIRTUAL, save_checkpoint
from ecgnet_lib.denoise import denoise
from ecgnet_lib.experiments.common import DENOISING, device
from ecgnet_lib.simulate import cohort
from ecgnet_lib.splits import official
from ecgnet_lib.train import Labels, TrainConfig, fit

PATIENTS = 24_000
CONFIG = TrainConfig(crops=100_000, seed=100)
FS_HZ = 100


def virtual() -> dict:
    """Train the default network on virtual patients; no recording of a real person is used.

    Writes `book/results/weights/virtual.json` and `.safetensors`.
    """
    signals, patients = cohort(PATIENTS, FS_HZ, datasets.WINDOW_S, seed=1)
    signals, apart = denoise(signals, FS_HZ, DENOISING), official(patients)
    labels = Labels.of(patients)
    model, history = fit(signals, labels, apart.train, apart.val, config=CONFIG)
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
