"""Where recordings come from: find a source, fetch it, check it, or choose one for a page.

A copy in PhysioNet's layout that ECGNET_DATA names is read in place and never written to; what is
fetched lands under data/. ECGNET_OFFLINE=1 forbids every request. Importing this is cheap.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from ecgnet_lib.datasets import local
from ecgnet_lib.datasets.catalogue import SOURCES, Source
from ecgnet_lib.datasets.download import SUMS, Patience, fetch, offline, read_sums, sha256
from ecgnet_lib.datasets.local import (
    TABLE,
    data_root,
    locate,
    places,
    source_of,
    state,
    table,
    told,
)
from ecgnet_lib.errors import SourceError

__all__ = ["SOURCES", "Choice", "Got", "Report", "Source", "choose", "data_root", "get"]
__all__ += ["locate", "offline", "source_of", "state", "verify"]

LISTS = local.DATA  # our own lists of checksums stand here
_QUICK = Patience(attempts=1, connect_s=3.0, read_s=10.0)  # is there a network at all?
_UNASKED_MB = 100  # the most that a page fetches without having been told to


@dataclass(frozen=True)
class Choice:
    """The source that a page reads: its folder (None if simulated), and a sentence that says so."""

    name: str
    root: Path | None
    note: str


@dataclass(frozen=True)
class Got:
    """What `get` did: where the files are, how many belong there, how many of them it fetched."""

    folder: Path
    files: int
    fetched: int
    size_mb: float


@dataclass
class Report:
    """What `verify` found; file names are relative to the source's folder.

    right    equal to the published file
    wrong    not equal: (file, what was found)
    differs  not equal, for a known reason that leaves the recordings alone: (file, reason)
    missing  published, and not at hand: a partial copy, or another sampling rate
    unlisted recordings' files at hand that no list of checksums names
    """

    name: str
    right: list[str] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    differs: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Something could be checked, and nothing at hand is wrong (a part may be missing)."""
        return bool(self.right) and not self.wrong

    def __str__(self) -> str:
        words = ("right", "wrong", "differs", "missing", "unlisted")
        counts = ", ".join(f"{len(getattr(self, word)):,} {word}" for word in words)
        return f"{self.name}: {counts}"


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
    folder = local.DATA / source.folder / source.version
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
    fetched, size = fetch(sums, source.url, folder, label=name, patience=patience)
    return Got(folder, len(sums), fetched, size / 1e6)


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
        for folder, copy, n in places(SOURCES[name], fs_hz):
            if copy or name == "ptbxl" or n == SOURCES[name].recordings:
                return Choice(name, folder, told(SOURCES[name], n, copy))
    first = SOURCES["ptbxl-500"]
    why = "ECGNET_OFFLINE forbids every request"
    if not offline():
        folder, file = local.DATA / first.folder / first.version, "scp_statements.csv"
        wanted = {file: read_sums(LISTS / f"{first.name}.sha256")[file]}
        try:
            fetch(wanted, first.url, folder, label="asking PhysioNet", patience=_QUICK)
        except SourceError as error:
            why = f"the download from PhysioNet failed: {error.found or error.what}"
        else:  # from here on a failure is told, not covered up: a second try goes on where it was
            return _named(first, fs_hz)
    if os.environ.get("ECGNET_DATA"):
        why = f"ECGNET_DATA holds no PTB-XL; {why}"
    for folder, copy, n in places(first, fs_hz):  # a download that was interrupted
        return Choice(first.name, folder, f"{told(first, n, copy)}; {why}")
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
    held = next(places(source, fs_hz), None)
    incomplete = held is None or not (held[1] or held[2] >= source.recordings)
    if incomplete and source.size_mb <= _UNASKED_MB:
        get(source.name, fs_hz)
        held = next(places(source, fs_hz), None)
    if held is not None:
        folder, copy, n = held
        return Choice(source.name, folder, told(source, n, copy))
    locate(source.name)  # says how to get it
    raise SourceError(
        f"the source {source.name!r} is not at hand at {fs_hz:g} Hz",
        remedy=f"python -m ecgnet_lib data get {source.name} with that sampling rate",
    )


def verify(name: str) -> Report:
    """Compare the files of a source that are at hand with the published SHA-256.

    The list is ours in data/ (`ptbxl-500`, `ludb`), else the copy's SHA256SUMS.txt; what a partial
    copy lacks is listed as missing. A table of PTB-XL that has one row for each recording at hand,
    no more and no less, is that of a partial copy: it cannot be compared with the published one,
    stands under `differs` and does not fail the source; a table cut short does, because it has
    recordings without rows. So stand there texts whose line endings alone were changed, and files
    that our list refuses but the copy's own list, of another release, vouches for.
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
        sums = {file: digest for file, digest in own.items() if file.startswith(source.keep)}
        if name == "ptbxl":  # a partial copy may have a partial list; ours covers recordings 1-500
            sums = read_sums(LISTS / "ptbxl-500.sha256") | sums
    for file in tqdm(sums, desc=f"verify {name}", unit="file", mininterval=0.5):
        path = folder / file
        if not path.is_file():
            report.missing.append(file)
        elif (found := sha256(path)) == sums[file]:
            report.right.append(file)
        elif reason := _harmless(path, file, sums[file], own.get(file) == found):
            report.differs.append((file, reason))
        else:
            report.wrong.append((file, f"SHA-256 {found}, expected {sums[file]}"))
    for header in folder.glob(source.headers):
        for path in (header, header.with_suffix(".dat"), header.with_suffix(".mat")):
            file = path.relative_to(folder).as_posix()
            if file not in sums and path.is_file() and name != "ptbxl-500":
                report.unlisted.append(file)
    return report


def _harmless(path: Path, file: str, digest: str, vouched: bool) -> str:
    """Why a file that differs from the published one may be as it is; "" if it may not."""
    if vouched:
        return "the file of another release, as that release's own list has it"
    if file == TABLE:
        rows, n, stems = table(path.parent, 0)
        if rows == n == stems:
            return f"a part of the table, with the {rows:,} rows of the recordings at hand"
    elif path.suffix not in (".dat", ".mat"):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        for ending in (b"\n", b"\r\n"):
            if hashlib.sha256(text.replace(b"\n", ending)).hexdigest() == digest:
                return "the same text with other line endings"
    return ""
