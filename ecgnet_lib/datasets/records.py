"""A recording: read it, check it, bring it to the shape that everything else expects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgnet_lib.datasets.wfdb_files import read_header, read_signal
from ecgnet_lib.errors import EcgnetError, RecordingError, SignalError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SHORTEST_S = 2.5
_LEAD_OF = {lead.lower(): lead for lead in LEADS}


@dataclass(frozen=True, eq=False)
class Recording:
    """One ECG. `signal` is float32 mV, (L, T), rows named by `leads`; a missing sample is NaN.

    `gain` is the file's number of integer steps per mV, by lead; `comments` are the header's, with
    age, sex and diagnoses in each database's own words.
    """

    name: str
    signal: np.ndarray
    fs_hz: float
    leads: tuple[str, ...]
    gain: tuple[float, ...]
    comments: tuple[str, ...]
    file: str

    @property
    def problems(self) -> tuple[str, ...]:
        """Leads that are flat, saturated or incomplete, see `problems`."""
        return problems(self.signal, self.fs_hz, self.leads)


class Refusal(NamedTuple):
    """A recording that was set aside, and why."""

    name: str
    reason: str


def read(path: str | Path, name: str = "") -> Recording:
    """Read one recording, and check it against its header's first values and checksums.

    A lead is spelled as in LEADS if it is one of them (PTB-XL has AVR, LUDB avr), else as in the
    header. `name` defaults to the file's name. Raises RecordingError.
    """
    header = read_header(path)
    return Recording(
        name=name or os.path.basename(header.file)[:-4],
        signal=read_signal(header),
        fs_hz=header.fs_hz,
        leads=tuple([_LEAD_OF.get(lead.lower(), lead) for lead in header.leads]),
        gain=header.calibration.steps_per_mv,
        comments=header.comments,
        file=header.file,
    )


def read_each(
    files: Mapping[str, str | Path], prepare: Callable[[Recording], object], refused: list[Refusal]
) -> Iterator:
    """Yield `prepare(recording)` of each file; one that an EcgnetError stops goes to `refused`."""
    from tqdm import tqdm

    items = files.items()
    for name, file in tqdm(items, desc="reading", unit="recording", delay=1, disable=None):
        try:
            prepared = prepare(read(file, name))
        except EcgnetError as error:
            refused.append(Refusal(name, str(error)))
        else:
            yield prepared


def read_many(
    files: Mapping[str, str | Path],
    prepare: Callable[[Recording], object] = lambda recording: recording,
) -> tuple[list, list[Refusal]]:
    """What `prepare` gives of each recording, name -> path, and which were refused, by it too."""
    refused: list[Refusal] = []
    return list(read_each(files, prepare, refused)), refused


def find(*paths: str | Path) -> list[Path]:
    """Headers that files and folders name, searched to the bottom; RecordingError for none."""
    found: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(path.rglob("*.hea")) if path.is_dir() else [path]
        if not inside:
            raise RecordingError("no recording in this folder", file=path, expected="a .hea file")
        found += inside
    return found


def in_standard_order(recording: Recording) -> np.ndarray:
    """The twelve leads in the order of LEADS, (12, T) float32 mV; leads beyond these are left out.

    Raises RecordingError if a lead is absent, named twice or has missing samples, and for less than
    2.5 s: what the shortest printed ECGs show of a lead.
    """
    refused = partial(RecordingError, file=recording.file)
    names, seconds = recording.leads, recording.signal.shape[1] / recording.fs_hz
    if seconds < SHORTEST_S:
        what, expected = "the recording is too short", f"at least {SHORTEST_S} s"
        raise refused(what, expected=expected, found=f"{seconds:.2f} s", remedy="use a longer one")
    if absent := [lead for lead in LEADS if lead not in names]:
        what = f"{len(absent)} of the 12 leads are missing: {', '.join(absent)}"
        remedy = "use a 12-lead recording, or name the leads in its header as listed"
        raise refused(what, expected=" ".join(LEADS), found=" ".join(names), remedy=remedy)
    if twice := [lead for lead in LEADS if names.count(lead) > 1]:
        remedy = "correct the names in the header"
        raise refused("two leads have the same name", found=" ".join(twice), remedy=remedy)
    signal = recording.signal
    if names != LEADS:
        signal = signal[[names.index(lead) for lead in LEADS]]
    missing = np.isnan(signal).sum(axis=1)
    if missing.any():
        found = f"{missing.sum()} missing in {', '.join(np.array(LEADS)[missing > 0])}"
        remedy = "cut the recording to a stretch without gaps"
        raise refused("samples are missing (NaN)", found=found, remedy=remedy)
    return signal


def resample(signal: np.ndarray, fs_hz: float, to_hz: float) -> np.ndarray:
    """(..., T) at `fs_hz` -> (..., ceil(T * to_hz / fs_hz)) float32, by a polyphase filter.

    The ends are continued with their own value: a lead rarely starts at 0 mV, and zeros would ring.
    Raises SignalError for samples that are not finite.
    """
    from scipy.signal import resample_poly

    if not np.isfinite(signal).all():
        raise SignalError("a signal with missing samples cannot be resampled", found="NaN")
    if fs_hz == to_hz:
        return np.asarray(signal, np.float32)
    ratio = Fraction(to_hz / fs_hz).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    return resample_poly(np.asarray(signal, np.float32), up, down, axis=-1, padtype="edge")


def crop_or_pad(signal: np.ndarray, samples: int) -> np.ndarray:
    """(L, T) -> (L, samples): the middle of a longer signal; a shorter one between zeros."""
    surplus = signal.shape[-1] - samples
    if surplus >= 0:
        return signal[..., surplus // 2 : surplus // 2 + samples]
    before = -surplus // 2
    return np.pad(signal, [(0, 0), (before, -surplus - before)])


def problems(signal: np.ndarray, fs_hz: float, leads: tuple[str, ...] = LEADS) -> tuple[str, ...]:
    """One note per lead of an (L, T) signal that is flat, saturated or has missing samples.

    Saturated: at its own highest or lowest value, of 1 mV or more either way, for 20 ms at a time
    (and 3 samples) twice or more, or for half a second in all. Ours. Once is normal: many PTB-XL
    leads hold their last value.
    """
    notes = []
    for lead, x in zip(leads, signal, strict=True):
        missing = int(np.isnan(x).sum())
        if missing:
            notes.append(f"{lead} misses {missing} of {x.size} samples")
            continue
        low, high = x.min(), x.max()
        if low == high:
            notes.append(f"{lead} is flat")
            continue
        for rail in (rail for rail in (low, high) if abs(rail) >= 1):
            edges = np.flatnonzero(np.diff(x == rail, prepend=False, append=False))
            stays = edges[1::2] - edges[::2]
            stays = stays[stays >= max(3, 0.02 * fs_hz)]
            if stays.size > 1 or stays.sum() >= 0.5 * fs_hz:
                notes.append(f"{lead} is saturated at {rail:.3f} mV")
    return tuple(notes)
