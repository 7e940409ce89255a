"""How long denoisers take. Page 2 shows how much noise goes, and how much ECG goes with it."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from ecgnet_lib.bench import Row, interleaved, ratios, row
from ecgnet_lib.denoising import noise
from ecgnet_lib.denoising.compare import methods, pywt_loop
from ecgnet_lib.denoising.daubechies import daubechies_gated, denoise
from ecgnet_lib.denoising.morlet import irfft, morlet_band, rfft
from ecgnet_lib.errors import SourceError

BATCH = 64


def run() -> list[Row]:
    """CPU time of ours, of its stages and of its peers."""
    raw, what = held_out(24)
    print(f"{len(raw)} recordings: {what}; {noise.choose_noise(100)[1]}")
    return speed_rows(raw)


def held_out(count: int) -> tuple[np.ndarray, str]:
    """(count, 12, 5000) at 500 Hz: PTB-XL fold 10 if at hand, else virtual patients; and which."""
    from ecgnet_lib.datasets.records import in_standard_order, read
    from ecgnet_lib.datasets.sources import locate
    from ecgnet_lib.datasets.tables import ptbxl_table

    try:
        root = locate("ptbxl")
        table = ptbxl_table(root).table.query("fold == 10 and fs_hz == 500")
    except SourceError:
        table = pd.DataFrame()
    if len(table) < count:
        from ecgnet_lib.simulation.simulator import simulate

        mixed = [{}, {"CLBBB": 1.0}, {"LVH": 0.8}, {"AFIB": 1.0}]
        patients = [mixed[i % len(mixed)] for i in range(count)]
        return simulate(patients, fs_hz=500, seed=10).signals, "virtual patients"
    rows = np.random.default_rng(10).permutation(len(table))[:count]
    signals = [in_standard_order(read(root / file)) for file in table["file"].iloc[rows]]
    return np.stack(signals), "PTB-XL, fold 10"


def speed_rows(raw: np.ndarray) -> list[Row]:
    """CPU time on a batch of 64 x 12 x 1000, with noise so strong that no lead's gate is shut."""
    clean = noise.reference_ecg(raw, 500, 100)
    clean = np.concatenate([clean, clean[..., :200]], axis=-1)
    clean = np.resize(clean, (BATCH, *clean.shape[1:]))
    track, _ = noise.choose_noise(100)
    noisy = noise.add_noise(clean, noise.draw_noise(track, "muscle", clean.shape, 0), -6)
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
