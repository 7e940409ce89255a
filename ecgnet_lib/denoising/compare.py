"""Denoisers side by side: how much noise goes, and how much ECG goes with it."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ecgnet_lib.denoising import noise
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.denoising.morlet import morlet_band
from ecgnet_lib.errors import SignalError

Method = Callable[[np.ndarray, float], np.ndarray]
NOISY = (*noise.NOISE_KINDS, "mix")


def pywt_loop(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """What most public code does: lead by lead, db6, universal soft threshold on all details."""
    import pywt

    out = np.empty_like(x)
    for where in np.ndindex(x.shape[:-1]):
        level = min(8, pywt.dwt_max_level(x.shape[-1], "db6"))
        approximation, *details = pywt.wavedec(x[where].astype(np.float64), "db6", level=level)
        sigma = np.median(np.abs(details[-1])) / 0.6745
        threshold = sigma * math.sqrt(2 * math.log(x.shape[-1]))
        details = [pywt.threshold(d, threshold, "soft") for d in details]
        out[where] = pywt.waverec([approximation, *details], "db6")[: x.shape[-1]]
    return out


def neurokit_clean(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """neurokit2.ecg_clean with its defaults, lead by lead."""
    import neurokit2

    return _by_lead(x, lambda lead: neurokit2.ecg_clean(lead, sampling_rate=int(fs_hz)))


def skimage_bayes(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """skimage.restoration.denoise_wavelet: BayesShrink, soft, db6, lead by lead."""
    from skimage.restoration import denoise_wavelet

    def clean(lead: np.ndarray) -> np.ndarray:
        return denoise_wavelet(lead, method="BayesShrink", mode="soft", wavelet="db6")

    with warnings.catch_warnings():
        # It says that it estimates the noise, and a lead with none has nothing to estimate.
        warnings.simplefilter("ignore")
        return _by_lead(x, clean)


def scipy_butterworth(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """The same Butterworth as `denoise(method="butterworth")`, but with SciPy's default ends."""
    from scipy.signal import butter, sosfiltfilt

    sos = butter(3, (0.5, 40.0), "bandpass", fs=fs_hz, output="sos")
    return sosfiltfilt(sos, x, axis=-1).astype(x.dtype)


def methods() -> dict[str, Method]:
    """Every method by the name it has in the tables; peers that are not installed are left out."""
    ours: dict[str, Method] = {
        "ours, gated": denoise,
        "paper": lambda x, fs_hz: denoise(x, fs_hz, "paper"),
        "Morlet band alone": lambda x, fs_hz: morlet_band(x, fs_hz),
        "Butterworth": lambda x, fs_hz: denoise(x, fs_hz, "butterworth"),
        "Butterworth, default ends": scipy_butterworth,
        "pywt loop": pywt_loop,
        "do nothing": lambda x, fs_hz: x,
    }
    if importlib.util.find_spec("neurokit2"):
        ours["neurokit2"] = neurokit_clean
    if importlib.util.find_spec("skimage"):
        ours["skimage BayesShrink"] = skimage_bayes
    return ours


def quality_table(
    clean: np.ndarray,
    fs_hz: float,
    tracks: Mapping[str, np.ndarray],
    *,
    kinds: Sequence[str] = NOISY,
    snrs_db: Sequence[float] = noise.SNRS_DB,
    chosen: Mapping[str, Method] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per method, noise and level: how near to `clean` (B, L, T) it comes.

    Medians over the leads that are not flat. Columns: method, fs_hz, noise ("none" for noise-free
    input), snr_db (infinite there), gain_db (SNR out less SNR in; NaN there) and its 5th
    percentile gain_p5_db, prd_percent and its 95th percentile prd_p95_percent, rmse_mv,
    qrs_percent (change of QRS amplitude, see `noise.wave_errors`), st_mv (error of the ST level).
    `tracks` as `noise.choose_noise` gives them. Raises SignalError for what is not (B, L, T).
    """
    from tqdm import tqdm

    if np.ndim(clean) != 3:
        raise SignalError("wrong shape", expected="(B, L, T)", found=np.shape(clean))
    chosen = methods() if chosen is None else chosen
    cases = [("none", math.inf)] + [(kind, level) for kind in kinds for level in snrs_db]
    drawn = {kind: noise.draw_noise(tracks, kind, clean.shape, seed) for kind in kinds}
    rows = []
    for kind, level in tqdm(cases, desc="denoising", unit="noise", delay=2):
        noisy = clean if kind == "none" else noise.add_noise(clean, drawn[kind], level)
        for name, method in chosen.items():
            estimate = method(noisy, fs_hz)
            measured = _measured(clean, noisy, estimate, fs_hz)
            rows.append(
                {"method": name, "fs_hz": fs_hz, "noise": kind, "snr_db": level, **measured}
            )
    return pd.DataFrame(rows)


def harm_table(quality: pd.DataFrame) -> pd.DataFrame:
    """What each method does where there is little to do, from a `quality_table`.

    By method: prd_percent, prd_p95_percent, qrs_percent and st_mv on noise-free input; gain_db at
    the mildest noise and worst_gain_db anywhere, each of the worst kind. Negative: it would
    have been better to leave the recording alone. worst_p5_db is the same for the worst twentieth
    of the leads.
    """
    clean = quality[quality["noise"] == "none"].set_index("method")
    noisy = quality[quality["noise"] != "none"]
    mildest = noisy[noisy["snr_db"] == noisy["snr_db"].max()]
    table = clean[["prd_percent", "prd_p95_percent", "qrs_percent", "st_mv"]].copy()
    table["gain_db"] = mildest.groupby("method")["gain_db"].min()
    table["worst_gain_db"] = noisy.groupby("method")["gain_db"].min()
    table["worst_p5_db"] = noisy.groupby("method")["gain_p5_db"].min()
    return table


def _by_lead(x: np.ndarray, clean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    out = np.empty_like(x)
    for where in np.ndindex(x.shape[:-1]):
        out[where] = clean(x[where].astype(np.float64))
    return out


def _measured(
    clean: np.ndarray, noisy: np.ndarray, estimate: np.ndarray, fs_hz: float
) -> dict[str, float]:
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
        "rmse_mv": float(np.median(noise.rmse_mv(clean, estimate)[moving])),
        "qrs_percent": float(np.nanmedian(qrs[moving])),
        "st_mv": float(np.nanmedian(st[moving])),
    }
