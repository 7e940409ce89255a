"""R peaks of a recording."""

from __future__ import annotations

import numpy as np


def find_r_peaks(clean: np.ndarray, fs_hz: float) -> np.ndarray:
    """Samples at the middle of each QRS of a noise-free recording (L, T).

    Where the squared slope, summed over leads and 80 ms, peaks. For truths only: noise has slopes.
    """
    from scipy.signal import find_peaks

    slope = np.square(np.diff(clean, axis=-1)).sum(0)
    energy = np.convolve(slope, np.ones(max(1, round(0.08 * fs_hz))), "same")
    height = 0.25 * np.percentile(energy, 98)
    peaks, _ = find_peaks(energy, height=max(height, 1e-12), distance=max(1, round(0.25 * fs_hz)))
    return peaks
