"""Hand-crafted features: rhythm, intervals, voltages and spectrum of a recording.

Rhythm from the times of the beats, voltages and intervals from the median beat and the textbook
criteria met (`callipers.py`), power in bands of frequency. Nothing is learned; no label is used.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError
from ecgnet_lib.measurements.callipers import CRITERIA, measure_beat
from ecgnet_lib.measurements.r_peaks import find_r_peaks

BANDS_HZ = (0.5, 3, 6, 10, 20, 40)  # slow waves, flutter, fibrillation, T and P, QRS
QRS_ON_S = 0.035  # how long before its steepest 80 ms a QRS of usual width begins
BEFORE_S, AFTER_S = 0.25, 0.40  # the window in which beats are compared with each other
INTERVALS = ("qrs", "qtc", "pr", "axis", "widest", "flat")
BY_LEAD = ("q", "r", "s", "r_ms", "late", "st", "t")


def features_of(signals: np.ndarray, fs_hz: float = 100) -> pd.DataFrame:
    """Describe recordings (N, 12, T) in mV, denoised, by one row each of some 200 numbers.

    NaN stands for what cannot be measured. Columns: rhythm (`rhythm`), beats (`shape`), intervals
    in ms and degrees, voltages in mV by lead, 0 or 1 for each of CRITERIA, and log10 power in mV^2
    by band and lead. Raises SignalError for another shape, NaN or infinity.
    """
    if signals.ndim != 3 or signals.shape[1] != len(LEADS) or not np.isfinite(signals).all():
        what, expected = "features need whole recordings", f"(N, {len(LEADS)}, T), finite"
        found = f"{signals.shape}, {np.count_nonzero(~np.isfinite(signals))} not finite"
        remedy = "bring the leads into standard order, repair or drop what is not finite"
        raise SignalError(what, expected=expected, found=found, remedy=remedy)
    rows = []
    for signal in tqdm(signals, desc="features", unit="recording", disable=len(signals) < 64):
        at = find_r_peaks(signal, fs_hz)
        rows.append(rhythm(at / fs_hz) | shape(signal, fs_hz, at) | calliper(signal, fs_hz, at))
    return pd.concat([pd.DataFrame(rows), bands(signals, fs_hz)], axis=1).astype(np.float32)


def rhythm(at_s: np.ndarray) -> dict[str, float]:
    """Describe the times (K,) of the beats in s: rate in bpm and how unevenly they follow.

    `rr_cv` spread over mean; `rmssd` root mean square of successive differences over the mean;
    `earliest`, `latest` over the median; `jumps` share of intervals a tenth off the one before.
    """
    names = ("rate", "rr_cv", "rmssd", "earliest", "latest", "jumps")
    if len(at_s) < 3:
        return {"beats": len(at_s)} | dict.fromkeys(names, np.nan)
    rr = np.diff(at_s)
    step, middle = np.diff(rr), np.median(rr)
    values = (
        *(60 / middle, rr.std() / rr.mean(), np.sqrt((step**2).mean()) / rr.mean()),
        *(rr.min() / middle, rr.max() / middle, (np.abs(step) > 0.1 * rr[:-1]).mean()),
    )
    return {"beats": len(at_s)} | dict(zip(names, values, strict=True))


def shape(signal: np.ndarray, fs_hz: float, at: np.ndarray) -> dict[str, float]:
    """Describe how alike the beats at samples (K,) of one recording (12, T) are.

    `alike`, `least_alike`: mean and smallest correlation of a beat with the median beat. In the
    190 ms before QRS: `p_at` when the median beat strays farthest, in s before the steepest QRS,
    `p` how far in mV by lead, `between` the power in mV^2 by lead of what it leaves over.
    """
    before, after = round(BEFORE_S * fs_hz), round(AFTER_S * fs_hz)
    whole = at[(at >= before) & (at + after <= signal.shape[1])]
    names = ["alike", "least_alike", "p_at"]
    names += [f"{name} {lead}" for name in ("p", "between") for lead in LEADS]
    if len(whole) < 2:
        return dict.fromkeys(names, np.nan)
    cut = np.stack([signal[:, s - before : s + after] for s in whole])  # (K, 12, S)
    cut = cut - cut.mean(-1, keepdims=True)
    middle = np.median(cut, axis=0)
    size = np.linalg.norm(cut, axis=(1, 2)) * np.linalg.norm(middle)
    alike = (cut * middle).sum((1, 2)) / np.maximum(size, 1e-9)
    end = before - round(0.06 * fs_hz)
    p = middle[:, :end] - np.median(middle[:, :end], axis=1, keepdims=True)
    top = int((p**2).sum(0).argmax())
    quiet = (cut - middle)[..., :end].var(-1).mean(0)
    values = [alike.mean(), alike.min(), (before - top) / fs_hz, *p[:, top], *quiet]
    return dict(zip(names, values, strict=True))


def calliper(signal: np.ndarray, fs_hz: float, at: np.ndarray) -> dict[str, float]:
    """Measure the median beat of one recording (12, T): intervals, voltages, criteria met."""
    names = [*INTERVALS, *(f"{name} {lead}" for name in BY_LEAD for lead in LEADS), *CRITERIA]
    try:
        level = np.median(signal, axis=1, keepdims=True)
        m = measure_beat(signal - level, fs_hz, at / fs_hz - QRS_ON_S)
    except (SignalError, ValueError):  # too few whole beats, or no room for a P or T wave
        return dict.fromkeys(names, np.nan)
    values = [*(getattr(m, name) for name in INTERVALS)]
    values += [getattr(m, name)[lead] for name in BY_LEAD for lead in LEADS]
    return dict(zip(names, values + [float(met(m)) for met in CRITERIA.values()], strict=True))


def bands(signals: np.ndarray, fs_hz: float) -> pd.DataFrame:
    """Return log10 of the power in mV^2 of each lead in each band of BANDS_HZ, (N, 60)."""
    samples = signals.shape[-1]
    hz = np.fft.rfftfreq(samples, 1 / fs_hz)
    power = 2 * np.abs(np.fft.rfft(signals, axis=-1) / samples) ** 2
    columns = {}
    for low, high in itertools.pairwise(BANDS_HZ):
        inside = power[..., (hz >= low) & (hz < high)].sum(-1)
        columns |= {
            f"{low:g}-{high:g} Hz {lead}": np.log10(inside[:, i] + 1e-8)
            for i, lead in enumerate(LEADS)
        }
    return pd.DataFrame(columns)
