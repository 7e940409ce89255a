"""Denoisers side by side: how much noise goes, and how much ECG goes with it."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ecgnet_lib.denoising import noise
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.denoising.morlet import morlet_band

Method = Callable[[np.ndarray, float], np.ndarray]
NOISY = (*noise.NOISE_KINDS, "mix")


def by_lead(x: np.ndarray, clean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Clean each lead of `x` (..., T) by itself, in double precision."""
    return np.apply_along_axis(clean, -1, x.astype(np.float64)).astype(x.dtype)


def pywt_loop(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """What most public code does: lead by lead, db6, universal soft threshold on all details."""
    import pywt

    level = min(8, pywt.dwt_max_level(x.shape[-1], "db6"))

    def clean(lead: np.ndarray) -> np.ndarray:
        approximation, *details = pywt.wavedec(lead, "db6", level=level)
        sigma = np.median(np.abs(details[-1])) / 0.6745
        threshold = sigma * math.sqrt(2 * math.log(lead.size))
        details = [pywt.threshold(d, threshold, "soft") for d in details]
        return pywt.waverec([approximation, *details], "db6")[: lead.size]

    return by_lead(x, clean)


def neurokit_clean(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """neurokit2.ecg_clean with its defaults, lead by lead."""
    import neurokit2

    return by_lead(x, lambda lead: neurokit2.ecg_clean(lead, sampling_rate=int(fs_hz)))


def scipy_butterworth(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """The same Butterworth as `denoise(method="butterworth")`, but with SciPy's default ends."""
    from scipy.signal import butter, sosfiltfilt

    sos = butter(3, (0.5, 40.0), "bandpass", fs=fs_hz, output="sos")
    return sosfiltfilt(sos, x, axis=-1).astype(x.dtype)


def methods() -> dict[str, Method]:
    """Every method by the name it has in the tables; neurokit2 only where it is installed."""
    found: dict[str, Method] = {
        "ours, gated": denoise,
        "paper": lambda x, fs_hz: denoise(x, fs_hz, "paper"),
        "Morlet band alone": morlet_band,
        "Butterworth": lambda x, fs_hz: denoise(x, fs_hz, "butterworth"),
        "Butterworth, default ends": scipy_butterworth,
        "pywt loop": pywt_loop,
        "do nothing": lambda x, fs_hz: x,
    }
    if importlib.util.find_spec("neurokit2"):
        found["neurokit2"] = neurokit_clean
    return found


def quality_table(
    clean: np.ndarray,
    fs_hz: float,
    tracks: Mapping[str, np.ndarray],
    chosen: Mapping[str, Method],
    seed: int = 0,
) -> pd.DataFrame:
    """One row per chosen method, noise and level: how near to `clean` (B, L, T) it comes.

    Medians over the leads that are not flat. Columns: method, fs_hz, noise ("none" for noise-free
    input), snr_db (infinite there), gain_db (SNR out less SNR in; NaN there) and its 5th percentile
    gain_p5_db, prd_percent and its 95th percentile prd_p95_percent, qrs_percent (change of QRS
    amplitude) and st_mv (error of the ST level). `tracks` as `noise.choose_noise` gives them.
    """
    from tqdm import tqdm

    cases = [("none", math.inf), *itertools.product(NOISY, noise.SNRS_DB)]
    drawn = {kind: noise.draw_noise(tracks, kind, clean.shape, seed) for kind in NOISY}
    rows = []
    for kind, level in tqdm(cases, desc="denoising", unit="noise", delay=2):
        noisy = clean if kind == "none" else noise.add_noise(clean, drawn[kind], level)
        for name, method in chosen.items():
            case = {"method": name, "fs_hz": fs_hz, "noise": kind, "snr_db": level}
            rows.append(case | _measured(clean, noisy, method(noisy, fs_hz), fs_hz))
    return pd.DataFrame(rows)


def harm_table(quality: pd.DataFrame) -> pd.DataFrame:
    """What each method does where there is little to do, from a `quality_table`.

    By method: prd_percent, prd_p95_percent, qrs_percent and st_mv on noise-free input; gain_db at
    the mildest noise and worst_gain_db anywhere, each of the worst kind (negative: worse than doing
    nothing); worst_p5_db is the same for the worst twentieth of the leads.
    """
    clean = quality[quality["noise"] == "none"].set_index("method")
    noisy = quality[quality["noise"] != "none"]
    mildest = noisy[noisy["snr_db"] == noisy["snr_db"].max()]
    table = clean[["prd_percent", "prd_p95_percent", "qrs_percent", "st_mv"]].copy()
    table["gain_db"] = mildest.groupby("method")["gain_db"].min()
    table["worst_gain_db"] = noisy.groupby("method")["gain_db"].min()
    table["worst_p5_db"] = noisy.groupby("method")["gain_p5_db"].min()
    return table


def _measured(clean: np.ndarray, noisy: np.ndarray, estimate: np.ndarray, fs_hz: float) -> dict:
    moving = np.ptp(clean, axis=-1) > 0
    gain = np.full(1, np.nan)
    if noisy is not clean:
        gain = (noise.snr_db(clean, estimate) - noise.snr_db(clean, noisy))[moving]
    prd = noise.prd_percent(clean, estimate)[moving]
    qrs, st = noise.wave_errors(clean, estimate, fs_hz)
    return {
        "gain_db": float(np.median(gain)),
        "gain_p5_db": float(np.percentile(gain, 5)),
        "prd_percent": float(np.median(prd)),
        "prd_p95_percent": float(np.percentile(prd, 95)),
        "qrs_percent": float(np.nanmedian(qrs[moving])),
        "st_mv": float(np.nanmedian(st[moving])),
    }
