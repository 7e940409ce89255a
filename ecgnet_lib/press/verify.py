"""For reviewers: execute every page from nothing, recompute every metric, say what moved.

`verify` writes build/verify/index.html and manifest.json and returns what is wrong, by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from ecgnet_lib.errors import EcgnetError, PageError
from ecgnet_lib.experiments.common import seal, sha256, stored_files
from ecgnet_lib.files import write_atomic, write_json
from ecgnet_lib.press.book import ROOT, Book
from ecgnet_lib.press.claims import verdict
from ecgnet_lib.press.ledger import ledger_rows
from ecgnet_lib.press.numbers import book_texts, check_numbers
from ecgnet_lib.press.pages import Page, tags
from ecgnet_lib.press.recompute import CHECKS, Finding, check_intervals
from ecgnet_lib.press.record import recorded
from ecgnet_lib.press.report import report
from ecgnet_lib.press.run import Job, executed

PAGES = Path("book", "results", "pages", "values.json")  # of each page when it was accepted
RELATIVE, ABSOLUTE = 0.01, 0.005  # another processor rounds otherwise; the same one gives the same
TIMED = re.compile(r"(?:06_model: (?:pass_ms|slowest|slowest_share)|07_training: seconds)$")
FIGURE = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


class Fresh(Book):
    """The book, executed into an empty folder of its own."""

    def job(self, name: str, given: dict[str, object] | None = None) -> Job:
        """Return the page's job with its result below build/verify/."""
        out = self.root / "build" / "verify" / "pages" / f"{name}.ipynb"
        return replace(super().job(name, given), out=out)


def page_digest(page: Page) -> str:
    """Return the SHA-256 of what is executed of a page: its code cells and their tags."""
    cells = [[cell["source"], tags(cell)] for cell in page.code]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def data_said(notebook: dict) -> list[str]:
    """Return the sentences in which an executed page says which data it ran on."""
    texts = [
        output.get("data", {}).get("text/plain", "")
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
    ]
    texts = ["".join(text) for text in texts]
    notes = [t for t in texts if t.startswith(("Data of this page.", "Simulated data."))]
    return [note.partition(", read from")[0] for note in notes]


def check_prose(book: Book) -> Iterator[Finding]:
    """Look for numbers in the prose that no page recorded."""
    try:
        check_numbers(book.root, book_texts(book.root))
        yield Finding("pages", "numbers in the prose", "recorded", "recorded", True)
    except PageError as error:
        yield Finding("pages", "numbers in the prose", "recorded", str(error), False)


def check_code(book: Book) -> Iterator[Finding]:
    """Hold the code of every page against that of the accepted pages."""
    held = accepted_pages(book.root)
    for name in sorted(book.pages.keys() | held):
        said = held.get(name, {}).get("code", "not recorded")
        found = page_digest(book.pages[name]) if name in book.pages else "missing"
        yield Finding("pages", f"book/{name}.ipynb: its code", said, found, said == found)


def check_values(book: Book) -> Iterator[Finding]:
    """Hold the values of the executed pages against the stored ones, where the data are the same.

    On other data values differ, as they should: then they are shown and not compared.
    """
    held = accepted_pages(book.root)
    for name in book.pages:
        notebook = executed(book.job(name))
        if notebook is None:
            yield Finding("values", f"{name}: executed", "yes", "no", False)
            continue
        old, new = held.get(name, {}), recorded(notebook)
        same_data = old.get("data") == data_said(notebook)
        if not same_data:
            said = "; ".join(data_said(notebook)) or "no data"
            yield Finding("values", f"{name}: data", old.get("data"), f"{said}: not compared", True)
        for key in sorted(new.keys() | old.get("values", {})):
            subject, before = f"{name}: {key}", old.get("values", {}).get(key)
            now = new.get(key)
            compared = same_data and not TIMED.match(subject)
            good = not compared or alike(before, now)
            numbers = all(type(v) in (int, float) for v in (before, now))
            yield Finding("values", subject, before, now, good, now - before if numbers else None)


def alike(old: object, new: object) -> bool:
    """Return whether two recorded values agree: words exactly, each number in them nearly."""
    if old is None or new is None or isinstance(old, bool):
        return old == new
    words = [FIGURE.sub("#", str(value)) for value in (old, new)]
    pairs = zip(*(FIGURE.findall(str(value)) for value in (old, new)), strict=False)
    numbers = [[float(text.replace(",", "")) for text in pair] for pair in pairs]
    near = (abs(a - b) <= ABSOLUTE + RELATIVE * abs(a) for a, b in numbers)
    return words[0] == words[1] and all(near)


def accepted_pages(root: Path) -> dict[str, dict]:
    """Return {page: {"code": SHA-256, "data": sentences, "values": recorded}}."""
    file = root / PAGES
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def record_pages(book: Book) -> None:
    """Make what the executed pages hold now the stored values."""
    pages = {}
    for name, page in book.pages.items():
        notebook = executed(book.job(name))
        values, data = recorded(notebook), data_said(notebook)
        pages[name] = {"code": page_digest(page), "data": data, "values": values}
    write_json(book.root / PAGES, pages)
    seal("pages/values.json")


def guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; what it cannot read is a finding, and not the end."""
    found = []
    try:
        for finding in check():
            found.append(finding)
    except (EcgnetError, OSError, KeyError, IndexError, ValueError) as error:
        name = check.__name__.removeprefix("check_")
        said = str(error) if isinstance(error, EcgnetError) else repr(error)
        found.append(Finding(name, "the check itself", "possible", said, False))
    return found


def environment(root: Path) -> dict[str, object]:
    """Return what the figures may depend on: versions, machine, state of the code."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    packages = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "PyWavelets")
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed files": git("status", "--porcelain").splitlines(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "lock": sha256(root / "requirements.lock"),
    }


def verify(
    root: Path = ROOT,
    execute: bool = True,
    record: bool = False,
    say: Callable[[str], None] = print,
) -> list[Finding]:
    """Check everything, write the report, return what is wrong.

    execute: whether the pages are executed, in an empty folder, which takes most of the time;
    record: make what they hold the stored values.
    """
    import shutil

    start, book = time.monotonic(), Fresh(root)
    found: list[Finding] = []
    if execute:
        shutil.rmtree(root / "build" / "verify", ignore_errors=True)
        say(f"Pages ({len(book.pages)}), from nothing")
        try:
            book.refresh(say)
        except PageError as error:
            found.append(Finding("pages", "execution", "no error", str(error), False))
        if record and not found:
            record_pages(book)
    say("Files, weights, labels, metrics")
    checks = [lambda: check_prose(book), lambda: check_code(book)]
    checks += [lambda: check_values(book)] if execute else []
    for check in [*CHECKS, *checks, *([check_intervals] if execute else [])]:
        found += guarded(check)
    claims = []
    for claim, ours in ledger_rows(book).values():
        value = ours and asdict(ours) | {"text": ours.text()}
        claims.append(asdict(claim) | {"ours": value, "verdict": verdict(claim, ours)})
    wrong = [finding for finding in found if not finding.good]
    manifest = {
        "passed": not wrong,
        "seconds": round(time.monotonic() - start, 1),
        "environment": environment(root),
        "files": {name: sha256(path) for name, path in stored_files().items()}
        | {f"book/{name}.ipynb": sha256(root / f"book/{name}.ipynb") for name in book.pages},
        "claims": claims,
        "findings": [asdict(finding) for finding in found],
    }
    folder = root / "build" / "verify"
    write_json(folder / "manifest.json", manifest)
    write_atomic(folder / "index.html", report(manifest).encode())
    return wrong
