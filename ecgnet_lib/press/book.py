"""The pages of the book: their keys, and the execution of those whose key changed."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press import keys
from ecgnet_lib.press.pages import Page, read_page, tags
from ecgnet_lib.press.record import recorded
from ecgnet_lib.press.run import Job, ensure_executed, executed

UNSAFE = re.compile(r"[^\w.=-]+")  # in a file name
AT_ONCE = 2  # pages executed at the same time, each in one thread of its kernel


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

    manifest: what identifies the data of a page; tests pass something smaller.
    """

    def __init__(
        self, root: Path = ROOT, manifest: Callable[..., str] = keys.data_manifest
    ) -> None:
        self.root = root
        self.documents = contents(root)
        files = [root / "book" / f"{name}.ipynb" for name in self.documents]
        self.pages: dict[str, Page] = {f.stem: read_page(f) for f in files if f.is_file()}
        self.manifest = cache(manifest)

    @cached_property
    def library(self) -> dict[str, str]:
        """Return {path: SHA-256} of the library that pages use, and of the files that it names."""
        paths = keys.library_files(self.root)
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        return keys.checksums(self.root, [*paths, *keys.named_files(self.root, text)])

    @cached_property
    def lock(self) -> str:
        """Return the SHA-256 of the lock of the environment."""
        file = self.root / "requirements.lock"
        if not file.is_file():
            raise PageError("the lock of the environment is missing", file=file.name)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def files(self, code: str, *more: str) -> dict[str, str]:
        """Return {path: SHA-256} of what code may depend on.

        That is the library, the files `more`, and the files of the book that code or `more` name.
        """
        paths = [self.root / name for name in more]
        text = "\n".join([code, *(path.read_text(encoding="utf-8") for path in paths)])
        return self.library | keys.checksums(
            self.root, [*paths, *keys.named_files(self.root, text)]
        )

    def page(self, name: str) -> Page:
        """Return a page by its name, '07_training' or '07' or 'training'; PageError if none."""
        found = [n for n in self.pages if n == name or name in n.split("_", 1)]
        if len(found) != 1:
            raise PageError(
                f"there is no page {name!r}", expected=f"one of {', '.join(self.pages)}"
            )
        return self.pages[found[0]]

    def job(self, name: str, given: dict[str, object] | None = None) -> Job:
        """Return what it takes to bring a page up to date, with some parameters set from outside.

        Its key is the SHA-256 of everything that the results of the page may depend on.
        """
        page = self.pages[name]
        given = page.values(given or {})
        settings, data = page.settings(given), ""
        if "dataset" in settings:
            data = self.manifest(settings["dataset"], keys.sources_named(page.source))
            data = hashlib.sha256(data.encode()).hexdigest()
        parts = {
            "python": sys.version_info[:2],
            "lock": self.lock,
            "cells": [[cell["source"], tags(cell)] for cell in page.code],
            "parameters": settings,
            "files": self.files(page.source),
            "data": data,
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        out = self.root / "build" / "book" / f"{name}.ipynb"
        return Job(page, given, key, out, self.root, self.lock, data)

    def refresh(self, log: Callable[[str], None]) -> None:
        """Execute the pages whose key changed, two at a time; give the others their present prose.

        Raises PageError at the end with every failure; what could be executed has been.
        """

        def failure(job: Job) -> str | None:
            try:
                ensure_executed(job, log)
            except PageError as error:
                log(f"  {job.page.name:<16} FAILED")
                return str(error)

        if failures := list(filter(None, in_turn(failure, map(self.job, self.pages)))):
            what = f"{len(failures)} of {len(self.pages)} pages failed"
            raise PageError("\n\n".join([what, *failures]))


def in_turn(function: Callable[[Job], object], jobs: Iterable[Job]) -> list:
    """Call a function with each job, two at a time; return what it returned, in order."""
    import psutil

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            return list(pool.map(function, jobs))
        except KeyboardInterrupt:  # kernels run in sessions of their own, which it does not reach
            for process in psutil.Process().children():
                process.kill()
            raise


def sweep(
    book: Book,
    name: str,
    given: dict[str, object],
    axes: dict[str, list[object]],
    log: Callable[[str], None] = print,
) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Execute a page for every combination of the axes' values; return [(settings, values)].

    The executed pages lie in build/runs/PAGE/; one that is up to date is not executed again, so a
    sweep that was cut off goes on where it was.
    """
    page = book.page(name)
    jobs = []
    for values in itertools.product(*axes.values()):  # all are checked before one is executed
        job = book.job(page.name, given | dict(zip(axes, values, strict=True)))
        slug = "_".join(f"{key}={value}" for key, value in job.given.items()) or "defaults"
        out = book.root / "build" / "runs" / page.name / f"{UNSAFE.sub('-', slug)}.ipynb"
        jobs.append(replace(job, out=out))
    in_turn(partial(ensure_executed, log=log), jobs)
    return [(job.given, recorded(executed(job))) for job in jobs]
