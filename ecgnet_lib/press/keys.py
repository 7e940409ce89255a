"""When must a page be executed again? When its key changes, and only then.

The key of a page is the SHA-256 of everything that its results depend on: its code cells, its
parameters, the modules of this library that it imports (and those that they import, and the data
files that any of them names), the recordings at hand, the lock of the environment, and the keys of
the pages that it comes after. Prose is not in it: a corrected sentence executes nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ecgnet_lib.errors import PageError, SourceError
from ecgnet_lib.press.pages import Page, tags

PACKAGE = "ecgnet_lib"
DOTTED = re.compile(rf"{PACKAGE}(\.\w+)+")
WHERE = (f"{PACKAGE}/**/*", "book/**/*", "data/*.sha256")  # files that the project ships
NOT_DATA = {".py", ".pyc", ".ipynb", ".md", ".part"}


class Library:
    """The modules of this library and the data files beside them, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[Path, tuple[str, set[Path]]] = {}  # SHA-256, files that it leads to
        self.data: dict[str, list[Path]] = {}  # by bare file name
        found = [
            *root.glob(f"{PACKAGE}/**/*"),
            *root.glob("book/**/*"),
            *root.glob("data/*.sha256"),
        ]
        for path in sorted(found):
            if path.suffix not in NOT_DATA and path.is_file():
                self.data.setdefault(path.name, []).append(path)

    def used_by(self, code: str, file: str = "page") -> dict[str, str]:
        """Return {path relative to the project: SHA-256} of all files that the code depends on.

        Found by reading, not running: imports at any depth of nesting, followed through the
        library, module names in strings, and data files by the names that occur as strings.
        """
        try:
            names, strings = mentions(ast.parse(code), PACKAGE)
        except SyntaxError as error:
            raise PageError("the code is not Python", file=file, found=error) from None
        hashes: dict[str, str] = {}
        todo = self._files(names, strings)
        while todo:
            path = todo.pop()
            relative = path.relative_to(self.root).as_posix()
            if relative not in hashes:
                if path not in self.known:
                    self.known[path] = self._read(path, relative)
                hashes[relative], further = self.known[path]
                todo |= further
        return hashes

    def _read(self, path: Path, relative: str) -> tuple[str, set[Path]]:
        content, further = path.read_bytes(), set()
        if path.suffix == ".py":
            package = ".".join(path.relative_to(self.root).parent.parts)
            try:
                further = self._files(*mentions(ast.parse(content), package))
            except SyntaxError as error:
                raise PageError("the module is not Python", file=relative, found=error) from None
        return hashlib.sha256(content).hexdigest(), further

    def _files(self, names: Iterable[str], strings: Iterable[str]) -> set[Path]:
        files = {path for text in strings for path in self.data.get(text.rpartition("/")[2], ())}
        for name in names:
            parts = name.split(".")
            if parts[0] != PACKAGE:
                continue
            for end in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b as well
                stem = self.root.joinpath(*parts[:end])
                files |= {p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()}
        return files


def mentions(tree: ast.Module, package: str) -> tuple[set[str], set[str]]:
    """Return the dotted names that code imports and the strings in it that may name a file.

    package: the dotted package that the code belongs to, to resolve relative imports.
    """
    names: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            parents = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if DOTTED.fullmatch(node.value):
                names.add(node.value)
            elif 0 < len(node.value) < 200 and "\n" not in node.value:
                strings.add(node.value)
    return names, strings


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
    from ecgnet_lib.sources import SOURCES

    return frozenset(mentions(ast.parse(code), "")[1] & SOURCES.keys())


def data_manifest(dataset: str, fs_hz: float, named: frozenset[str] = frozenset()) -> str:
    """Return what tells the recordings that a page reads apart from any others.

    That is the source that `dataset` stands for at fs_hz and its listing, which may download it,
    and the listings of the sources named, as far as they are at hand.
    """
    from ecgnet_lib import sources

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
