"""Many recordings as one int16 memory map: made once, read in batches.

A folder per archive: `signals.i16` (N, 12, T) and `archive.json`. Its name is a hash of the
recordings' headers, so that a recording that changes gives another archive and an unchanged one is
never read twice: a WFDB header holds a checksum of each lead, which reading verifies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ecgnet_lib.datasets.records import (
    LEADS,
    Recording,
    Refusal,
    crop_or_pad,
    in_standard_order,
    problems,
    read_each,
    resample,
)
from ecgnet_lib.datasets.wfdb_files import read_header, stem_of
from ecgnet_lib.errors import RecordingError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3  # part of every archive's name: raise it when recordings are read or stored otherwise
STEPS_PER_MV = 1000.0  # 1 uV, the step of PTB-XL
_LARGEST = 32767


@dataclass(frozen=True, eq=False)
class Archive:
    """N recordings of 12 leads and T samples, on disk.

    `table` has one row per recording, index `recording`: the original `fs_hz` and `seconds`, and
    `problems` (flat and saturated leads). `refused` lists what could not be read. `manifest` is the
    SHA-256 of all (name, SHA-256 of the files) rows. `signals` is (N, 12, T) int16, `gains` (N, 12)
    float32 steps per mV.
    """

    folder: Path
    fs_hz: float
    table: pd.DataFrame
    refused: list[Refusal]
    manifest: str
    signals: np.ndarray
    gains: np.ndarray

    def __len__(self) -> int:
        return len(self.table)

    def batch(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Recordings at `indices`, in that order, as (B, 12, T) float32 mV."""
        signal, gain = self.signals[indices].astype(np.float32), self.gains[indices]
        # One gain for all is the rule, and division by a single number is the faster one.
        signal /= gain.flat[0] if gain.size and np.ptp(gain) == 0 else gain[..., None]
        return signal

    @classmethod
    def of(
        cls, files: Mapping[str, str | Path], fs_hz: float, folder: str | Path, seconds: float = 10
    ) -> Archive:
        """The archive of these files (name -> path) in the cache `folder`, built if not there.

        A recording at `fs_hz` keeps its integers; one at another rate is resampled and rounded to
        1 uV. A longer one gives its middle, a shorter one (from 2.5 s) stands between zeros. What
        cannot be read is in `refused`, and tried again each time. Raises RecordingError.
        """

        def row(recording: Recording) -> tuple:
            signal, gain = in_standard_order(recording), STEPS_PER_MV
            if recording.fs_hz == fs_hz:
                gain = np.array([recording.gain[recording.leads.index(lead)] for lead in LEADS])
            facts = _facts(signal, recording.fs_hz)
            return recording.name, resample(signal, recording.fs_hz, fs_hz), gain, facts

        samples = round(seconds * fs_hz)
        target = _target(folder, fs_hz, samples, _manifest(files, signals=False))
        if target.is_dir():
            archive = cls.open(target)
            again = {refusal.name: files[refusal.name] for refusal in archive.refused}
            if not list(read_each(again, row, [])):
                return archive
            shutil.rmtree(target)  # what was refused has been fetched again
        rows = read_each(files, row, refused := [])
        return _built(target, fs_hz, samples, _manifest(files), rows, refused)

    @classmethod
    def of_signals(
        cls, signals: Mapping[str, np.ndarray], fs_hz: float, folder: str | Path
    ) -> Archive:
        """The archive of signals in memory, alike in shape, rounded to 1 uV.

        signals: name -> (12, T) float32 mV at `fs_hz`, without gaps.
        """
        samples = next(iter(signals.values())).shape[1]
        manifest = _hash_of_rows({name: hashlib.sha256(x.tobytes()) for name, x in signals.items()})
        rows = ((name, x, STEPS_PER_MV, _facts(x, fs_hz)) for name, x in signals.items())
        target = _target(folder, fs_hz, samples, manifest)
        return _built(target, fs_hz, samples, manifest, rows, [])

    def mapped(self, change: Callable[[np.ndarray], np.ndarray], name: str) -> Archive:
        """These recordings after `change`, (B, 12, T) mV to the same, rounded to 1 uV, beside this.

        Made once, a batch at a time. name: all that the result depends on besides the recordings.
        """

        def rows() -> Iterator[tuple]:
            facts = self.table[["fs_hz", "seconds", "problems"]].to_dict("records")
            for start in tqdm(range(0, len(self), 64), desc="archive", unit="batch"):
                some = slice(start, start + 64)
                for i, signal in enumerate(change(self.batch(some)), start):
                    yield self.table.index[i], signal, STEPS_PER_MV, facts[i]

        samples = self.signals.shape[2]
        manifest = hashlib.sha256(f"{self.manifest} {name}".encode()).hexdigest()
        target = _target(self.folder.parent, self.fs_hz, samples, manifest)
        return _built(target, self.fs_hz, samples, manifest, rows(), self.refused)

    @classmethod
    def open(cls, folder: str | Path) -> Archive:
        """An archive that exists. Raises RecordingError if a file of it is absent or cut short."""
        import pandas as pd

        folder = Path(folder)
        try:
            about = json.loads((folder / "archive.json").read_text())
            table = pd.DataFrame(about["table"]).set_index("recording")
            shape = (len(table), len(LEADS), about["samples"])
            return cls(
                folder=folder,
                fs_hz=about["fs_hz"],
                gains=np.array(table.pop("gain").to_list(), np.float32),
                table=table,
                refused=[Refusal(*row) for row in about["refused"]],
                manifest=about["manifest"],
                signals=np.asarray(np.memmap(folder / "signals.i16", "<i2", "r", shape=shape)),
            )
        except (OSError, ValueError, KeyError) as error:
            what, remedy = "the archive is damaged", "delete this folder; it is built again"
            found = f"{type(error).__name__}: {error}"
            raise RecordingError(what, file=folder, found=found, remedy=remedy) from None


def _facts(signal: np.ndarray, fs_hz: float) -> dict:
    """The row of the table for a recording of 12 leads, (12, T) mV as recorded."""
    notes = "; ".join(problems(signal, fs_hz))
    return {"fs_hz": fs_hz, "seconds": signal.shape[1] / fs_hz, "problems": notes}


def _manifest(files: Mapping[str, str | Path], signals: bool = True) -> str:
    """SHA-256 of what the headers hold, and with `signals` also the files that these name."""
    hashes = {}
    for name, path in files.items():
        parts = [Path(stem_of(path) + ".hea")]
        if signals:
            with contextlib.suppress(RecordingError):
                beside = dict.fromkeys(read_header(path).files)
                parts += [parts[0].with_name(file) for file in beside]
        hashes[name] = hashlib.sha256()
        for part in parts:
            content = part.read_bytes() if part.is_file() else b""
            hashes[name].update(f"{len(content)}:".encode() + content)
    return _hash_of_rows(hashes)


def _hash_of_rows(hashes: Mapping) -> str:
    rows = "".join(f"{name} {sha256.hexdigest()}\n" for name, sha256 in hashes.items())
    return hashlib.sha256(rows.encode()).hexdigest()


def _target(cache: str | Path, fs_hz: float, samples: int, content: str) -> Path:
    key = hashlib.sha256(f"{FORMAT} {float(fs_hz)} {samples} {content}".encode())
    return Path(cache) / key.hexdigest()[:16]


def _built(
    target: Path,
    fs_hz: float,
    samples: int,
    manifest: str,
    rows: Iterable[tuple[str, np.ndarray, np.ndarray | float, dict]],
    refused: list[Refusal],
) -> Archive:
    """The archive `target`, written if not there: under another name, and then renamed.

    rows: name, (12, T) mV, steps per mV, facts. `refused` is read after the last row. Raises
    RecordingError if there is no row.
    """
    if target.is_dir():
        return Archive.open(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
        part, table = Path(folder), []
        with open(part / "signals.i16", "wb") as out:
            for name, signal, gain, facts in rows:
                digital, gain = _digital(crop_or_pad(signal, samples), gain)
                out.write(digital.tobytes())
                table.append({"recording": name, "gain": gain.tolist(), **facts})
        if not table:
            found = refused[0].reason if refused else "none named"
            raise RecordingError("no recording is left for an archive", expected="one", found=found)
        about = {"fs_hz": float(fs_hz), "samples": samples, "manifest": manifest}
        about |= {"refused": refused, "table": table}
        (part / "archive.json").write_text(json.dumps(about))
        with contextlib.suppress(OSError):  # another process was faster, with the same content
            part.rename(target)
    return Archive.open(target)


def _digital(signal: np.ndarray, gain: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(12, T) mV -> int16 and gain by lead; what lies beyond 32.767 mV is clipped.

    A lead whose own gain would leave the range of int16 (its baseline is far from 0) gets 1 uV.
    """
    gain = np.broadcast_to(np.float32(gain), len(signal))
    beyond = np.abs(signal * gain[:, None]).max(axis=1) > _LARGEST
    gain = np.where(beyond, np.float32(STEPS_PER_MV), gain)
    steps = np.rint(signal * gain[:, None])
    return np.clip(steps, -_LARGEST, _LARGEST).astype("<i2"), gain
