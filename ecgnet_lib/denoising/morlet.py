"""Morlet wavelet: transform, inverse, and a band of scales as one zero-phase filter.

Torrence and Compo (1998), Bull. Amer. Meteor. Soc. 79:61-78, with omega0 = 6 and C_delta = 0.776.
Adding up a range of scales passes a band. That sum is linear, so all scales collapse into one
frequency response, and a whole batch costs one pair of FFTs (`morlet_band`). The transform itself
(`morlet_cwt`, `morlet_icwt`) is there to be looked at, and gives the same signal.

Signals are millivolts, float32 or float64, shape (T,), (L, T) or (B, L, T).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft  # several rows at a time: half of NumPy's time

from ecgnet_lib.errors import SignalError

OMEGA0 = 6.0
C_DELTA = 0.776  # Torrence and Compo, table 2, for OMEGA0 = 6
DJ = 0.25  # coarsest scale step in octaves: the passband ripples by 0.003 %
PERIOD = 4 * math.pi / (OMEGA0 + math.sqrt(2 + OMEGA0**2))  # Fourier period / scale, table 1
BAND_HZ = (0.5, 100.0)
RATES_HZ = (90.0, 2000.0)


class Bank(NamedTuple):
    """Morlet scales of a band. `scale_s`, `hz` and `coi_s` have one entry per scale, high to low.

    `hz` is the Fourier frequency of a scale, `coi_s` its e-folding time (the cone of influence):
    nearer to an end of the recording a coefficient is partly padding. `dj`: step in octaves.
    """

    scale_s: np.ndarray
    hz: np.ndarray
    coi_s: np.ndarray
    dj: float


def morlet_bank(low_hz: float = BAND_HZ[0], high_hz: float = BAND_HZ[1]) -> Bank:
    """Scales whose sum passes `low_hz`..`high_hz`, at least four per octave.

    Scale s stands for the Fourier period 1.033 s and forgets an edge within sqrt(2) s (Torrence and
    Compo, table 1). The ends are soft, a Gaussian as wide as a sixth of the frequency: of the
    amplitude, 0.6 passes at `low_hz` and 0.4 at `high_hz`. A `high_hz` well above half the sampling
    rate means no upper cut. Raises SignalError unless 0 < low_hz < high_hz.
    """
    if not 0 < low_hz < high_hz < math.inf:
        found = f"{low_hz} to {high_hz} Hz"
        raise SignalError("the band is empty", expected="0 < low_hz < high_hz", found=found)
    octaves = math.log2(high_hz / low_hz)
    count = math.ceil(octaves / DJ)
    dj = octaves / count
    hz = high_hz * 2.0 ** (-dj * (np.arange(count) + 0.5))  # centres of equal steps: exact ends
    scale_s = 1 / (PERIOD * hz)
    return Bank(scale_s, hz, math.sqrt(2) * scale_s, dj)


def morlet_cwt(x: np.ndarray, fs_hz: float, bank: Bank) -> np.ndarray:
    """Continuous Morlet transform of `x` (..., T): complex, (..., scales, T).

    Torrence and Compo eq. (4) with the normalisation of eq. (6); the mean is removed and the ends
    are mirrored as in `morlet_band`. Raises SignalError for what `morlet_band` refuses.
    """
    x = checked(x, fs_hz, bank)
    padded, start = mirrored(x, fs_hz, bank)
    omega = 2 * np.pi * np.fft.fftfreq(padded.shape[-1], 1 / fs_hz)
    scale = bank.scale_s[:, None]
    psi = np.exp(-0.5 * (scale * omega - OMEGA0) ** 2) * (omega > 0)
    psi *= np.pi**-0.25 * np.sqrt(2 * np.pi * scale * fs_hz)
    coefficients = np.fft.ifft(np.fft.fft(padded)[..., None, :] * psi)
    return coefficients[..., start : start + x.shape[-1]]


def morlet_icwt(w: np.ndarray, fs_hz: float, bank: Bank) -> np.ndarray:
    """Signal (..., T) from coefficients (..., scales, T): Torrence and Compo eq. (11).

    What lies below the lowest scale, the mean included, is not in `w` and does not come back.
    Raises SignalError if `w` does not have one row per scale of `bank`.
    """
    w = np.asarray(w)
    if w.ndim < 2 or w.shape[-2] != bank.scale_s.size:
        shape = f"(..., {bank.scale_s.size}, T)"
        raise SignalError("coefficients do not fit the bank", expected=shape, found=w.shape)
    factor = bank.dj / (math.sqrt(fs_hz) * C_DELTA * math.pi**-0.25)
    return factor * (w.real / np.sqrt(bank.scale_s)[:, None]).sum(-2)


def morlet_response(n: int, fs_hz: float, bank: Bank) -> np.ndarray:
    """Gain of `bank` at the frequencies of an n-point rfft, (n // 2 + 1,): eq. (11) of eq. (4).

    psi0(0) and the normalisation cancel; what is left is a sum of Gaussians. Zero at DC and at half
    the sampling rate, because the transform sees positive frequencies only.
    """
    omega = 2 * np.pi * np.fft.rfftfreq(n, 1 / fs_hz)
    gauss = np.exp(-0.5 * (bank.scale_s[:, None] * omega - OMEGA0) ** 2).sum(0)
    gain = bank.dj * math.sqrt(2 * math.pi) / (2 * C_DELTA) * gauss
    gain[0] = 0
    if n % 2 == 0:
        gain[-1] = 0
    return gain


def morlet_band(
    x: np.ndarray, fs_hz: float, low_hz: float = BAND_HZ[0], high_hz: float = BAND_HZ[1]
) -> np.ndarray:
    """Zero-phase band-pass of `x` (..., T), equal to `morlet_icwt` of `morlet_cwt`.

    DC is not in the band: the mean goes. Both ends are continued by their mirror image for one cone
    of influence of the lowest scale. The usual point reflection (the default of
    scipy.signal.filtfilt) turns about the last sample: where that sample lies on a wave, the
    baseline next to it is bent. Flat leads come back unchanged. Same shape and dtype as `x`.

    Raises SignalError: empty band, not a float array of 1 to 3 dimensions, NaN or infinity, shorter
    than one period of the lowest scale, sampling rate outside RATES_HZ.
    """
    bank = morlet_bank(low_hz, high_hz)
    x = checked(x, fs_hz, bank)
    padded, start = mirrored(x, fs_hz, bank)
    n = padded.shape[-1]
    spectrum = rfft(padded)
    spectrum *= morlet_response(n, fs_hz, bank).astype(x.dtype)
    return flat_as(x, irfft(spectrum, n)[..., start : start + x.shape[-1]])


def checked(x: np.ndarray, fs_hz: float | None = None, bank: Bank | None = None) -> np.ndarray:
    """`x` as an array that can be filtered, or a SignalError that says what to change."""
    x = np.asarray(x)
    if fs_hz is not None and not RATES_HZ[0] <= fs_hz <= RATES_HZ[1]:
        what, expected = "unsupported sampling rate", f"{RATES_HZ[0]:g} to {RATES_HZ[1]:g} Hz"
        remedy = "resample first, for example to 100 or 500 Hz"
        raise SignalError(what, expected=expected, found=f"{fs_hz} Hz", remedy=remedy)
    if x.dtype not in (np.float32, np.float64):
        what, remedy = "not a signal in millivolts", "divide the stored integers by the gain"
        raise SignalError(what, expected="float32 or float64", found=x.dtype, remedy=remedy)
    if not 1 <= x.ndim <= 3 or x.size == 0:
        raise SignalError("wrong shape", expected="(T,), (L, T) or (B, L, T)", found=x.shape)
    shortest = 2 if bank is None else math.ceil(fs_hz / bank.hz[-1])
    if x.shape[-1] < shortest:
        expected = f"at least {shortest} samples (a period of the lowest scale) on the last axis"
        remedy = "put time on the last axis, take a longer recording, or raise low_hz"
        found = f"shape {x.shape}"
        raise SignalError("too short for the band", expected=expected, found=found, remedy=remedy)
    # One NaN or infinity makes the sum NaN or infinite; looking at every sample costs far more.
    if not math.isfinite(float(x.sum(dtype=np.float64))) and not np.isfinite(x).all():
        found = f"{(~np.isfinite(x)).sum()} samples that are NaN or infinite"
        told = {
            "expected": "finite numbers",
            "found": found,
            "remedy": "cut or fill the gaps first",
        }
        raise SignalError("the signal has gaps", **told)
    return x


def mirrored(x: np.ndarray, fs_hz: float, bank: Bank) -> tuple[np.ndarray, int]:
    """`x` less its mean, continued by its mirror image for one cone of influence; and its start."""
    length = x.shape[-1]
    pad = min(math.ceil(fs_hz * bank.coi_s[-1]), length - 1)
    out = np.zeros((*x.shape[:-1], next_fast_len(length + 2 * pad, real=True)), x.dtype)
    middle = out[..., pad : pad + length]
    np.subtract(x, x.mean(-1, keepdims=True), out=middle)
    out[..., :pad] = middle[..., pad:0:-1]
    out[..., pad + length : 2 * pad + length] = middle[..., -2 : -pad - 2 : -1]
    return out, pad


def flat_as(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`y` in the dtype of `x`, with the leads of `x` that do not move at all left as they are."""
    y = y.astype(x.dtype, copy=False)
    flat = x.max(-1, keepdims=True) == x.min(-1, keepdims=True)
    return np.where(flat, x, y) if flat.any() else y
