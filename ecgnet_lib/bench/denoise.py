"""Denoisers side by side: how much noise goes, how much ECG goes with it, how long it takes.

`quality_table` and `harm_table` are what the page shows, `run` is what `python -m ecgnet_lib bench
denoise` measures: recordings of fold 10 with channel 2 of NSTDB. Nothing was tuned on either.
"""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ecgnet_lib import noise
from ecgnet_lib.bench import Row, interleaved, ratios, row
from ecgnet_lib.denoise import daubechies_gated, denoise, morlet_band
from ecgnet_lib.errors import SignalError, SourceError
from ecgnet_lib.morlet import irfft, rfft

Method = Callable[[np.ndarray, float], np.ndarray]
NOISY = (*noise.KINDS, "mix")
BATCH = 64


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
    drawn = {kind: noise.draw(tracks, kind, clean.shape, seed) for kind in kinds}
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


def run() -> list[Row]:
    """Quality at 100 and 500 Hz on noise and on noise-free input, then speed."""
    raw, what = held_out(24)
    print(f"{len(raw)} recordings: {what}; {noise.choose_noise(100)[1]}")
    rows: list[Row] = []
    for fs_hz, count in ((100, 24), (500, 12)):
        clean = noise.reference(raw[:count], 500, fs_hz)
        quality = quality_table(clean, fs_hz, noise.choose_noise(fs_hz)[0])
        rows += quality_rows(quality, fs_hz)
    return rows + speed_rows(raw)


def held_out(count: int) -> tuple[np.ndarray, str]:
    """(count, 12, 5000) at 500 Hz: PTB-XL fold 10 if at hand, else virtual patients; and which."""
    from ecgnet_lib.copies import locate
    from ecgnet_lib.records import read_many, standard
    from ecgnet_lib.tables import ptbxl_table

    try:
        root = locate("ptbxl")
        table = ptbxl_table(root).table.query("fold == 10 and fs_hz == 500")
    except SourceError:
        table = pd.DataFrame()
    if len(table) < count:
        from ecgnet_lib.simulate import simulate

        mixed = [{}, {"CLBBB": 1.0}, {"LVH": 0.8}, {"AFIB": 1.0}]
        patients = [mixed[i % len(mixed)] for i in range(count)]
        return simulate(patients, fs_hz=500, seed=10).signals, "virtual patients"
    rows = np.random.default_rng(10).permutation(len(table))[:count]
    signals, _ = read_many(
        [root / file for file in table["file"].iloc[rows]], standard, strict=True
    )
    return np.stack(signals), "PTB-XL, fold 10"


def quality_rows(quality: pd.DataFrame, fs_hz: float) -> list[Row]:
    """The targets, and the same figures of every peer."""
    rate = f"{fs_hz:g} Hz"
    rows = []
    gain = quality.pivot_table(index=["noise", "snr_db"], columns="method", values="gain_db")
    harm = harm_table(quality)
    for name in harm.index.drop("do nothing"):
        mine = name == "ours, gated"
        values = (
            (
                "muscle -6 dB, gain",
                gain.loc["muscle", -6][name],
                "dB",
                (7.5 if rate == "100 Hz" else None),
            ),
            ("24 dB, gain, worst noise", harm.loc[name, "gain_db"], "dB", -1.0),
            ("anywhere, worst gain", harm.loc[name, "worst_gain_db"], "dB", -1.0),
        )
        for label, value, unit, target in values:
            rows.append(row(f"{rate}, {label}: {name}", [value], unit, target if mine else None))
        prd = harm.loc[name, "prd_percent"]
        target = (7.5 if rate == "100 Hz" else 5.0) if mine else None
        met = None if target is None else bool(prd <= target)
        spread = (prd, harm.loc[name, "prd_p95_percent"])
        rows.append(
            Row(f"{rate}, noise-free, PRD (at most): {name}", prd, "%", target, met, spread)
        )
    if fs_hz == 500:
        less = (gain["ours, gated"] - gain["Butterworth"]).loc["mix"]
        rows.append(row(f"{rate}, mix, ours less Butterworth, worst", [less.min()], "dB", -0.5))
    return rows


def speed_rows(raw: np.ndarray) -> list[Row]:
    """CPU time on a batch of 64 x 12 x 1000, with noise so strong that no lead's gate is shut."""
    clean = noise.reference(raw, 500, 100)
    clean = np.concatenate([clean, clean[..., :200]], axis=-1)
    clean = np.resize(clean, (BATCH, *clean.shape[1:]))
    track, _ = noise.choose_noise(100)
    noisy = noise.add_noise(clean, noise.draw(track, "muscle", clean.shape, 0), -6)
    few = noisy[:4]  # the slow ones
    calls = {
        "ours, gated": lambda: denoise(noisy, 100),
        "ours, noise-free": lambda: denoise(clean, 100),
        "paper": lambda: denoise(noisy, 100, "paper"),
        "Butterworth": lambda: denoise(noisy, 100, "butterworth"),
        "stage 1": lambda: morlet_band(noisy, 100),
        "stage 2": lambda: daubechies_gated(noisy, 100),
        "floor": lambda: irfft(rfft(noisy), noisy.shape[-1]),
        "pywt loop": lambda: pywt_loop(few, 100),
    }
    everything = methods()
    for name in ("neurokit2", "skimage BayesShrink"):
        if name in everything:
            calls[name] = lambda method=everything[name]: method(few, 100)
    slow = {"pywt loop", "neurokit2", "skimage BayesShrink"}
    taken = {
        name: [seconds / (len(few) if name in slow else BATCH) for seconds in rounds]
        for name, rounds in interleaved(calls, rounds=7).items()
    }
    rows = []
    for name, target in (("neurokit2", 30.0), ("pywt loop", 5.0), ("skimage BayesShrink", None)):
        if name in taken:
            times = ratios(taken, name, "ours, gated")
            rows.append(row(f"12x1000, ours faster than {name}", times, "times", target))
    floor = ratios(taken, "ours, gated", "floor")
    rows.append(row("12x1000, ours over one rfft/irfft pair", floor, "times"))
    for name, seconds in taken.items():
        rate = [1 / each for each in seconds]
        rows.append(row(f"12x1000, recordings per CPU second: {name}", rate, "1/s"))
    if os.environ.get("OMP_NUM_THREADS") != "1":
        print("OMP_NUM_THREADS is not 1: the CPU times may count several threads")
    return rows


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
