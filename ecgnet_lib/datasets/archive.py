"""Many recordings as one int16 memory map: made once, read in batches.

A folder per archive: `signals.i16` (N, 12, T), `gains.npy` (N, 12) steps per mV, `table.csv` and
`archive.json`. Its name is a hash of the contents of the recordings, so a changed file gives
another archive and an unchanged one is never read twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ecgnet_lib.datasets.fingerprint import checksums, manifest_of
from ecgnet_lib.datasets.records import (
    LEADS,
    Recording,
    Refusal,
    fit,
    problems,
    read_many,
    resample,
    standard,
)
from ecgnet_lib.errors import RecordingError, SignalError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1  # part of every archive's name: raise it when recordings are read or stored otherwise
STEPS_PER_MV = 1000.0  # 1 uV, the step of PTB-XL
_LARGEST = 32767


@dataclass(frozen=True, eq=False)
class Archive:
    """N recordings of 12 leads and T samples, on disk.

    `table` has one row per recording, index `recording`: the original `fs_hz` and `seconds`, zeros
    `padded`, samples `clipped`, and `problems` (flat and saturated leads). `refused` lists what
    could not be taken in. `manifest` is the SHA-256 of all (name, SHA-256 of the files) rows.
    """

    folder: Path
    fs_hz: float
    names: tuple[str, ...]
    table: pd.DataFrame
    refused: list[Refusal]
    manifest: str
    signals: np.ndarray
    gains: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Recordings at `indices`, in that order, as (B, 12, T) float32 mV.

        Raises SignalError for an index that is not there.
        """
        try:
            rows = np.arange(len(self))[indices]
        except IndexError as error:
            expected = f"integers from 0 to {len(self) - 1}"
            raise SignalError("no such recording", expected=expected, found=error) from None
        signal, gain = self.signals[rows].astype(np.float32), self.gains[rows]
        # One gain for all is the rule, and division by a single number is the faster one.
        signal /= gain.flat[0] if gain.size and np.ptp(gain) == 0 else gain[..., None]
        return signal

    @classmethod
    def of(
        cls,
        files: Mapping[str, str | Path],
        fs_hz: float,
        folder: str | Path,
        *,
        seconds: float = 10.0,
        strict: bool = False,
    ) -> Archive:
        """The archive of these files (name -> path) in the cache `folder`, built if not there.

        A recording at `fs_hz` keeps its integers; one at another rate is resampled and rounded to
        1 uV. A longer one gives its middle, a shorter one (from 2.5 s) stands between zeros. What
        cannot be read is listed in `refused`. Raises RecordingError if nothing is left, for a
        damaged archive, and with `strict` for any refusal.
        """
        manifest = manifest_of(checksums(files, Path(folder) / "checksums.json"))

        def fill(add: Callable) -> list[Refusal]:
            def prepare(recording: Recording) -> None:
                signal, gain = standard(recording), STEPS_PER_MV
                if recording.fs_hz == fs_hz:
                    gain = np.array([recording.gain[recording.leads.index(lead)] for lead in LEADS])
                notes = problems(signal, recording.fs_hz)
                add(
                    recording.name,
                    resample(signal, recording.fs_hz, fs_hz),
                    gain,
                    fs_hz=recording.fs_hz,
                    seconds=signal.shape[1] / recording.fs_hz,
                    problems="; ".join(notes),
                )

            return read_many(files, prepare)[1]

        archive = _opened(Path(folder), fs_hz, round(seconds * fs_hz), manifest, fill)
        if strict and archive.refused:
            what = f"{len(archive.refused)} of {len(files)} recordings are refused"
            raise RecordingError(what, found=archive.refused[0].reason)
        return archive

    @classmethod
    def of_signals(
        cls, signals: Mapping[str, np.ndarray], fs_hz: float, folder: str | Path
    ) -> Archive:
        """The archive of signals in memory: name -> (12, T) float32 mV at `fs_hz`, rounded to 1 uV.

        Raises SignalError if one is of another shape than the first, or not finite.
        """
        shape = (len(LEADS), next(iter(signals.values())).shape[-1]) if signals else None
        for name, signal in signals.items():
            if signal.shape != shape or not np.isfinite(signal).all():
                found = f"{signal.shape} in {name}"
                raise SignalError("not a finite signal", expected=shape, found=found)
        manifest = manifest_of(
            {
                name: hashlib.sha256(np.asarray(signal, "<f4").tobytes()).hexdigest()
                for name, signal in signals.items()
            }
        )

        def fill(add: Callable) -> list[Refusal]:
            for name, signal in signals.items():
                notes = "; ".join(problems(signal, fs_hz))
                seconds = signal.shape[1] / fs_hz
                add(name, signal, STEPS_PER_MV, fs_hz=fs_hz, seconds=seconds, problems=notes)
            return []

        return _opened(Path(folder), fs_hz, shape[1] if shape else 0, manifest, fill)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray], name: str) -> Archive:
        """These recordings after `change`, (B, 12, T) mV to the same, rounded to 1 uV, beside this.

        Made once, a batch at a time. name: all that the result depends on besides the recordings.
        """
        manifest = hashlib.sha256(f"{self.manifest} {name}".encode()).hexdigest()

        def fill(add: Callable) -> list[Refusal]:
            facts = self.table[["fs_hz", "seconds", "problems"]].to_dict("records")
            for start in tqdm(range(0, len(self), 64), desc="archive", unit="batch"):
                some = slice(start, start + 64)
                signals = change(self.batch(some))
                for row in zip(self.names[some], signals, facts[some], strict=True):
                    add(row[0], row[1], STEPS_PER_MV, **row[2])
            return self.refused

        return _opened(self.folder.parent, self.fs_hz, self.signals.shape[-1], manifest, fill)

    @classmethod
    def open(cls, folder: str | Path) -> Archive:
        """An archive that exists. Every byte is compared with the checksums stored beside it.

        Raises RecordingError if it is damaged.
        """
        import pandas as pd

        folder = Path(folder)
        try:
            facts = json.loads((folder / "archive.json").read_text())
            fs_hz, samples, manifest = facts["fs_hz"], facts["samples"], facts["manifest"]
            damaged = [] if folder.name == _key(fs_hz, samples, manifest) else ["archive.json"]
            for name, wanted in facts["sha256"].items():
                if _sha256(folder / name) != wanted:
                    damaged.append(name)
            if damaged:
                raise ValueError(f"another checksum of {', '.join(damaged)}")
            # Text stays text: a recording named 00001 is not number 1.
            table = pd.read_csv(
                folder / "table.csv",
                index_col="recording",
                dtype={"recording": str, "problems": str},
                keep_default_na=False,
            )
            shape = (len(table), len(LEADS), samples)
            return cls(
                folder=folder,
                fs_hz=fs_hz,
                names=tuple(table.index),
                table=table,
                refused=[Refusal(*row) for row in facts["refused"]],
                manifest=manifest,
                signals=np.asarray(np.memmap(folder / "signals.i16", "<i2", "r", shape=shape)),
                gains=np.load(folder / "gains.npy"),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(
                "the archive is damaged",
                file=folder,
                expected="the files as they were written",
                found=f"{type(error).__name__}: {error}",
                remedy="delete this folder; it is built again from the recordings",
            ) from None


def _sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _key(fs_hz: float, samples: int, manifest: str) -> str:
    text = f"{FORMAT} {float(fs_hz)} {samples} {manifest}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _opened(
    cache: Path, fs_hz: float, samples: int, manifest: str, fill: Callable[[Callable], list]
) -> Archive:
    """The archive of this key; `fill(add)` gives its recordings, in order, if it must be built."""
    target = cache / _key(fs_hz, samples, manifest)
    if not target.is_dir():
        with _published(target) as part:
            _build(part, fs_hz, samples, manifest, fill)
    return Archive.open(target)


def _build(
    part: Path, fs_hz: float, samples: int, manifest: str, fill: Callable[[Callable], list]
) -> None:
    import pandas as pd

    rows, gains = [], []
    with open(part / "signals.i16", "wb") as out:

        def add(name: str, signal: np.ndarray, gain: np.ndarray | float, **facts: object) -> None:
            padded = max(0, samples - signal.shape[1])
            digital, gain, clipped = _digital(fit(signal, samples), gain)
            out.write(digital.tobytes())
            gains.append(gain)
            rows.append({"recording": name, **facts, "padded": padded, "clipped": clipped})

        refused = fill(add)
    if not rows:
        reason = refused[0].reason if refused else "none named"
        raise RecordingError("no recording is left for an archive", expected="one", found=reason)
    np.save(part / "gains.npy", np.array(gains, np.float32))
    pd.DataFrame(rows).to_csv(part / "table.csv", index=False)
    sums = {file.name: _sha256(file) for file in part.iterdir()}
    facts = {"fs_hz": float(fs_hz), "samples": samples, "manifest": manifest}
    facts |= {"sha256": sums, "refused": refused}
    (part / "archive.json").write_text(json.dumps(facts, indent=1))


def _digital(signal: np.ndarray, gain: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, int]:
    """(12, T) mV -> int16, gain by lead, and how many samples lie beyond 32.767 mV.

    A lead whose own gain would leave the range of int16 (its baseline is far from 0) gets 1 uV.
    """
    gain = np.broadcast_to(np.float32(gain), len(signal))
    beyond = np.abs(signal * gain[:, None]).max(axis=1) > _LARGEST
    gain = np.where(beyond, np.float32(STEPS_PER_MV), gain)
    steps = np.rint(signal * gain[:, None])
    clipped = int((np.abs(steps) > _LARGEST).sum())
    return np.clip(steps, -_LARGEST, _LARGEST).astype("<i2"), gain, clipped


@contextmanager
def _published(target: Path) -> Iterator[Path]:
    """A new folder that takes the name `target` when complete, and is gone if anything fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        yield part
        try:
            part.rename(target)
        except OSError:
            # Another process was faster; what it wrote has the same key.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
