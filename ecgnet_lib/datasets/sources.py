"""Where recordings come from: find a source, fetch it, check it, or choose one for a page.

A copy of PhysioNet that ECGNET_DATA names is read in place and never written to; what is fetched
lands under data/. ECGNET_OFFLINE=1 forbids every request. Importing this is cheap.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ecgnet_lib.datasets.catalogue import SOURCES, Source
from ecgnet_lib.datasets.download import SUMS, Patience, fetch, offline, read_sums, sha256
from ecgnet_lib.errors import SourceError
from ecgnet_lib.paths import DATA

LISTS = DATA  # our own lists of checksums stand here
TABLE = "ptbxl_database.csv"
_QUICK = Patience(attempts=1, connect_s=3.0, read_s=10.0)  # is there a network at all?
_UNASKED_MB = 100  # the most that a page fetches without having been told to


class Choice(NamedTuple):
    """The source that a page reads: its folder (None if simulated), and a sentence that says so."""

    name: str
    root: Path | None
    note: str


class Got(NamedTuple):
    """What `get` did: where the files are, how many belong there, how many of them it fetched."""

    folder: Path
    files: int
    fetched: int


@dataclass
class Report:
    """What `verify` found; file names are relative to the source's folder.

    right    equal to the published file
    wrong    not equal: (file, what was found)
    missing  published, and not at hand: a partial copy, or another sampling rate
    """

    name: str
    right: list[str] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Something could be checked, and nothing at hand is wrong (a part may be missing)."""
        return bool(self.right) and not self.wrong

    def __str__(self) -> str:
        words = ("right", "wrong", "missing")
        counts = ", ".join(f"{len(getattr(self, word)):,} {word}" for word in words)
        return f"{self.name}: {counts}"


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


# What is at hand


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


def locate(name: str) -> Path:
    """Folder of a source that is at hand, whole or in part; else SourceError says how to get it."""
    source = source_of(name)
    if not source.folder:
        raise SourceError(f"{name!r} is made, not stored", remedy="choose it as the data of a page")
    for folder, _, _ in _places(source):
        return folder
    raise _absent(source)


def _absent(source: Source, fs_hz: float = 100) -> SourceError:
    get_it = f"data get {source.name}" + (f" --fs-hz {fs_hz:g}" if fs_hz > 100 else "")
    return SourceError(
        f"the source {source.name!r} is not at hand",
        expected=f"recordings in ECGNET_DATA or data/, in the folder {source.folder!r}",
        remedy=f"python -m ecgnet_lib {get_it}, or name a copy with ECGNET_DATA",
    )


def state(name: str) -> str:
    """How much of a source is at hand and where, for a list of all; "" if nothing is."""
    source = source_of(name)
    if not source.folder:
        return "embedded"
    return next((_note(source, n, mirror) for _, mirror, n in _places(source)), "")


def _note(source: Source, n: int, mirror: bool) -> str:
    """What is at hand, for people; never a path."""
    total = max(n, source.recordings)  # earlier releases of PTB-XL held a few more
    part = "complete" if n >= source.recordings else f"{n:,} of {total:,} recordings"
    return f"{source.title}, {part}, read from {'ECGNET_DATA' if mirror else 'data/'}"


def _places(source: Source, fs_hz: float = 0) -> Iterator[tuple[Path, bool, int]]:
    """(folder, whether in ECGNET_DATA, recordings there) of each place that holds any at fs_hz."""
    if not source.folder:
        return
    for root in dict.fromkeys((data_root(), DATA)):
        mirror = root != DATA
        for base in (root / source.folder, root / "physionet.org/files" / source.folder):
            # What we fetch has the release that we name; a mirror may have any.
            others = sorted(base.glob("[0-9]*.[0-9]*"), reverse=True) if mirror else []
            for folder in dict.fromkeys((base / source.version, *others, base)):
                if n := _count(source, folder, fs_hz):
                    yield folder, mirror, n


def _count(source: Source, folder: Path, fs_hz: float) -> int:
    """How many of the source's recordings are in the folder."""
    if not source.name.startswith("ptbxl"):
        return sum(1 for _ in folder.glob(source.headers))
    last_id = source.recordings if source.name == "ptbxl-500" else None
    return _ptbxl_counts(folder, fs_hz, last_id)[1] if (folder / TABLE).is_file() else 0


def _ptbxl_counts(folder: Path, fs_hz: float, last_id: int | None = None) -> tuple[int, int, int]:
    """Of PTB-XL: rows of the table, rows whose files are at hand, recordings at hand.

    At more than 100 Hz only the files of 500 Hz count. Rows after last_id are left out.
    """
    rates = ("records500",) if fs_hz > 100 else ("records100", "records500")
    here = {
        f"{rate}/{group.name}/{entry.name}"
        for rate in rates
        for group in (folder / rate).glob("*/")
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


# Fetching and choosing


def get(name: str, fs_hz: float = 100, *, patience: Patience | None = None) -> Got:
    """Fetch a source into data/ and check every file; what is there and right is not fetched again.

    PTB-XL is published at two sampling rates, of which one is fetched: that of 100 Hz, or that of
    500 Hz if fs_hz is more than 100. `ptbxl-500` and `ludb` are checked against the checksums that
    stand in data/. For the rest PhysioNet's own SHA256SUMS.txt is fetched first: that shows that
    the files arrived as the server has them, and trust in the server rests on its certificate.
    Raises SourceError; files that have arrived stay.
    """
    source = source_of(name)
    if not source.folder:
        raise SourceError(f"{name!r} is made, not fetched", remedy="choose it as a page's data")
    folder = DATA / source.folder / source.version
    if (LISTS / f"{name}.sha256").is_file():
        sums = read_sums(LISTS / f"{name}.sha256")
    else:
        fetch({SUMS: None}, source.url, folder, label=f"{name}, checksums", patience=patience)
        sums = read_sums(folder / SUMS)
    other_rate = "records500/" if fs_hz <= 100 else "records100/"
    sums = {
        file: digest
        for file, digest in sums.items()
        if file.startswith(source.keep) and not file.startswith(other_rate)
    }
    fetched = fetch(sums, source.url, folder, label=name, patience=patience)
    return Got(folder, len(sums), fetched)


def choose(dataset: str = "auto", fs_hz: float = 100) -> Choice:
    """The source that a page reads at fs_hz.

    "auto" is PTB-XL: the copy that ECGNET_DATA names; else what data/ holds; else `ptbxl-500` is
    downloaded; else, without a network, `simulated`. A source that is named is taken (downloaded
    if it is not at hand, and no more than 100 MB), or SourceError. The first page to ask may
    download; pages that run at the same time would do so twice, harmlessly.
    """
    if dataset != "auto":
        return _named(source_of(dataset), fs_hz)
    for name in ("ptbxl", "ptbxl-500"):
        for folder, mirror, n in _places(SOURCES[name], fs_hz):
            if mirror or name == "ptbxl" or n == SOURCES[name].recordings:
                return Choice(name, folder, _note(SOURCES[name], n, mirror))
    first = SOURCES["ptbxl-500"]
    why = "ECGNET_OFFLINE forbids every request"
    if not offline():
        folder, file = DATA / first.folder / first.version, "scp_statements.csv"
        wanted = {file: read_sums(LISTS / f"{first.name}.sha256")[file]}
        try:
            fetch(wanted, first.url, folder, label="asking PhysioNet", patience=_QUICK)
        except SourceError as error:
            why = f"the download from PhysioNet failed: {error.found or error.what}"
        else:  # from here on a failure is told, not covered up: a second try goes on where it was
            return _named(first, fs_hz)
    if os.environ.get("ECGNET_DATA"):
        why = f"ECGNET_DATA holds no PTB-XL; {why}"
    for folder, mirror, n in _places(first, fs_hz):  # a download that was interrupted
        return Choice(first.name, folder, f"{_note(first, n, mirror)}; {why}")
    return Choice(
        "simulated",
        None,
        f"SIMULATED ECGs: no real recording was at hand ({why}). "
        "No number on this page was measured on a patient.",
    )


def _named(source: Source, fs_hz: float) -> Choice:
    """`choose` for a source that the reader named."""
    if not source.folder:
        return Choice(source.name, None, "SIMULATED ECGs, as asked for.")
    _, mirror, n = next(_places(source, fs_hz), (None, False, 0))
    if not mirror and n < source.recordings and source.size_mb <= _UNASKED_MB:
        get(source.name, fs_hz)
    for folder, mirror, n in _places(source, fs_hz):
        return Choice(source.name, folder, _note(source, n, mirror))
    raise _absent(source, fs_hz)


# Checking


def verify(name: str) -> Report:
    """Compare the files of a source that are at hand with the published SHA-256.

    The list is ours in data/ (`ptbxl-500`, `ludb`), else the copy's SHA256SUMS.txt without texts
    (.txt); a file of another release is right if the copy's own list has it so. What a partial copy
    lacks is missing, and so is a table of PTB-XL that differs from the published one and has one
    row for each recording at hand; one cut short is wrong: it has recordings without rows.
    Raises SourceError if the source is not at hand or no list is.
    """
    from tqdm import tqdm

    source, folder, report = source_of(name), locate(name), Report(name)
    pinned, published = LISTS / f"{name}.sha256", folder / SUMS
    own = read_sums(published) if published.is_file() else {}
    if pinned.is_file():
        sums = read_sums(pinned)
    elif not own:
        raise SourceError(
            "nothing at hand says what the files should be",
            file=SUMS,
            expected="the list of checksums beside the files",
            remedy=f"fetch {source.url}{SUMS} into the folder of the copy",
        )
    else:
        sums = {
            file: digest
            for file, digest in own.items()
            if file.startswith(source.keep) and not file.endswith(".txt")
        }
        if name == "ptbxl":  # a partial copy may have a partial list; ours covers recordings 1-500
            sums = read_sums(LISTS / "ptbxl-500.sha256") | sums
    for file in tqdm(sums, desc=f"verify {name}", unit="file", mininterval=0.5):
        path = folder / file
        if not path.is_file():
            report.missing.append(file)
        elif (found := sha256(path)) in (sums[file], own.get(file)):
            report.right.append(file)
        elif file == TABLE and len(set(_ptbxl_counts(folder, 0))) == 1:
            report.missing.append(file)
        else:
            report.wrong.append((file, f"SHA-256 {found}, expected {sums[file]}"))
    return report
