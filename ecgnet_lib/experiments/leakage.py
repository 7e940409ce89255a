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
from ecgnet_lib.evaluation import leakage as lab
from ecgnet_lib.experiments import common
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

OF_EACH = 84  # recordings of a disease: as few as leave 20 in the test set
# A network shows a leak when it can overfit: small batches, no regularisation.
OFF = dict.fromkeys(("weight_decay", "gain", "lead_dropout", "noise_mv", "wander_mv"), 0.0)
CONFIG = TrainConfig(16_000, batch=16, learning_rate=2e-3, crop_s=lab.WINDOW_S, **OFF)
MODEL = replace(ModelConfig(), dropout=0.0, scale_mv=1.0)  # the lab standardises the leads itself


def leakage() -> dict:
    """Which F1 does the same network reach under which protocol?"""
    data, table, _ = common.official_folds()
    rows = lab.cohort(table, OF_EACH)
    table = table.iloc[rows]
    signals = denoise(data.signals.batch(rows), MODEL.fs_hz, common.DENOISING)
    windows = {name: lab.make_windows(table, protocol) for name, protocol in lab.PROTOCOLS.items()}
    split = {name: lab.assign_windows(windows[name], p) for name, p in lab.PROTOCOLS.items()}
    said = common.about("leakage", data, split["patient"], CONFIG) | {
        "denoise": common.DENOISING,
        "recordings": len(table),
        "patients": int(table.patient.nunique()),
        "model_config": MODEL.to_dict(),
    }
    plan = [(learner, name) for learner in LEARNERS for name in lab.PROTOCOLS]
    alike = {"says": "", "threshold_from": "val"}  # what changes no prediction
    calls = [(signals, table, said, n, replace(lab.PROTOCOLS[p], **alike)) for n, p in plan]
    found = common.run_all(run_protocol, calls, ignore=["signals", "table"])
    frames = [
        frame.assign(method=learner, protocol=name, seed=0)
        for (learner, name), (frame, _) in zip(plan, found, strict=True)
    ]
    thresholds = {name: protocol.threshold_from for name, protocol in lab.PROTOCOLS.items()}
    stored = common.store("leakage", frames, table, threshold_from=thresholds)
    for name, protocol in lab.PROTOCOLS.items():
        stored["protocols"][name] |= {
            "says": protocol.says,
            "sound": protocol.sound,
            "n_windows": {s: len(getattr(split[name], s)) for s in ("train", "val", "test")},
            "overlap": lab.overlap(split[name], windows[name]),
        }
    return said | {"seconds": round(sum(seconds for _, seconds in found))} | stored


def network(x: np.ndarray, windows: pd.DataFrame, split: Split) -> Callable:
    """Train our network on standardised windows; see `leakage.Learner`."""
    torch.set_num_threads(1)
    labels = Labels.of(windows)
    model, _ = fit(x, labels, split.train, split.val, lambda: FoundationalECGNet(MODEL), CONFIG)
    return lambda rows: np.column_stack(predict_crops(model, rows))


LEARNERS: dict[str, lab.Learner] = {
    "network": network,
    "trees": lab.on_features(ExtraTreesClassifier(300, random_state=0), MODEL.fs_hz),
}


def run_protocol(
    signals: np.ndarray, table: pd.DataFrame, said: dict, learner: str, protocol: lab.Protocol
) -> tuple[pd.DataFrame, float]:
    """Run one protocol; return its predictions as `common.store` takes them, and CPU seconds.

    said: names what `signals` and `table` are, for `run_all`.
    """
    began = time.process_time()
    found = lab.predictions(protocol, signals, table, MODEL.fs_hz, LEARNERS[learner])
    found = found.drop(columns=["patient", *lab.NAMES])
    return found.rename(columns=lambda name: name.removeprefix("p_")), time.process_time() - began
