"""How long denoisers take. Page 2 shows how much noise goes, and how much ECG goes with it."""

from __future__ import annotations

from functools import partial

import numpy as np

from ecgnet_lib.bench import Row, interleaved, ratios, row
from ecgnet_lib.denoising import noise
from ecgnet_lib.denoising.compare import methods, pywt_loop
from ecgnet_lib.denoising.daubechies import daubechies_gated, denoise
from ecgnet_lib.denoising.morlet import irfft, morlet_band, rfft
from ecgnet_lib.simulation.simulator import simulate

BATCH = 64


def run() -> list[Row]:
    """CPU time of ours, of its stages and of its peers on 64 x 12 x 1000.

    The recordings are virtual, with noise so strong that no lead's gate is shut.
    """
    patients = [{}, {"CLBBB": 1.0}, {"LVH": 0.8}, {"AFIB": 1.0}] * 6
    raw = simulate(patients, fs_hz=500, seed=10).signals
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
    slow = {"pywt loop": 5.0, "neurokit2": 30.0}  # ours times faster
    for name, method in methods().items():
        if name in slow:
            calls[name] = partial(method, few, 100)
    taken = {
        name: [seconds / (len(few) if name in slow else BATCH) for seconds in rounds]
        for name, rounds in interleaved(calls, rounds=7).items()
    }
    rows = []
    for name, target in slow.items():
        if name in taken:
            times = ratios(taken, name, "ours, gated")
            rows.append(row(f"12x1000, ours faster than {name}", times, "times", target))
    floor = ratios(taken, "ours, gated", "floor")
    rows.append(row("12x1000, ours over one rfft/irfft pair", floor, "times"))
    for name, seconds in taken.items():
        rate = [1 / each for each in seconds]
        rows.append(row(f"12x1000, recordings per CPU second: {name}", rate, "1/s"))
    return rows
