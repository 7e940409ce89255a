"""The databases of the book: where published, under which licence, how to cite."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

PHYSIONET = "https://physionet.org/files/"


@dataclass(frozen=True)
class Source:
    """A database of recordings: a row of `sources.csv`.

    name        what the pages and the command line call it
    version     the publisher's release that is fetched; of PTB-XL's recordings 1-500 the one from
                which the checksums in data/ptbxl-500.sha256 were taken
    folder      its folder on PhysioNet, in a mirror of PhysioNet, and under data/; "" if embedded
    recordings  how many there are in the whole publication
    size_mb     about how much is fetched, in megabytes; of PTB-XL at 100 Hz
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
        if not self.folder:
            return ""
        base = os.environ.get("ECGNET_PHYSIONET") or PHYSIONET
        return f"{base.rstrip('/')}/{self.folder}/{self.version}/"


def _read() -> dict[str, Source]:
    """Read the rows; a part ("challenge-2021/ptb") takes empty cells from the whole."""
    rows: dict[str, dict] = {}
    with Path(__file__).with_name("sources.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            whole = rows.get(row["name"].partition("/")[0], row)
            rows[row["name"]] = {key: value or whole[key] for key, value in row.items()}
    numbers = ("recordings", "size_mb")
    return {name: Source(**row | {k: int(row[k]) for k in numbers}) for name, row in rows.items()}


SOURCES: dict[str, Source] = _read()
