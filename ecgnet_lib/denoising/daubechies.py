"""Two-stage wavelet denoising: a Morlet band, then Daubechies shrinkage that does no harm.

Stage 1 (`morlet_band`, see morlet.py) takes baseline wander away and is linear.

Stage 2 shrinks coefficients of the db6 wavelet. `daubechies_universal` is the usual recipe: soft
threshold sigma sqrt(2 ln T) at every level (Donoho and Johnstone 1994, doi
10.1093/biomet/81.3.425). At 100 Hz its finest level, 25-50 Hz, is where the QRS lives, and the QRS
pays. `daubechies_gated` differs in five ways:

- the noise is measured between 25 and 65 Hz whatever the sampling rate, on a signal from which
  that band has not been filtered away;
- only levels above about 12 Hz are touched: below, wave and noise look alike;
- the rule is the garrote, d (1 - lambda^2 / d^2)+ (Gao 1998, doi 10.1080/10618600.1998.10474789),
  which leaves large coefficients almost alone, where a soft threshold takes lambda off each;
- d^2 is averaged with its two neighbours (the idea of NeighBlock, Cai and Silverman 2001): a QRS is
  several large coefficients in a row, noise is not;
- the threshold grows from zero with the noise of the lead (`gate`): a clean lead leaves stage 2 to
  the last bit as it came.

Signals are millivolts, float32 or float64, shape (T,), (L, T) or (B, L, T). Every lead is treated
alone: where stage 2 works, Einthoven's relation between limb leads holds only roughly afterwards.
Needs NumPy, SciPy and PyWavelets.
"""

from __future__ import annotations

import math

import numpy as np
import pywt

from ecgnet_lib.denoising.morlet import checked, flat_as, mirrored, morlet_band, morlet_bank
from ecgnet_lib.errors import SignalError

WAVELET = "db6"
METHODS = ("none", "butterworth", "paper", "gated")
PAPER_BAND_HZ = (0.5, 45.0)
QUIET_HZ = 65.0  # the octave below is where the noise is measured

# Tuned on PTB-XL fold 9 with channel 1 of the NSTDB excerpt; fold 10 and channel 2 are for tests.
GATE = (0.05, 0.08)  # noise / signal at which shrinkage starts, and how much more until it is full
THRESHOLD = 3.0  # lambda / sigma


def noise_mv(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """Noise of each lead of `x` (..., T): rms in mV between about 25 and 65 Hz, shape (..., 1).

    Median absolute db6 coefficient / 0.6745 (Donoho and Johnstone 1994), which does not notice a
    QRS: that lasts less than a fifth of the time. The level follows the sampling rate: 25-50 Hz at
    100 Hz, 31-62 Hz at 500 Hz. The finest level at 500 Hz, 125-250 Hz, would say nothing: devices
    cut at 150 Hz or below. Raises SignalError as `daubechies_gated` does.
    """
    x, depth = checked(x, fs_hz), _quiet_depth(fs_hz)
    _refuse_deep(x.shape[-1], depth)
    for _ in range(depth):
        x, detail = pywt.dwt(x, WAVELET)
    return _sigma(detail) / 2 ** (depth / 2)  # coefficients are orthonormal: to mV


def gate(noise_to_signal: np.ndarray | float) -> np.ndarray:
    """How much of the threshold a lead gets, from 0 (clean) to 1 (noisy): do no harm.

    clip((q - GATE[0]) / GATE[1], 0, 1) for q = `noise_mv` / rms of the lead after stage 1.
    """
    return np.clip((noise_to_signal - GATE[0]) / GATE[1], 0, 1)


def daubechies_gated(x: np.ndarray, fs_hz: float) -> np.ndarray:
    """Stage 2, ours: shrink the noisy leads of `x` (..., T), the output of stage 1.

    db6 levels above about 12 Hz (2 at 100 Hz, 4 at 500 Hz). A coefficient d becomes
    d (1 - lambda^2 / s)+, s the mean of d^2 over itself and its two neighbours, lambda =
    THRESHOLD * gate * sigma. Leads whose gate is shut come back to the last bit. Same shape and
    dtype as `x`. The noise is measured on `x`, which differs from that of the recording by less
    than 6 %, and a transform is saved. Raises SignalError for what `morlet_band` refuses, and for a
    recording too short for the levels.
    """
    x, depth = checked(x, fs_hz), _quiet_depth(fs_hz)
    _refuse_deep(x.shape[-1], depth + 1)
    y = x.reshape(-1, x.shape[-1]).copy()
    approximation, details = y, []
    for _ in range(depth):
        approximation, detail = pywt.dwt(approximation, WAVELET)
        details.append(detail)
    unit = 2 ** (depth / 2)
    noise = _sigma(details[-1]) / unit
    rms = np.sqrt(np.einsum("nt,nt->n", y, y)[:, None] / y.shape[-1])
    opened = gate(noise / np.maximum(rms, np.finfo(np.float32).tiny))
    noisy = np.flatnonzero(opened > 0)
    if noisy.size:  # the leads of a clean set stop here
        lam2 = np.square(THRESHOLD * unit * (opened * noise)[noisy]).astype(x.dtype)
        approximation, detail = pywt.dwt(approximation[noisy], WAVELET)
        shrunk = [garrote(d, lam2) for d in (detail, *(d[noisy] for d in reversed(details)))]
        y[noisy] = pywt.waverec([approximation, *shrunk], WAVELET)[:, : y.shape[-1]]
    return y.reshape(x.shape)


def daubechies_universal(x: np.ndarray) -> np.ndarray:
    """Stage 2, the usual recipe: db6, soft threshold sigma sqrt(2 ln T) on all details of `x`.

    sigma is that of the finest level of `x` itself. Eight levels, or as many as PyWavelets advises.
    Same shape and dtype as `x` (..., T). Raises SignalError for what is not a signal.
    """
    x = checked(x)
    level = min(8, pywt.dwt_max_level(x.shape[-1], WAVELET))
    approximation, *details = pywt.wavedec(x, WAVELET, level=level)
    lam = _sigma(details[-1]) * math.sqrt(2 * math.log(x.shape[-1]))
    details = [np.sign(d) * np.maximum(np.abs(d) - lam, 0) for d in details]
    return flat_as(x, pywt.waverec([approximation, *details], WAVELET)[..., : x.shape[-1]])


def denoise(x: np.ndarray, fs_hz: float, method: str = "gated") -> np.ndarray:
    """Denoise `x` (T,), (L, T) or (B, L, T) in mV: a new array of the same shape and dtype.

    "gated": Morlet 0.5-100 Hz, then `daubechies_gated` (ours). "paper": Morlet 0.5-45 Hz, then
    `daubechies_universal` (our reading of the paper's one sentence). "butterworth": third order,
    0.5-40 Hz, forward and backward, with the same mirrored ends. "none": a copy. Flat leads pass
    unchanged. Raises SignalError for an unknown method and as `morlet_band` does.
    """
    if method not in METHODS:
        raise SignalError("unknown method", expected=", ".join(METHODS), found=method)
    if method == "gated":
        return daubechies_gated(morlet_band(x, fs_hz), fs_hz)
    if method == "paper":
        return daubechies_universal(morlet_band(x, fs_hz, *PAPER_BAND_HZ))
    x = checked(x, fs_hz, morlet_bank())
    if method == "none":
        return x.copy()
    from scipy.signal import butter, sosfiltfilt  # which takes a second

    padded, start = mirrored(x, fs_hz, morlet_bank())
    sos = butter(3, (0.5, 40.0), "bandpass", fs=fs_hz, output="sos")
    y = sosfiltfilt(sos, padded, padtype=None)
    return flat_as(x, y[..., start : start + x.shape[-1]])


def garrote(d: np.ndarray, lam2: np.ndarray) -> np.ndarray:
    """d (1 - lam2 / s)+ with s the mean of d^2 over each coefficient and its two neighbours."""
    energy = np.square(d)
    s = energy.copy()
    s[..., 1:] += energy[..., :-1]
    s[..., :-1] += energy[..., 1:]
    s /= 3
    # At and below lam2 the factor is 0; the tiny number keeps 0 / 0 out.
    s = np.maximum(s, lam2 + np.finfo(np.float32).tiny, out=s)
    return d * (1 - lam2 / s)


def _sigma(detail: np.ndarray) -> np.ndarray:
    """Median absolute coefficient / 0.6745 over the last axis, which stays with length 1."""
    middle = detail.shape[-1] // 2  # np.sort: a seventh of the time of np.median
    return np.sort(np.abs(detail), axis=-1)[..., middle : middle + 1] / 0.6745


def _quiet_depth(fs_hz: float) -> int:
    """The finest level that ends below QUIET_HZ: 1 at 100 Hz, 3 at 500 Hz."""
    return max(1, math.ceil(math.log2(fs_hz / QUIET_HZ)))


def _refuse_deep(length: int, level: int) -> None:
    deepest = pywt.dwt_max_level(length, WAVELET)
    if not 1 <= level <= deepest:
        what = f"{level} levels of {WAVELET} do not fit {length} samples"
        raise SignalError(what, expected=f"1 to {deepest} levels")
