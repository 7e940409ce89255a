"""The pages of the book, in the order in which they can be executed, and their keys."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from multiprocessing import get_context
from pathlib import Path

import yaml

from ecgnet_lib.errors import PageError
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.keys import Library, data_manifest, page_code, page_key, sources_named
from ecgnet_lib.press.pages import Page, read_page
from ecgnet_lib.press.run import Job, bring, executed, recorded_in, refresh, run

UNSAFE = re.compile(r"[^\w.=-]+")  # in a file name
AT_ONCE = 2  # pages executed at the same time, each in one thread


def contents(root: Path) -> list[str]:
    """Return the documents that _toc.yml lists, without suffix, in reading order."""
    file = root / "book" / "_toc.yml"

    def documents(node: object) -> list[str]:
        if isinstance(node, list):
            return [name for item in node for name in documents(item)]
        if not isinstance(node, dict):
            return []
        here = [node[key] for key in ("root", "file") if key in node]
        return here + [name for value in node.values() for name in documents(value)]

    try:
        names = documents(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, yaml.YAMLError) as error:
        raise PageError("no table of contents", file="book/_toc.yml", found=error) from None
    missing = [n for n in names if n != "glance" and not any((root / "book").glob(f"{n}.*"))]
    if missing:
        raise PageError("pages are listed that do not exist", file="book/_toc.yml", found=missing)
    return names


class Book:
    """All pages, read and checked. Raises PageError on the first that cannot be trusted.

    manifest: what tells the data of a page apart; tests pass something smaller.
    """

    def __init__(self, root: Path = ROOT, manifest: Callable[..., str] = data_manifest) -> None:
        self.root = root
        self.documents = contents(root)
        pages = [n for n in self.documents if (root / "book" / f"{n}.ipynb").is_file()]
        self.pages: dict[str, Page] = {n: read_page(root / "book" / f"{n}.ipynb") for n in pages}
        self.manifest = cache(manifest)
        for page in self.pages.values():
            if unknown := [name for name in page.after if name not in self.pages]:
                raise PageError(
                    "it comes after pages that are not there", file=page.file, found=unknown
                )
        try:
            self._sorter().prepare()
        except CycleError as error:
            raise PageError("pages wait for each other", found=" -> ".join(error.args[1])) from None

    def _sorter(self, names: set[str] | None = None) -> TopologicalSorter:
        return TopologicalSorter(
            {n: p.after for n, p in self.pages.items() if names is None or n in names}
        )

    @cached_property
    def library(self) -> Library:
        """Return the library's files, read when the first key asks."""
        return Library(self.root)

    @cached_property
    def lock(self) -> str:
        """Return the SHA-256 of the lock of the environment."""
        file = self.root / "requirements.lock"
        if not file.is_file():
            raise PageError("the lock of the environment is missing", file=file.name)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def page(self, name: str) -> Page:
        """Return a page by its name, '07_training' or '07' or 'training'; PageError if none."""
        found = [n for n in self.pages if n == name or name in n.split("_", 1)]
        if len(found) != 1:
            raise PageError(
                f"there is no page {name!r}", expected=f"one of {', '.join(self.pages)}"
            )
        return self.pages[found[0]]

    def key(self, name: str, given: dict[str, object] | None = None) -> str:
        """Return the key that a page has now, with some parameters set from outside."""
        page = self.pages[name]
        settings = page.settings(given or {})
        files = self.library.used_by(page_code(page))
        files["requirements.lock"] = self.lock
        data = self.data(page, settings)
        return page_key(page, settings, files, data, {n: self.key(n) for n in page.after})

    def data(self, page: Page, settings: dict[str, object]) -> str:
        """Return what tells the recordings of a page apart, "" where it reads none."""
        if "dataset" not in settings:
            return ""
        named = sources_named(page_code(page))
        return self.manifest(settings["dataset"], settings.get("fs_hz", 100), named)

    def job(self, name: str, given: dict[str, object] | None = None) -> Job:
        """Return what it takes to bring a page up to date, checked."""
        page = self.pages[name]
        given = page.values(given or {})
        data = self.data(page, page.settings(given))
        data = data and hashlib.sha256(data.encode()).hexdigest()
        file = self.root / "build" / "book" / f"{name}.ipynb"
        return Job(page, given, self.key(name, given), file, self.root, self.lock, data)

    def before(self, name: str) -> set[str]:
        """Return the pages that a page comes after, at any distance."""
        near = set(self.pages[name].after)
        return near.union(*(self.before(n) for n in near))

    def refresh(self, say: Callable[[str], None], names: set[str] | None = None) -> None:
        """Bring all pages, or the named ones, up to date, two at a time where they allow it.

        Raises PageError at the end with every failure; what could be executed has been.
        """
        sorter = self._sorter(names)
        sorter.prepare()
        failed: dict[str, str] = {}
        stale: deque[Job] = deque()
        running: dict[Future, str] = {}

        def finish(name: str, state: str) -> None:
            say(f"  {name:<16} {state}")
            sorter.done(name)

        with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
            while sorter.is_active():
                for name in sorter.get_ready():
                    page, job = self.pages[name], self.job(name)
                    if bad := [n for n in page.after if n in failed]:
                        failed[name] = f"{page.file}: not executed, since {bad[0]} failed"
                        finish(name, "not executed")
                    elif state := refresh(job):
                        finish(name, state)
                    else:
                        stale.append(job)
                while stale and len(running) < AT_ONCE:
                    job = stale.popleft()
                    say(f"  {job.page.name:<16} executing ...")
                    running[pool.submit(run, job)] = job.page.name
                if not running:
                    continue
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    try:
                        finish(name, future.result())
                    except (PageError, BrokenProcessPool) as error:
                        failed[name] = str(error)
                        finish(name, "FAILED")
        if failed:
            text = "\n\n".join(failed.values())
            raise PageError(f"{len(failed)} of {len(self.pages)} pages failed\n\n{text}")


def sweep(
    book: Book,
    name: str,
    given: dict[str, object],
    axes: dict[str, list[object]],
    say: Callable[[str], None] = print,
) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Execute a page for every combination of the axes' values; return [(settings, values)].

    The executed pages lie in build/runs/PAGE/; one that is up to date is not executed again, so a
    sweep that was cut off goes on where it was. Pages that it comes after are brought up to date.
    """
    page = book.page(name)
    jobs = []
    for values in itertools.product(*axes.values()):  # all are checked before one is executed
        job = book.job(page.name, given | dict(zip(axes, values, strict=True)))
        slug = "_".join(f"{key}={value}" for key, value in job.given.items()) or "defaults"
        out = book.root / "build" / "runs" / page.name / f"{UNSAFE.sub('-', slug)}.ipynb"
        jobs.append(replace(job, out=out))
    if before := book.before(page.name):
        book.refresh(say, before)
    results = []
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        for job, state in zip(jobs, pool.map(bring, jobs), strict=True):
            say(f"  {job.out.stem:<30} {state}")
            results.append((job.given, recorded_in(executed(job), page.file)))
    return results
