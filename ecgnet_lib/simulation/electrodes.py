"""What spoils a virtual recording: noise of known kind and amount, made without a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.simulation.heart import twelve_leads

# Lowest and highest frequency in Hz, exponent of the amplitude's fall, how much it swells.
SPECTRA = {
    "baseline": (0.04, 1.5, -1.3, 0.0),
    "electrode": (1.0, 8.0, -1.0, 2.0),
    "muscle": (8.0, np.inf, -0.5, 0.5),
}
NOISES = (*SPECTRA, "mains")
MAINS_FROM_HZ = 200  # a slower recording cannot hold the mains
RANGES = {
    **{"fs_hz": (100, 2000), "seconds": (2.5, 3600)},
    **{"heart_rate": (25, 220), "qtc_ms": (300, 700), "age": (18, 110)},
    **{"n_patients": (1, 10**6), "seed": (0, 2**63)},
}


def check_range(**values: object) -> None:
    """Raise ConfigError for a value that is not within its range in RANGES; None passes."""
    for name, value in values.items():
        low, high = RANGES[name]
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name} is out of range", expected=f"{low} to {high}", found=value)


def electrode_noise(
    kind: str, n: int, *, fs_hz: float = 500, seconds: float = 10.0, seed: int | Sequence[int] = 0
) -> np.ndarray:
    """Make noise as leads pick it up: (n, 12, T) float32, root mean square 1 over the leads.

    `baseline`: slow wander, most of it below 0.5 Hz; `electrode`: motion, 1-8 Hz, in bursts;
    `muscle`: 8 Hz and up, waxing and waning; `mains`: 50 Hz and, where the rate holds it, 150 Hz.
    It arises at nine electrodes, each on its own, so the leads obey Einthoven and Goldberger, noise
    and all. Raises ConfigError for an unknown kind, sizes out of range, mains below 200 Hz.
    """
    check_range(fs_hz=fs_hz, seconds=seconds)
    if kind not in NOISES or (kind == "mains" and fs_hz < MAINS_FROM_HZ):
        expected = f"one of {', '.join(NOISES)}; mains from {MAINS_FROM_HZ} Hz on"
        found = f"{kind!r} at {fs_hz:g} Hz"
        raise ConfigError("there is no such noise", expected=expected, found=found)
    rng, samples = np.random.default_rng(seed), round(seconds * fs_hz)
    at = np.arange(samples, dtype=np.float32) / np.float32(fs_hz)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    if kind == "mains":
        angle = 2 * np.pi * 50 * at + phase
        third = 0.2 if fs_hz > 300 else 0.0  # at a lower rate it would fold back
        raw = rng.uniform(0.2, 1, (n, 9, 1)) * (np.sin(angle) + third * np.sin(3 * angle))
    else:
        hz = np.fft.rfftfreq(samples, 1 / fs_hz)
        low, high, slope, bursts = SPECTRA[kind]
        inside = (hz > low) & (hz < high)
        weight = np.zeros(len(hz), np.float32)
        weight[inside] = hz[inside] ** slope * np.exp(-((hz[inside] / 120) ** 2))
        lines = rng.standard_normal((n, 9, len(hz), 2), np.float32).view(np.complex64)[..., 0]
        raw = np.fft.irfft(lines * weight, samples)
        swell = np.sin(2 * np.pi * rng.uniform(0.05, 0.2, (n, 1, 1)) * at + phase)
        raw *= np.exp(bursts * swell)
    raw = raw * np.exp(0.5 * rng.standard_normal((n, 9, 1)))  # no two electrodes stick alike
    right, left, foot, chest = raw[:, :1], raw[:, 1:2], raw[:, 2:3], raw[:, 3:]
    eight = np.concatenate([left - right, foot - right, chest - (right + left + foot) / 3], axis=1)
    leads = twelve_leads(eight - eight.mean(2, keepdims=True))
    return leads / np.sqrt((leads**2).mean((1, 2), keepdims=True))


def spoil(signal: np.ndarray, noise: np.ndarray, snr_db: float | np.ndarray) -> np.ndarray:
    """Add noise at a known signal-to-noise ratio, one number or one per recording.

    `signal` and `noise` (L, T) or (N, L, T), mV. The ratio is that of the power about each lead's
    mean, over all leads of a recording together: leads keep their relations. Returns float32 mV of
    the same shape. Raises SignalError for shapes that differ, a flat signal or noise, NaN.
    """
    signal, noise, snr_db = np.asarray(signal), np.asarray(noise), np.asarray(snr_db)
    if signal.shape != noise.shape:
        raise SignalError("noise of another shape", expected=signal.shape, found=noise.shape)
    power = [np.var(x, axis=-1, dtype=float).mean(-1) for x in (signal, noise)]
    if not all(np.isfinite(p).all() and (p > 0).all() for p in power):
        raise SignalError("signal or noise is flat or not finite", expected="values that vary")
    gain = np.sqrt(power[0] / power[1] / 10 ** (snr_db / 10))
    return (signal + gain[..., None, None] * noise).astype(np.float32)
