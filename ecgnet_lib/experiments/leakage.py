"""The leakage lab on PTB-XL: one network, and one forest beside it, under every protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import ExtraTreesClassifier

from ecgnet_lib.datasets.splits import Split
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.evaluation.leakage import (
    PROTOCOLS,
    WINDOW_S,
    Learner,
    Protocol,
    assign_windows,
    cohort,
    make_windows,
    on_features,
    overlap,
    predictions,
)
from ecgnet_lib.experiments.common import DENOISING, about, official_ptbxl, run_all, store
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

OF_EACH = 84  # recordings of a disease: as few as leave 20 in the test set
# A network shows a leak when it can overfit: small batches, no regularisation.
CONFIG = TrainConfig(
    crops=16_000, batch=16, learning_rate=2e-3, weight_decay=0.0, gain=0.0, lead_dropout=0.0,
    noise_mv=0.0, wander_mv=0.0, crop_s=WINDOW_S,
)  # fmt: skip
MODEL = replace(ModelConfig(), dropout=0.0, scale_mv=1.0)  # the lab standardises the leads itself


def leakage() -> dict:
    """Which F1 does the same network reach under which protocol?"""
    data, table, _ = official_ptbxl()
    rows = cohort(table, OF_EACH)
    table = table.iloc[rows]
    signals = denoise(data.signals.batch(rows), MODEL.fs_hz, DENOISING)
    learners = {
        "network": network,
        "trees": on_features(ExtraTreesClassifier(300, random_state=0), MODEL.fs_hz),
    }
    windows = {name: make_windows(table, protocol) for name, protocol in PROTOCOLS.items()}
    split = {name: assign_windows(windows[name], p) for name, p in PROTOCOLS.items()}
    said = about("leakage", data, split["patient"], CONFIG) | {
        "denoise": DENOISING,
        "recordings": len(table),
        "patients": int(table.patient.nunique()),
        "model_config": MODEL.to_dict(),
    }
    plan = [(learner, name) for learner in learners for name in PROTOCOLS]
    alike = {"says": "", "threshold_from": "val"}  # what changes no prediction
    calls = [
        (signals, table, learners[learner], learner, said, replace(PROTOCOLS[name], **alike))
        for learner, name in plan
    ]
    found = run_all(run_protocol, calls, ignore=["signals", "table", "learn"])
    frames = [
        frame.assign(method=learner, protocol=name, seed=0)
        for (learner, name), (frame, _) in zip(plan, found, strict=True)
    ]
    thresholds = {name: protocol.threshold_from for name, protocol in PROTOCOLS.items()}
    stored = store("leakage", frames, table, threshold_from=thresholds)
    for name, protocol in PROTOCOLS.items():
        stored["protocols"][name] |= {
            "says": protocol.says,
            "sound": protocol.sound,
            "n_windows": {s: len(getattr(split[name], s)) for s in ("train", "val", "test")},
            "overlap": overlap(split[name], windows[name]),
        }
    return said | {"seconds": round(sum(seconds for _, seconds in found))} | stored


def network(x: np.ndarray, windows: pd.DataFrame, split: Split) -> Callable:
    """Train our network on standardised windows; see `leakage.Learner`."""
    torch.set_num_threads(1)
    labels = Labels.of(windows)
    model, _ = fit(x, labels, split.train, split.val, lambda: FoundationalECGNet(MODEL), CONFIG)
    return lambda rows: np.column_stack(predict_crops(model, rows))


def run_protocol(
    signals: np.ndarray,
    table: pd.DataFrame,
    learn: Learner,
    learner: str,
    said: dict,
    protocol: Protocol,
) -> tuple[pd.DataFrame, float]:
    """Run one protocol; return its predictions as `experiments.store` takes them, and CPU seconds.

    learner, said: name what `learn`, `signals` and `table` are, for `run_all`.
    """
    began = time.process_time()
    found = predictions(protocol, signals, table, MODEL.fs_hz, learn)
    names = [name for name in found if name.startswith("p_")]
    found = found[["set", "recording", "start_s", "fold", *names]]
    return found.rename(columns=lambda name: name.removeprefix("p_")), time.process_time() - began
