"""WFDB files: a text header (`.hea`) beside one or more signal files, read and checked.

Format 16 (PTB-XL, LUDB) and the PhysioNet Challenge's `16+24` (a `.mat` file: 24 bytes, then format
16) are read here in one gulp; every other format goes through the `wfdb` package. Both
give the same float32 millivolts. Layout: https://wfdb.io/spec/header-files.html
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgnet_lib.errors import RecordingError

FS_RANGE_HZ = (50.0, 10_000.0)
_FETCH = "fetch the file again and compare it with the publisher's checksum"
_GET = "get the recording's files, or take its row out of the table of metadata"
_MISSING_16 = -32768
# "MICRO SIGN" and "GREEK SMALL LETTER MU" look the same and both occur.
_MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "\N{MICRO SIGN}v": 1e-3, "\u03bcv": 1e-3, "v": 1e3}
_GAIN = re.compile(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)(?:\(([+-]?\d+)\))?(?:/(\S+))?")


class Calibration(NamedTuple):
    """How integers become millivolts: `(digital - baseline) / gain * mv_per_unit`, each (L, 1)."""

    gain: np.ndarray  # float32 where that is exact, see `_calibration`; else float64
    baseline: np.ndarray | None  # None: 0
    mv_per_unit: np.ndarray
    steps_per_mv: tuple[float, ...]

    def millivolts(self, digital: np.ndarray) -> np.ndarray:
        """(L, T) int16 -> (L, T) float32 mV."""
        signal = digital.astype(self.gain.dtype)
        if self.baseline is not None:
            signal -= self.baseline
        signal /= self.gain
        if signal.dtype == np.float32:
            return signal
        return (signal * self.mv_per_unit).astype(np.float32)


class Header(NamedTuple):
    """The content of a `.hea` file; tuples hold one entry per lead, None where it has none."""

    file: str
    fs_hz: float
    samples: int  # per lead; 0 if the header does not give it
    files: tuple[str, ...]
    formats: tuple[str, ...]
    calibration: Calibration
    checksums: tuple[int | None, ...]  # modulo 65536
    leads: tuple[str, ...]
    comments: tuple[str, ...]


def read_header(path: str | Path) -> Header:
    """Parse a WFDB header. `path` may end in .hea, .dat, .mat or nothing.

    Raises RecordingError if there is none, or if it is empty, names no leads, an unknown unit, no
    gain or a sampling rate outside 50-10,000 Hz.
    """
    file = stem_of(path) + ".hea"
    try:
        with open(file, "rb", buffering=0) as handle:
            raw = handle.read()
    except OSError as error:
        what, found = "the header cannot be read", error.strerror
        raise _refused(what, "a .hea file", found, _GET, file) from None
    try:
        # The standard asks for ASCII; names of people and places arrive in both encodings.
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    try:
        return _parse_header(text, file)
    except RecordingError as error:
        raise _refused(error.what, error.expected, error.found, error.remedy, file) from None
    except (ValueError, OverflowError) as error:
        what = "the header cannot be understood"
        raise _refused(what, "a number", error, file=file) from None


def read_signal(header: Header) -> np.ndarray:
    """(L, T) float32 mV, NaN where the file marks a sample as missing.

    Raises RecordingError for a file that is too small and a lead that does not match its checksum.
    """
    kind, _, offset = header.formats[0].partition("+")
    alike = len(set(zip(header.files, header.formats, strict=True))) == 1
    if not (kind == "16" and alike and header.samples and (not offset or offset.isdecimal())):
        return _read_with_wfdb(header)
    digital = _read_format_16(header, int(offset or 0))
    _verify(header, digital.sum(1, dtype=np.int16).tolist())
    signal = header.calibration.millivolts(digital)
    if digital.min() == _MISSING_16:
        signal[digital == _MISSING_16] = np.nan
    return signal


def stem_of(path: str | Path) -> str:
    """A recording's path without .hea, .dat or .mat."""
    base, suffix = os.path.splitext(os.fspath(path))
    return base if suffix in (".hea", ".dat", ".mat") else base + suffix


def _refused(
    what: str, expected: object, found: object, remedy: str = _FETCH, file: str | None = None
) -> RecordingError:
    return RecordingError(what, file=file, expected=expected, found=found, remedy=remedy)


def _parse_header(text: str, file: str) -> Header:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    comments = tuple([line.strip(" \t#") for line in lines if line[0] == "#"])
    lines = [line for line in lines if line[0] != "#"]
    if not lines:
        raise _refused("the header is empty", "a record line", "none")
    record = lines[0].split()
    if len(record) < 3 or "/" in record[0]:
        expected = "name, number of leads, sampling rate; one segment"
        remedy = "read the segments of a record one by one"
        raise _refused("the record line cannot be used", expected, lines[0], remedy)
    count, fs_hz = int(record[1]), float(record[2].split("/")[0])
    samples = int(record[3]) if len(record) > 3 else 0
    if not FS_RANGE_HZ[0] <= fs_hz <= FS_RANGE_HZ[1]:
        expected = f"{FS_RANGE_HZ[0]:g} to {FS_RANGE_HZ[1]:g} Hz"
        remedy = "correct the sampling rate in the header's first line"
        raise _refused("unexpected sampling rate", expected, f"{fs_hz:g} Hz", remedy)
    rows = [line.split(None, 8) for line in lines[1:]]
    if count < 1 or len(rows) != count or samples < 0 or any(len(row) < 2 for row in rows):
        expected = f"{count} leads (at least 1), {samples} samples (0 or more)"
        found = f"{len(rows)} lines after the first"
        raise _refused("the header does not list what it announces", expected, found)
    # Every field after the format may be left out, from the right.
    rows = [row if len(row) == 9 else row + [None] * (9 - len(row)) for row in rows]
    files, formats, gains, _, zeros, _, checksums, _, leads = zip(*rows, strict=True)
    if any(os.path.basename(name) != name for name in set(files)):
        raise _refused("a signal file must lie beside its header", "no folder", files[0])
    checksums = tuple([None if value is None else int(value) & 0xFFFF for value in checksums])
    leads, calibration = tuple([lead or "" for lead in leads]), _calibration(gains, zeros)
    return Header(file, fs_hz, samples, files, formats, calibration, checksums, leads, comments)


@lru_cache(maxsize=256)
def _calibration(gains: tuple[str | None, ...], zeros: tuple[str | None, ...]) -> Calibration:
    """Of the fields `1000.0(0)/mV` and ADC zero; recordings of one device share it."""
    rows = []
    for text, zero in zip(gains, zeros, strict=True):
        match = _GAIN.fullmatch(text or "")
        if not match or float(match[1]) == 0:
            expected, remedy = "its gain, as in 1000(0)/mV", "write the gain into the header"
            raise _refused("a lead is not calibrated", expected, text or "nothing", remedy)
        unit = match[3] or "mV"
        if unit.lower() not in _MV_PER_UNIT:
            remedy = "convert the recording, or correct the unit in the header"
            raise _refused("unknown unit", "uV, mV or V", unit, remedy)
        baseline = int(match[2] or zero or 0)
        rows.append((float(match[1]), float(baseline), _MV_PER_UNIT[unit.lower()]))
    gain, baseline, mv_per_unit = np.array(rows).T[:, :, None]
    steps = tuple((gain / mv_per_unit)[:, 0].tolist())
    # Below 2**24 both sides of the division are exact in float32, so that its one rounding equals
    # that of a float64 division cast to float32 (53 >= 2 * 24 + 2 bits).
    with np.errstate(over="ignore"):
        exact = (gain == gain.astype(np.float32)).all() and np.abs(baseline).max() < 2**23
    if exact and (mv_per_unit == 1).all():
        gain, baseline = np.float32(gain), np.float32(baseline)
    one = gain[:1] if (gain == gain[0]).all() else gain
    return Calibration(one, baseline if baseline.any() else None, mv_per_unit, steps)


def _read_format_16(header: Header, offset: int) -> np.ndarray:
    """(L, T) int16, C order, as stored."""
    file = os.path.join(os.path.dirname(header.file), header.files[0])
    count, samples = len(header.leads), header.samples
    size = offset + 2 * count * samples
    try:
        # Half the time of np.fromfile, which opens the file twice. A header may announce any size:
        # memory is set aside for what it says only if that is little.
        with open(file, "rb", buffering=0) as handle:
            raw = handle.read(size if size < 2**24 else -1)
    except OSError as error:
        what, expected = "the signal file cannot be read", "the file that the header names"
        raise _refused(what, expected, error.strerror, _GET, file) from None
    if len(raw) < size:
        expected = f"{size} bytes ({count} leads of {samples} samples)"
        found = f"{os.path.getsize(file)} bytes"
        raise _refused("the signal file is cut short", expected, found, file=file)
    flat = np.frombuffer(raw, "<i2", count * samples, offset)
    return np.ascontiguousarray(flat.reshape(samples, count).T)


def _read_with_wfdb(header: Header) -> np.ndarray:
    """(L, T) float32 mV of a recording in any other format."""
    import wfdb

    try:
        record = wfdb.rdrecord(header.file[:-4], physical=False, smooth_frames=False)
        digital, signal = record.e_d_signal, np.stack(record.dac(expanded=True))
        if "x" in "".join(header.formats):
            raise ValueError("several samples of a lead in a frame")
    except Exception as error:  # wfdb passes on whatever NumPy says about a damaged file
        what, expected = "wfdb cannot read the signals", f"format {header.formats[0]}"
        found = f"{type(error).__name__}: {error}"
        raise _refused(what, expected, found, file=header.file) from None
    # A skewed lead (format 16:5) is shifted by wfdb, and its checksum no longer applies.
    if ":" not in "".join(header.formats):
        _verify(header, [int(lead.sum(dtype=np.int64)) for lead in digital])
    return (signal * header.calibration.mv_per_unit).astype(np.float32)


def _verify(header: Header, sums: list[int]) -> None:
    """Compare each lead's sum modulo 65536 with the header."""
    for lead, wanted, found in zip(header.leads, header.checksums, sums, strict=True):
        if wanted is not None and wanted != found & 0xFFFF:
            what = f"checksum of lead {lead} does not match the signal"
            raise _refused(what, wanted, found & 0xFFFF, file=header.file)
