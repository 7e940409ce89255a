"""Real noise at a known level, and how far an estimate is from the truth.

Noise: the MIT-BIH Noise Stress Test Database (Moody et al. 1984), recorded on active
volunteers with electrodes placed so that the ECG is not visible: baseline wander, electrode motion
and muscle. Two channels: one to tune on, the other to test on.

Truth: no real ECG is free of noise. `reference_ecg` filters a real one to 0.67-40 Hz: what noise is
left counts as signal, and a filter with that very band would look perfect. `simulate` gives a truth
without either flaw, but of a virtual patient. Test on both.

An ECG is AC-coupled, its offset means nothing: all measures are taken of signals less their mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from zipfile import BadZipFile

import numpy as np

from ecgnet_lib.errors import SignalError, SourceError
from ecgnet_lib.measurements.r_peaks import find_r_peaks
from ecgnet_lib.simulation.electrodes import electrode_noise

NOISE_KINDS = ("baseline", "electrode", "muscle")
SNRS_DB = (-6, 0, 6, 12, 18, 24)
REFERENCE_HZ = (0.67, 40.0)
EXCERPT = "nstdb-excerpt/nstdb_30s_360hz.npz"

_FILES = dict(zip(NOISE_KINDS, ("bw", "em", "ma"), strict=True))


def choose_noise(fs_hz: float) -> tuple[dict[str, np.ndarray], str]:
    """Tracks of noise by kind, and their description: NSTDB if at hand, else simulated."""
    try:
        tracks = nstdb(fs_hz, channel=2)
    except SourceError:
        return simulated_noise(fs_hz), "simulated noise, since NSTDB is not at hand"
    seconds = min(track.size for track in tracks.values()) / fs_hz
    return tracks, f"real noise, NSTDB channel 2, {seconds:.0f} s of each kind"


def nstdb(fs_hz: float, channel: int) -> dict[str, np.ndarray]:
    """NSTDB by kind, {kind: (N,)} float32 mV at `fs_hz`, channel 1 (tune) or 2 (test).

    Takes the 30 s excerpt if a copy holds it, else the records bw, em and ma of the database.
    Raises SignalError for another channel, SourceError if neither is at hand or the file is broken.
    """
    from ecgnet_lib.datasets.records import read, resample
    from ecgnet_lib.datasets.sources import data_root, locate

    if channel not in (1, 2):
        raise SignalError("NSTDB has two channels", expected="1 or 2", found=channel)
    excerpt = data_root() / EXCERPT
    if excerpt.is_file():
        try:
            with np.load(excerpt, allow_pickle=False) as file:
                rate, gain = float(file["fs"]), float(file["gain_adu_per_mV"])
                tracks = {kind: file[name][:, channel - 1] / gain for kind, name in _FILES.items()}
        except (OSError, ValueError, LookupError, EOFError, BadZipFile, zlib.error) as error:
            expected = "arrays fs, gain_adu_per_mV, bw, em, ma"
            about = {"expected": expected, "found": repr(error), "remedy": "copy it again"}
            raise SourceError("the noise excerpt cannot be read", file=EXCERPT, **about) from error
    else:
        records = {kind: read(locate("nstdb") / name) for kind, name in _FILES.items()}
        rate = records["muscle"].fs_hz
        tracks = {kind: record.signal[channel - 1] for kind, record in records.items()}
    return {kind: resample(track - track.mean(), rate, fs_hz) for kind, track in tracks.items()}


def simulated_noise(fs_hz: float) -> dict[str, np.ndarray]:
    """Return 30 s of lead II of `simulation.electrode_noise` by kind, (N,) float32, rms near 1."""
    settings = {"fs_hz": fs_hz, "seconds": 30.0, "seed": 0}
    return {kind: electrode_noise(kind, 1, **settings)[0, 1] for kind in NOISE_KINDS}


def draw_noise(
    tracks: Mapping[str, np.ndarray], kind: str, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """Noise (..., T) of mean 0 and rms 1: for each lead its own random stretch of the track.

    `kind` is one of `tracks`, or "mix" for the sum of all at equal rms. Where T is longer than the
    track it goes on with its mirror image. Raises SignalError for another kind.
    """
    if kind == "mix":
        parts = [draw_noise(tracks, each, shape, seed + 1 + i) for i, each in enumerate(tracks)]
        return _unit(np.sum(parts, axis=0))
    if kind not in tracks:
        raise SignalError("unknown noise", expected=", ".join((*tracks, "mix")), found=kind)
    track, length = tracks[kind], shape[-1]
    while track.size < length:
        track = np.concatenate([track, track[::-1]])
    starts = np.random.default_rng(seed).integers(0, track.size - length + 1, size=shape[:-1])
    return _unit(track[starts[..., None] + np.arange(length)])


def add_noise(clean: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`clean` (..., T) plus `noise`, scaled lead by lead to the signal-to-noise ratio: float32.

    A flat lead stays flat. Einthoven's relation between limb leads holds for the signal, not for
    the noise. Raises SignalError for shapes that differ.
    """
    if np.shape(clean) != np.shape(noise):
        raise SignalError("noise of another shape", expected=np.shape(clean), found=np.shape(noise))
    scale = np.std(clean, axis=-1, keepdims=True) * 10 ** (-snr_db / 20)
    return (clean + scale * _unit(noise)).astype(np.float32)


def reference_ecg(signal: np.ndarray, fs_hz: float, to_hz: float) -> np.ndarray:
    """The truth for a test: real (..., T) in REFERENCE_HZ, at `to_hz`, a second less per end.

    Butterworth of third order, forward and backward. The band is what AHA (2007) tolerates for a
    zero-phase filter at the low end, and what a 100 Hz signal can hold at the high end. The ends
    are cut off because a method that continues them as this function does would be ahead. Raises
    SignalError for less than 4 s.
    """
    from scipy.signal import butter, sosfiltfilt

    from ecgnet_lib.datasets.records import resample

    second = round(to_hz)
    if np.shape(signal)[-1] < 4 * fs_hz:
        raise SignalError("too short", expected="4 s", found=f"{np.shape(signal)[-1] / fs_hz} s")
    sos = butter(3, REFERENCE_HZ, "bandpass", fs=fs_hz, output="sos")
    filtered = sosfiltfilt(sos, signal, axis=-1, padlen=round(2 * fs_hz))
    return np.ascontiguousarray(resample(filtered, fs_hz, to_hz)[..., second:-second])


def snr_db(clean: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Signal-to-noise ratio of an estimate, dB by lead (...): power of truth over that of error."""
    error = np.var(np.subtract(estimate, clean, dtype=np.float64), axis=-1)
    power = np.var(clean, axis=-1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # no error: infinite; a flat lead: NaN
        return 10 * np.log10(power / error)


def prd_percent(clean: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Percent root-mean-square difference by lead (...): rms of error over rms of truth."""
    return 100 * 10 ** (-snr_db(clean, estimate) / 20)


def wave_errors(clean: np.ndarray, estimate: np.ndarray, fs_hz: float) -> tuple[np.ndarray, ...]:
    """What a reader would measure wrongly on (B, L, T): QRS amplitude in %, ST level in mV.

    Two arrays (B, L). QRS: peak to peak within 70 ms of the beat, estimate over truth less 1,
    median over beats: -10 is a QRS a tenth too small; NaN where the true one is below 0.2 mV. ST:
    mean of 100-140 ms after the middle of the QRS less that of 120-90 ms before it, mean absolute
    error over beats. NaN without a whole beat.
    """
    qrs, st = np.full((2, *clean.shape[:-1]), np.nan)
    before, after = round(0.12 * fs_hz), round(0.14 * fs_hz)
    middle = slice(before - round(0.07 * fs_hz), before + round(0.07 * fs_hz) + 1)
    level, base = slice(before + round(0.10 * fs_hz), None), slice(0, round(0.03 * fs_hz) + 1)
    for i, (truth, found) in enumerate(zip(clean, estimate, strict=True)):
        at = find_r_peaks(truth, fs_hz)
        at = at[(at >= before) & (at < truth.shape[-1] - after)]
        if not at.size:
            continue
        window = at[:, None] + np.arange(-before, after + 1)  # (beats, samples)
        true, other = truth[:, window], found[:, window]
        height = np.ptp(true[..., middle], axis=-1)
        ratio = np.ptp(other[..., middle], axis=-1) / np.maximum(height, 1e-9)
        tall = np.median(height, axis=-1) >= 0.2
        qrs[i, tall] = 100 * (np.median(ratio, axis=-1)[tall] - 1)
        error = other - true
        st[i] = np.abs(error[..., level].mean(-1) - error[..., base].mean(-1)).mean(-1)
    return qrs, st


def _unit(noise: np.ndarray) -> np.ndarray:
    noise = noise - noise.mean(-1, keepdims=True)
    return noise / np.maximum(noise.std(-1, keepdims=True), 1e-12)
