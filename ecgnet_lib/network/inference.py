"""Crops of recordings: taken to train on, averaged over to predict.

Signals are an array (N, 12, T) in mV or an `Archive`, of which only one batch is in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.errors import SignalError
from ecgnet_lib.network.ecgnet import predict


def device() -> torch.device:
    """Return the GPU of this process if there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


Signals = np.ndarray | Archive  # or whatever else has a length and `batch(rows)`


def batch_getter(signals: Signals) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from rows (B,) to recordings (B, 12, T) float32 mV."""
    if hasattr(signals, "batch"):
        return signals.batch
    return lambda rows: np.asarray(signals[rows], np.float32)


def crop_length(total: int, crop_s: float, fs_hz: float) -> int:
    """Return the samples of a crop; SignalError when a recording of `total` samples is shorter."""
    length = round(crop_s * fs_hz)
    if total < length:
        expected, found = f"at least {crop_s} s", f"{total / fs_hz:.2f} s"
        raise SignalError("the recording is shorter than one crop", expected=expected, found=found)
    return length


def take_crops(recordings: np.ndarray, starts: Sequence[int], length: int) -> Tensor:
    """Take `length` samples of each recording (B, 12, T), from its start on: (B, 12, length)."""
    pairs = zip(recordings, starts, strict=True)
    return torch.from_numpy(np.stack([x[:, start : start + length] for x, start in pairs]))


def predict_crops(
    model: nn.Module,
    signals: Signals,
    crop_s: float = 2.5,
    present: np.ndarray | None = None,
    batch: int = 128,
    rows: np.ndarray | None = None,
    overlap: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of evenly spaced crops over each recording.

    signals: (N, 12, T) mV, or an Archive. rows: which recordings, all by default. overlap: the
    least share of a crop in common with the next; the last crop ends with the recording. present:
    (N, 12) bool for the N rows, False where a lead is missing. Returns P(abnormal) (N,) and joint
    P(disease) (N, 5), float32. SignalError without recordings or for one shorter than a crop.
    """
    get = batch_getter(signals)
    rows = np.arange(len(signals)) if rows is None else np.asarray(rows)
    if not len(rows):
        raise SignalError("no recording to predict", expected="at least one row")
    total = get(rows[:1]).shape[-1]
    length = crop_length(total, crop_s, model.config.fs_hz)
    count = 1 + math.ceil(round((total - length) / (length * (1 - overlap)), 6))
    starts = np.linspace(0, total - length, count).round().astype(int)
    was_training, home = model.training, next((p.device for p in model.parameters()), device())
    if was_training or home != device():  # walking through the modules takes time
        model.eval().to(device())
    abnormal, diseases = [], []
    for begin in range(0, len(rows), batch):
        some = slice(begin, begin + batch)
        x = torch.from_numpy(get(rows[some])).to(device())
        here = None if present is None else torch.from_numpy(present[some]).to(device())
        parts = [predict(model, x[..., start : start + length], here) for start in starts]
        abnormal.append(torch.stack([p for p, _ in parts]).mean(0).cpu())
        diseases.append(torch.stack([q for _, q in parts]).mean(0).cpu())
    if was_training or home != device():
        model.train(was_training).to(home)
    return torch.cat(abnormal).numpy(), torch.cat(diseases).numpy()
