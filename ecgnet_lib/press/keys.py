"""What the results of a page may depend on: code, stored results, recordings.

`Book.job` makes a page's key of these, its code cells, its parameters and the lock of the
environment. A page is executed again when its key changes. Prose is not in it: a corrected sentence
executes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ecgnet_lib.errors import SourceError

NOT_PAGES = {"press", "experiments", "bench", "__main__.py"}  # no page depends on these
BUT = ("press/__init__.py", "press/record.py")  # except on these
FILE_NAME = re.compile(r"[\w.-]+\.\w+")


def library_files(root: Path) -> list[Path]:
    """Return all files of the library that pages may run or read."""
    package = root / "ecgnet_lib"
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".csv", ".js")]
    files = [path for path in files if path.relative_to(package).parts[0] not in NOT_PAGES]
    return files + [package / name for name in BUT if (package / name).is_file()]


def named_files(root: Path, text: str) -> list[Path]:
    """Return the files below book/, and the lists of checksums in data/, that a text names."""
    names = set(FILE_NAME.findall(text))
    files = (*root.glob("book/**/*.*"), *root.glob("data/*.sha256"))
    return [p for p in files if p.name in names and p.suffix not in (".ipynb", ".md")]


def checksums(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return {path relative to root: SHA-256} of files."""
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {path.relative_to(root).as_posix(): hashes[path] for path in sorted(hashes)}


def listing(folder: Path) -> str:
    """Return the SHA-256 of a folder's listing: every file's relative path, size and time.

    Thousands of recordings take milliseconds, reading them would take seconds. Hidden files and
    hidden folders, such as caches that the library writes itself, do not count.
    """
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            stat, name = path.stat(), path.relative_to(folder).as_posix()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def sources_named(code: str) -> frozenset[str]:
    """Return the databases that code names as strings."""
    from ecgnet_lib.datasets.sources import SOURCES

    return frozenset(name for name in SOURCES if re.search(f"([\"']){name}\\1", code))


def data_manifest(dataset: str, named: frozenset[str] = frozenset()) -> str:
    """Return what identifies the recordings that a page reads.

    That is the source that `dataset` stands for and its listing, which may download it, and the
    listings of the sources named, as far as they are at hand.
    """
    from ecgnet_lib.datasets import sources

    choice = sources.choose(dataset)
    folders = {choice.name: choice.root}
    for name in named - {choice.name, "simulated"}:
        try:
            folders[name] = sources.locate(name)
        except SourceError:
            folders[name] = None
    listings = {name: folder and listing(folder) for name, folder in folders.items()}
    return json.dumps(listings, sort_keys=True)
