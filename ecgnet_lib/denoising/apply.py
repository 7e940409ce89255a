"""Denoise every recording of a data set, in memory or into an archive on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.datasets.dataset import Dataset
from ecgnet_lib.denoising.daubechies import denoise

BATCH = 64  # recordings in memory at a time


def denoised(data: Dataset, method: str = "gated") -> np.ndarray:
    """Return all recordings of a data set through `denoise`, (N, 12, T) float32 mV, in memory."""
    starts = tqdm(range(0, len(data.table), BATCH), desc="denoising", unit="batch")
    parts = (data.signals.batch(slice(start, start + BATCH)) for start in starts)
    return np.concatenate([denoise(part, data.fs_hz, method) for part in parts])


def middle_crops(
    data: Dataset, rows: Sequence[int], crop_s: float = 2.5, method: str = "gated"
) -> np.ndarray:
    """Return the middle of some recordings, denoised whole first: (B, 12, T) float32 mV."""
    x, samples = data.signals.batch(rows), round(crop_s * data.fs_hz)
    start = (x.shape[-1] - samples) // 2
    return np.ascontiguousarray(denoise(x, data.fs_hz, method)[..., start : start + samples])


def denoised_archive(data: Dataset, method: str = "gated") -> Archive:
    """Return the same as an archive on disk, made once under `build/cache/`, to 1 uV.

    Memory does not grow with the data. Another version of the denoising makes another archive.
    """
    here = Path(__file__)
    code = b"".join(here.with_name(f"{m}.py").read_bytes() for m in ("daubechies", "morlet"))
    name = f"denoised {method} {hashlib.sha256(code).hexdigest()}"
    return data.signals.mapped(lambda x: denoise(x, data.fs_hz, method), name)
