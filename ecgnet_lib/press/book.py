"""The pages of the book: their keys, and the execution of those whose key changed.

A page's key is the SHA-256 of all that its results may depend on: its code cells, its parameters,
the library, the stored results that it names, the recordings, and the lock of the environment.
Prose is not in it: a corrected sentence executes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

from ecgnet_lib.errors import PageError, SourceError
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.pages import Page, read_page
from ecgnet_lib.press.record import recorded
from ecgnet_lib.press.run import Job, ensure_executed, executed

NOT_PAGES = {"press", "experiments", "bench", "__main__.py"}  # no page depends on these
SUFFIXES = {".py", ".pyi", ".csv", ".js"}
BUT = ("press/__init__.py", "press/record.py")  # except on these
FILE_NAME = re.compile(r"[\w.-]+\.\w+")
UNSAFE = re.compile(r"[^\w.=-]+")  # in a file name
AT_ONCE = 2  # pages executed at the same time, each in one thread of its kernel


def digest(value: object) -> str:
    """Return the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def checksums(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return {path relative to root: SHA-256} of files."""
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {path.relative_to(root).as_posix(): hashes[path] for path in sorted(hashes)}


def listing(folder: Path) -> str:
    """Return the SHA-256 of a folder's listing: every file's relative path, size and time.

    Thousands of recordings take milliseconds, reading them would take seconds. Hidden files and
    hidden folders, such as caches that the library writes itself, do not count.
    """
    lines = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            stat, name = path.stat(), path.relative_to(folder).as_posix()
            lines.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return lines.hexdigest()


def data_manifest(dataset: str, code: str = "") -> str:
    """Return what identifies the recordings that a page reads.

    That is the source that `dataset` stands for and its listing, which may download it, and the
    listings of the sources that the code names as strings, as far as they are at hand.
    """
    from ecgnet_lib.datasets import sources

    choice = sources.choose(dataset)
    listings = {choice.name: choice.root and listing(choice.root)}
    named = {name for name in sources.SOURCES if re.search(f"([\"']){name}\\1", code)}
    for name in named - {choice.name, "simulated"}:
        try:
            listings[name] = listing(sources.locate(name))
        except SourceError:
            listings[name] = None
    return json.dumps(listings, sort_keys=True)


def contents(root: Path) -> list[str]:
    """Return the documents that _toc.yml lists, without suffix, in reading order."""
    from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

    try:
        names = list(parse_toc_yaml(root / "book" / "_toc.yml"))
    except (OSError, ValueError, MalformedError) as error:
        raise PageError("no table of contents", file="book/_toc.yml", found=error) from None
    missing = [n for n in names if n != "glance" and not any((root / "book").glob(f"{n}.*"))]
    if missing:
        raise PageError("pages are listed that do not exist", file="book/_toc.yml", found=missing)
    return names


class Book:
    """All pages, read and checked. Raises PageError on the first that cannot be trusted.

    manifest: what identifies the data of a page; tests pass something smaller. folder: below
    build/, where the executed pages lie.
    """

    def __init__(
        self, root: Path = ROOT, manifest: Callable = data_manifest, folder: str = "book"
    ) -> None:
        self.root, self.folder = root, root / "build" / folder
        self.documents = contents(root)
        files = [root / "book" / f"{name}.ipynb" for name in self.documents]
        self.pages: dict[str, Page] = {f.stem: read_page(f) for f in files if f.is_file()}
        self.manifest = cache(manifest)

    @cached_property
    def library(self) -> dict[str, str]:
        """Return {path: SHA-256} of the library that pages use, and of the files that it names."""
        package = self.root / "ecgnet_lib"
        paths = [path for path in package.rglob("*") if path.suffix in SUFFIXES]
        paths = [path for path in paths if path.relative_to(package).parts[0] not in NOT_PAGES]
        paths += [package / name for name in BUT if (package / name).is_file()]
        return self.with_named(paths)

    def with_named(self, paths: list[Path], code: str = "") -> dict[str, str]:
        """Return {path: SHA-256} of files, and of those in book/ and data/ that a text names."""
        text = "\n".join([code, *(path.read_text(encoding="utf-8") for path in paths)])
        names = set(FILE_NAME.findall(text))
        files = (*self.root.glob("book/**/*.*"), *self.root.glob("data/*.sha256"))
        named = [p for p in files if p.name in names and p.suffix not in (".ipynb", ".md")]
        return checksums(self.root, [*paths, *named])

    def files(self, code: str, *more: str) -> dict[str, str]:
        """Return {path: SHA-256} of what code may depend on: library, `more`, files they name."""
        return self.library | self.with_named([self.root / name for name in more], code)

    @cached_property
    def lock(self) -> str:
        """Return the SHA-256 of the lock of the environment."""
        return hashlib.sha256((self.root / "requirements.lock").read_bytes()).hexdigest()

    def page(self, name: str) -> Page:
        """Return a page by its name, '07_training' or '07' or 'training'; PageError if none."""
        found = [n for n in self.pages if n == name or name in n.split("_", 1)]
        if len(found) != 1:
            expected = f"one of {', '.join(self.pages)}"
            raise PageError(f"there is no page {name!r}", expected=expected)
        return self.pages[found[0]]

    def job(self, name: str, given: dict[str, object] | None = None) -> Job:
        """Return what it takes to bring a page up to date, with the parameters given."""
        page = self.pages[name]
        given = page.values(given or {})
        settings, data = page.settings(given), ""
        if "dataset" in settings:
            data = self.manifest(settings["dataset"], page.source)
            data = hashlib.sha256(data.encode()).hexdigest()
        parts = {
            "python": sys.version_info[:2],
            "lock": self.lock,
            "cells": page.cells,
            "parameters": settings,
            "files": self.files(page.source),
            "data": data,
        }
        out = self.folder / f"{name}.ipynb"
        return Job(page, given, digest(parts), out, self.root, self.lock, data)

    def refresh(self, log: Callable[[str], None]) -> None:
        """Execute the pages whose key changed, two at a time; give the others their present prose.

        Raises PageError at the end with every failure; what could be executed has been.
        """

        failures = []

        def execute(job: Job) -> None:
            try:
                ensure_executed(job, log)
            except PageError as error:
                log(f"  {job.page.name:<16} FAILED")
                failures.append(str(error))

        in_turn(execute, map(self.job, self.pages))
        if failures:
            what = f"{len(failures)} of {len(self.pages)} pages failed"
            raise PageError("\n\n".join([what, *failures]))


def in_turn(function: Callable[[Job], None], jobs: Iterable[Job]) -> None:
    """Call a function with each job, two at a time."""
    import psutil

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(function, jobs))
        except KeyboardInterrupt:  # kernels run in sessions of their own, which it does not reach
            for process in psutil.Process().children():
                process.kill()
            raise


def sweep(
    book: Book, name: str, given: dict, axes: dict[str, list], log: Callable[[str], None] = print
) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Execute a page for every combination of the axes' values; return [(settings, values)].

    The executed pages lie in build/runs/PAGE/; one that is up to date is not executed again, so a
    sweep that was cut off goes on where it was.
    """
    page, jobs = book.page(name), []
    for values in itertools.product(*axes.values()):  # all are checked before one is executed
        job = book.job(page.name, given | dict(zip(axes, values, strict=True)))
        slug = "_".join(f"{key}={value}" for key, value in job.given.items()) or "defaults"
        out = book.root / "build" / "runs" / page.name / f"{UNSAFE.sub('-', slug)}.ipynb"
        jobs.append(replace(job, out=out))
    in_turn(partial(ensure_executed, log=log), jobs)
    return [(job.given, recorded(executed(job))) for job in jobs]
