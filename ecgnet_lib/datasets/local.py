"""What is at hand: find a source in ECGNET_DATA, which is only ever read, or in data/."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from ecgnet_lib.datasets.catalogue import SOURCES, Source
from ecgnet_lib.errors import SourceError
from ecgnet_lib.paths import DATA

TABLE = "ptbxl_database.csv"


def data_root() -> Path:
    """The folder that ECGNET_DATA names, else data/; SourceError if ECGNET_DATA is no folder."""
    named = os.environ.get("ECGNET_DATA")
    if not named:
        return DATA
    if not Path(named).is_dir():
        raise SourceError(
            "ECGNET_DATA does not name a folder",
            expected="the folder that holds ptb-xl/, ludb/, ...",
            found=repr(named),
            remedy="correct ECGNET_DATA, or unset it",
        )
    return Path(named)


def source_of(name: str) -> Source:
    """The source called `name`; an unknown name is refused with the nearest one."""
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name.lower(), SOURCES, n=1, cutoff=0.4)
    raise SourceError(
        f"there is no source called {name!r}",
        expected=f"one of {', '.join(SOURCES)}",
        remedy=f"did you mean {near[0]!r}?" if near else "take one of these names",
    )


def locate(name: str) -> Path:
    """Folder of a source that is at hand, whole or in part; else SourceError says how to get it."""
    if not source_of(name).folder:
        raise SourceError(f"{name!r} is made, not stored", remedy="choose it as the data of a page")
    for folder, _, _ in places(source_of(name)):
        return folder
    raise SourceError(
        f"the source {name!r} is not at hand",
        expected=f"recordings in ECGNET_DATA or data/, in the folder {SOURCES[name].folder!r}",
        remedy=f"python -m ecgnet_lib data get {name}, or name a copy with ECGNET_DATA",
    )


def state(name: str) -> str:
    """How much of a source is at hand and where, for a list of all; "" if nothing is."""
    source = source_of(name)
    if not source.folder:
        return "embedded"
    return next((told(source, n, copy) for _, copy, n in places(source)), "")


def told(source: Source, n: int, copy: bool) -> str:
    """What is at hand, for people; never a path."""
    total = max(n, source.recordings)  # earlier releases of PTB-XL held a few more
    part = "complete" if n >= source.recordings else f"{n:,} of {total:,} recordings"
    return f"{source.title}, {part}, read from {'ECGNET_DATA' if copy else 'data/'}"


def places(source: Source, fs_hz: float = 0) -> Iterator[tuple[Path, bool, int]]:
    """(folder, whether in ECGNET_DATA, recordings there) of each place that holds any at fs_hz."""
    if not source.folder:
        return
    named = bool(os.environ.get("ECGNET_DATA"))
    for root in (data_root(), DATA) if named else (DATA,):
        copy = named and root != DATA
        for base in (root / source.folder, root / "physionet.org/files" / source.folder):
            # What we fetch has the release that we name; a copy may have any.
            others = sorted(base.glob("[0-9]*.[0-9]*"), reverse=True) if copy else []
            for folder in dict.fromkeys((base / source.version, *others, base)):
                if n := _count(source, folder, fs_hz):
                    yield folder, copy, n


def _count(source: Source, folder: Path, fs_hz: float) -> int:
    """How many of the source's recordings are in the folder."""
    if not source.name.startswith("ptbxl"):
        return sum(1 for _ in folder.glob(source.headers))
    last_id = source.recordings if source.name == "ptbxl-500" else None
    return table(folder, fs_hz, last_id)[1] if (folder / TABLE).is_file() else 0


def table(folder: Path, fs_hz: float, last_id: int | None = None) -> tuple[int, int, int]:
    """Of PTB-XL: rows of the table, rows whose files are at hand, recordings at hand.

    At more than 100 Hz only the files of 500 Hz count. Rows after last_id are left out.
    """
    rates = ("records500",) if fs_hz > 100 else ("records100", "records500")
    here = {
        f"{rate}/{group.name}/{entry.name}"
        for rate in rates
        if (folder / rate).is_dir()
        for group in (folder / rate).iterdir()
        if group.is_dir()
        for entry in os.scandir(group)
    }
    names = {file.removesuffix(".dat") for file in here if file.endswith(".dat")}
    names = {name for name in names if f"{name}.hea" in here}
    try:
        with open(folder / TABLE, encoding="utf-8", newline="") as file:
            rows = [
                (row["filename_lr"], row["filename_hr"])
                for row in csv.DictReader(file)
                if last_id is None or int(row["ecg_id"]) <= last_id
            ]
    except (KeyError, TypeError, ValueError, csv.Error, OSError) as error:
        raise SourceError(
            "the table of PTB-XL cannot be read",
            file=TABLE,
            expected="UTF-8 rows with ecg_id, filename_lr, filename_hr",
            found=f"{type(error).__name__}: {error}",
            remedy="get the source again, or correct the copy that ECGNET_DATA names",
        ) from error
    stems = {name.rsplit("/", 1)[1].split("_")[0] for name in names}
    return len(rows), sum(lr in names or hr in names for lr, hr in rows), len(stems)
