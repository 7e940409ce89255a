"""The databases of the book: find one, fetch it, check it, or choose one for a page.

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

from ecgnet_lib.datasets.download import SUMS, fetch, offline, read_sums
from ecgnet_lib.errors import SourceError
from ecgnet_lib.paths import DATA

PHYSIONET = "https://physionet.org/files/"
LISTS = DATA  # our own lists of checksums stand here
TABLE = "ptbxl_database.csv"
_UNASKED_MB = 100  # the most that a page fetches without having been told to


@dataclass(frozen=True)
class Source:
    """A database of recordings: a row of `sources.csv`.

    version     the publisher's release that is fetched; of PTB-XL's recordings 1-500 the one from
                which the checksums in data/ptbxl-500.sha256 were taken
    folder      its folder on PhysioNet, in a mirror of PhysioNet, and under data/; "" if embedded
    size_mb     about how much is fetched; of PTB-XL at 100 Hz
    headers     pattern of its recordings' header files, relative to its folder
    keep        only files whose path starts so belong to it ("" for all)
    """

    name: str
    title: str
    version: str
    folder: str
    licence: str
    doi: str
    recordings: int
    size_mb: int
    headers: str
    keep: str
    citation: str

    @property
    def url(self) -> str:
        """Where the files are; ECGNET_PHYSIONET names a mirror in place of PhysioNet."""
        base = os.environ.get("ECGNET_PHYSIONET") or PHYSIONET
        return f"{base.rstrip('/')}/{self.folder}/{self.version}/"


def _read() -> dict[str, Source]:
    """Read the rows; a part ("challenge-2021/ptb") takes empty cells from the whole."""
    rows: dict[str, dict] = {}
    with Path(__file__).with_name("sources.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            whole = rows.get(row["name"].partition("/")[0], row)
            rows[row["name"]] = {key: value or whole[key] for key, value in row.items()}
    for row in rows.values():
        row.update(recordings=int(row["recordings"]), size_mb=int(row["size_mb"]))
    return {name: Source(**row) for name, row in rows.items()}


SOURCES: dict[str, Source] = _read()


class Place(NamedTuple):
    """Where a source is read from, in full or in part.

    root    its folder; None for virtual patients, who are made
    note    a sentence that says so, for people; never a path
    mirror  whether the folder is in ECGNET_DATA
    whole   whether all recordings are there
    """

    name: str
    root: Path | None
    note: str
    mirror: bool = False
    whole: bool = True


@dataclass
class Report:
    """What `verify` found; file names are relative to the source's folder."""

    name: str
    right: list[str] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)  # file, what was found
    missing: list[str] = field(default_factory=list)  # of a partial copy, or at another rate

    @property
    def passed(self) -> bool:
        """Something could be checked, and nothing at hand is wrong (a part may be missing)."""
        return bool(self.right) and not self.wrong

    def __str__(self) -> str:
        right, wrong, missing = map(len, (self.right, self.wrong, self.missing))
        return f"{self.name}: {right:,} right, {wrong:,} wrong, {missing:,} missing"


def source_of(name: str) -> Source:
    """The source called `name`; an unknown name is refused with the nearest one."""
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name.lower(), SOURCES, n=1, cutoff=0.4)
    remedy = f"did you mean {near[0]!r}?" if near else "take one of these names"
    expected = f"one of {', '.join(SOURCES)}"
    raise SourceError(f"there is no source called {name!r}", expected=expected, remedy=remedy)


def _stored(name: str) -> Source:
    """The source called `name`, which has files."""
    source = source_of(name)
    if not source.folder:
        raise SourceError(f"{name!r} is made, not stored", remedy="choose it as the data of a page")
    return source


def data_root() -> Path:
    """The folder that ECGNET_DATA names, else data/; SourceError if ECGNET_DATA is no folder."""
    named = os.environ.get("ECGNET_DATA")
    if not named:
        return DATA
    if not Path(named).is_dir():
        what, expected = "ECGNET_DATA does not name a folder", "the one that holds ptb-xl/, ludb/"
        raise SourceError(what, expected=expected, found=repr(named), remedy="correct or unset it")
    return Path(named)


def locate(name: str) -> Path:
    """Folder of a source that is at hand, whole or in part; else SourceError says how to get it."""
    return _first_place(_stored(name)).root


def state(name: str) -> str:
    """How much of a source is at hand and where, for a list of all; "" if nothing is."""
    source = source_of(name)
    if not source.folder:
        return "embedded"
    return next((place.note for place in _places(source)), "")


def _first_place(source: Source, fs_hz: float = 100) -> Place:
    """The place that is read; SourceError says how to get the source if there is none."""
    for place in _places(source, fs_hz):
        return place
    get_it = f"data get {source.name}" + (f" --fs-hz {fs_hz:g}" if fs_hz > 100 else "")
    remedy = f"python -m ecgnet_lib {get_it}, or name a copy with ECGNET_DATA"
    expected = f"recordings in ECGNET_DATA or data/, in the folder {source.folder!r}"
    what = f"the source {source.name!r} is not at hand"
    raise SourceError(what, expected=expected, remedy=remedy)


def _places(source: Source, fs_hz: float = 100) -> Iterator[Place]:
    """Each place that holds recordings of a source, those in ECGNET_DATA first."""
    for root in dict.fromkeys((data_root(), DATA)):
        mirror = root != DATA
        for base in (root / source.folder, root / "physionet.org/files" / source.folder):
            # What we fetch has the release that we name; a mirror may have any.
            others = sorted(base.glob("[0-9]*.[0-9]*"), reverse=True) if mirror else []
            for folder in dict.fromkeys((base / source.version, *others, base)):
                if not (count := _count(source, folder, fs_hz)):
                    continue
                whole = count >= source.recordings
                part = "complete" if whole else f"{count:,} of {source.recordings:,} recordings"
                note = f"{source.title}, {part}, read from {'ECGNET_DATA' if mirror else 'data/'}"
                yield Place(source.name, folder, note, mirror, whole)


def _count(source: Source, folder: Path, fs_hz: float) -> int:
    """How many of the source's recordings have a header in the folder."""
    if not source.name.startswith("ptbxl"):
        return sum(1 for _ in folder.glob(source.headers))
    ids = _ptbxl_ids(folder, fs_hz) if (folder / TABLE).is_file() else set()
    return sum(source.name == "ptbxl" or int(number) <= source.recordings for number in ids)


def _ptbxl_ids(folder: Path, fs_hz: float = 100) -> set[str]:
    """The numbers ("00001") of PTB-XL's recordings in a folder; above 100 Hz those at 500 Hz."""
    rates = ("records500",) if fs_hz > 100 else ("records100", "records500")
    headers = (header for rate in rates for header in folder.glob(f"{rate}/*/[0-9]*.hea"))
    return {header.name.partition("_")[0] for header in headers}


def get(name: str, fs_hz: float = 100) -> tuple[int, int]:
    """Fetch a source into data/ and check every file; what is there and right is not fetched again.

    Of PTB-XL the rate of 100 Hz is fetched, or that of 500 Hz if fs_hz is more than 100.
    `ptbxl-500` and `ludb` are checked against the checksums in data/, the rest against PhysioNet's
    own SHA256SUMS.txt, which is fetched first: it shows that the files arrived as the server has
    them; trust in the server rests on its certificate. Returns how many files belong there and how
    many it fetched. Raises SourceError; files that have arrived stay.
    """
    source = _stored(name)
    folder = DATA / source.folder / source.version
    pinned, other_rate = LISTS / f"{name}.sha256", "records500/" if fs_hz <= 100 else "records100/"
    if not pinned.is_file():
        fetch({SUMS: None}, source.url, folder, label=f"{name}, checksums")
    listed = read_sums(pinned if pinned.is_file() else folder / SUMS).items()
    listed = [(f, sha) for f, sha in listed if f.startswith(source.keep)]
    sums = {file: sha for file, sha in listed if not file.startswith(other_rate)}
    return len(sums), fetch(sums, source.url, folder, label=name)


def choose(dataset: str = "auto", fs_hz: float = 100) -> Place:
    """The source that a page reads at fs_hz, and where.

    "auto" is PTB-XL: the copy that ECGNET_DATA names; else what data/ holds; else `ptbxl-500` is
    downloaded; else, without a network, `simulated`. A source that is named is taken (downloaded
    if it is not at hand, and no more than 100 MB), or SourceError.
    """
    if dataset != "auto":
        return _named(source_of(dataset), fs_hz)
    for name in ("ptbxl", "ptbxl-500"):
        for place in _places(SOURCES[name], fs_hz):
            if place.mirror or name == "ptbxl" or place.whole:
                return place
    first = SOURCES["ptbxl-500"]
    why = "ECGNET_OFFLINE forbids every request"
    if not offline():
        folder, file = DATA / first.folder / first.version, "scp_statements.csv"
        wanted = {file: read_sums(LISTS / f"{first.name}.sha256")[file]}
        try:
            fetch(wanted, first.url, folder, label="asking PhysioNet", attempts=1)
        except SourceError as error:
            why = f"the download from PhysioNet failed: {error.found or error.what}"
        else:  # a failure from here on is an error: a second run continues the download
            return _named(first, fs_hz)
    if os.environ.get("ECGNET_DATA"):
        why = f"ECGNET_DATA holds no PTB-XL; {why}"
    for place in _places(first, fs_hz):  # a download that was interrupted
        return place._replace(note=f"{place.note}; {why}")
    note = f"SIMULATED ECGs: no real recording was at hand ({why})."
    return Place("simulated", None, f"{note} No number on this page was measured on a patient.")


def _named(source: Source, fs_hz: float) -> Place:
    """`choose` for a source that the reader named."""
    if not source.folder:
        return Place(source.name, None, "SIMULATED ECGs, as asked for.")
    place = next(_places(source, fs_hz), None)
    if source.size_mb <= _UNASKED_MB and not (place and (place.mirror or place.whole)):
        get(source.name, fs_hz)
    return _first_place(source, fs_hz)


def verify(name: str) -> Report:
    """Compare the files of a source that are at hand with the published SHA-256.

    The list is ours in data/ (`ptbxl-500`, `ludb`), else the copy's SHA256SUMS.txt without texts
    (.txt); a file of another release is right if the copy's own list has it so. What a partial copy
    lacks is missing, and so is a table of PTB-XL with one row for each recording at hand; one cut
    short is wrong. Raises SourceError if the source is not at hand or no list is.
    """
    import pooch
    from tqdm import tqdm

    source, folder, report = source_of(name), locate(name), Report(name)
    pinned, published = LISTS / f"{name}.sha256", folder / SUMS
    own = read_sums(published) if published.is_file() else {}
    if pinned.is_file():
        sums = read_sums(pinned)
    elif not own:
        expected = "the list of checksums beside the files"
        remedy = f"fetch {source.url}{SUMS} into the folder of the copy"
        what = "no list of checksums is at hand"
        raise SourceError(what, file=SUMS, expected=expected, remedy=remedy)
    else:
        files = [f for f in own if f.startswith(source.keep) and not f.endswith(".txt")]
        sums = {file: own[file] for file in files}
        if name == "ptbxl":  # a partial copy may have a partial list; ours covers recordings 1-500
            sums = read_sums(LISTS / "ptbxl-500.sha256") | sums
    for file in tqdm(sums, desc=f"verify {name}", unit="file", mininterval=0.5):
        path = folder / file
        if not path.is_file():
            report.missing.append(file)
        elif (found := pooch.file_hash(path)) in (sums[file], own.get(file)):
            report.right.append(file)
        elif file == TABLE and _rows(path) == _ptbxl_ids(folder):
            report.missing.append(file)
        else:
            report.wrong.append((file, f"SHA-256 {found}, expected {sums[file]}"))
    return report


def _rows(table: Path) -> set[str]:
    """The numbers ("00001") of the recordings that a table of PTB-XL names."""
    with table.open(encoding="utf-8", errors="replace", newline="") as lines:
        return {str(row.get("ecg_id")).zfill(5) for row in csv.DictReader(lines)}
