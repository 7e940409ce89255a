"""When must a page be executed again? When its key changes, and only then.

The key of a page is the SHA-256 of everything that its results may depend on: its code cells, its
parameters, the rooms of the library that pages use, the stored results that it names, the
recordings at hand, the lock of the environment, and the keys of the pages that it comes after.
Prose is not in it: a corrected sentence executes nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from functools import cached_property
from pathlib import Path

from ecgnet_lib.errors import SourceError
from ecgnet_lib.press.pages import Page, tags

PACKAGE = "ecgnet_lib"
NOT_PAGES = {"press", "experiments", "bench", "__main__.py"}  # no page depends on these
BUT = tuple(f"press/{name}.py" for name in ("__init__", "record", "source"))  # but on these
SUFFIXES = {".py", ".csv", ".js"}
FILE_NAME = re.compile(r"[\w.-]+\.\w+")


class Library:
    """The library's files that pages depend on, and the files of the book that code names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def code(self) -> dict[str, bytes]:
        """Return {path relative to the project: content} of all code that pages may run."""
        package = self.root / PACKAGE
        files = [
            path
            for path in sorted(package.rglob("*"))
            if path.suffix in SUFFIXES and path.relative_to(package).parts[0] not in NOT_PAGES
        ]
        files += [package / name for name in BUT if (package / name).is_file()]
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}

    def used_by(self, code: str, *more: str) -> dict[str, str]:
        """Return {path relative to the project: SHA-256} of all files that code may depend on.

        That is all code of the rooms below `press`, the files `more`, and whatever stands under
        `book/` (or is a list of checksums in `data/`) and is named in any of these.
        """
        contents = self.code | {name: (self.root / name).read_bytes() for name in more}
        text = "\n".join([code, *(content.decode() for content in contents.values())])
        named = set(FILE_NAME.findall(text))
        for path in (*self.root.glob("book/**/*"), *self.root.glob("data/*.sha256")):
            if path.name in named and path.suffix not in (".ipynb", ".md") and path.is_file():
                contents[path.relative_to(self.root).as_posix()] = path.read_bytes()
        return {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)}


def page_code(page: Page) -> str:
    """Return the code cells of a page as one Python source, IPython's magics translated."""
    from IPython.core.inputtransformer2 import TransformerManager

    return "\n".join(TransformerManager().transform_cell(cell["source"]) for cell in page.code)


def page_key(
    page: Page, settings: dict[str, object], files: dict[str, str], data: str, after: dict[str, str]
) -> str:
    """Return the key of a page.

    settings: every parameter's value; files: as `Library.used_by` returns, with the lock among
    them; data: as `data_manifest` returns, or "" for a page that reads none; after: {page: key}.
    """
    parts = {
        "python": sys.version_info[:2],
        "cells": [[cell["source"], tags(cell)] for cell in page.code],
        "parameters": settings,
        "files": files,
        "data": data,
        "after": after,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def listing(folder: Path) -> str:
    """Return the SHA-256 of a folder's listing: every file's relative path, size and time.

    Thousands of recordings take milliseconds, reading them would take seconds. Hidden files and
    hidden folders, such as caches that the library writes itself, do not count.
    """
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                path = Path(parent, name)
                stat = path.stat()
                line = f"{path.relative_to(folder).as_posix()} {stat.st_size} {stat.st_mtime_ns}\n"
                digest.update(line.encode())
    return digest.hexdigest()


def sources_named(code: str) -> frozenset[str]:
    """Return the databases that a page names in its code, beside the one that it chooses."""
    from ecgnet_lib.datasets.sources import SOURCES

    nodes = ast.walk(ast.parse(code))
    return frozenset({n.value for n in nodes if isinstance(n, ast.Constant)} & SOURCES.keys())


def data_manifest(dataset: str, fs_hz: float, named: frozenset[str] = frozenset()) -> str:
    """Return what tells the recordings that a page reads apart from any others.

    That is the source that `dataset` stands for at fs_hz and its listing, which may download it,
    and the listings of the sources named, as far as they are at hand.
    """
    from ecgnet_lib.datasets import sources

    choice = sources.choose(dataset, fs_hz)
    folders = {choice.name: choice.root}
    for name in sorted(named - {choice.name, "simulated"}):
        try:
            folders[name] = sources.locate(name)
        except SourceError:
            folders[name] = None
    return json.dumps(
        {name: folder and listing(folder) for name, folder in sorted(folders.items())}
    )
