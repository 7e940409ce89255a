"""For reviewers: execute every page from nothing, recompute every metric, say what moved.

`verify` writes build/verify/index.html and manifest.json and returns what is wrong, by name.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from ecgnet_lib.errors import EcgnetError, PageError
from ecgnet_lib.experiments.common import seal, sha256, stored_files
from ecgnet_lib.files import write_atomic, write_json
from ecgnet_lib.press.book import ROOT, Book, digest
from ecgnet_lib.press.claims import ledger_rows, verdict
from ecgnet_lib.press.numbers import book_texts, check_numbers
from ecgnet_lib.press.recompute import CHECKS, Finding, check_intervals, compare
from ecgnet_lib.press.record import recorded
from ecgnet_lib.press.run import code_state, executed

PAGES = Path("book", "results", "pages", "values.json")  # of each page when it was accepted
FRESH = "verify/pages"  # the folder below build/ that `verify` executes the pages into
RELATIVE, ABSOLUTE = 0.01, 0.005  # another processor rounds otherwise; the same one gives the same
TIMED = re.compile(r"06_model: (?:pass_ms|slowest|(slowest|other)_share)$|07_training: seconds$")
FIGURE = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "PyWavelets")
HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Verification</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;
color:#1a1a1a;background:#fff}}
table{{border-collapse:collapse;width:100%;font-size:.85rem;margin:.5rem 0 1.5rem}}
th,td{{border-bottom:1px solid #ccc;padding:.25rem .5rem;text-align:left;vertical-align:top;
overflow-wrap:anywhere}}
@media(prefers-color-scheme:dark){{body{{color:#eee;background:#14181e}}}}
</style></head><body><main>
<h1>{word}</h1>
<p>{n:,} things checked in {seconds:.0f} s.</p>
{parts}
</main></body></html>
"""


def data_said(notebook: dict) -> list[str]:
    """Return the sentences in which an executed page says which data it ran on."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    texts = [output.get("data", {}).get("text/plain", "") for output in outputs]
    notes = [t for t in texts if t.startswith(("Data of this page.", "Simulated data."))]
    return [note.partition(", read from")[0] for note in notes]


def check_prose(book: Book) -> Iterator[Finding]:
    """Look for numbers in the prose that no page recorded."""
    check_numbers(book.root, book_texts(book.root))
    yield compare("pages", "numbers in the prose", "recorded", "recorded")


def check_code(book: Book) -> Iterator[Finding]:
    """Hold the code of every page against that of the accepted pages."""
    held = accepted_pages(book.root)
    for name in sorted(book.pages.keys() | held):
        said = held.get(name, {}).get("code", "not recorded")
        found = digest(book.pages[name].cells) if name in book.pages else "missing"
        yield compare("pages", f"book/{name}.ipynb: its code", said, found)


def check_values(book: Book) -> Iterator[Finding]:
    """Hold the values of the executed pages against the stored ones, where the data are the same.

    On other data values differ, as they should: then they are shown and not compared.
    """
    held = accepted_pages(book.root)
    for name in book.pages:
        notebook, old = executed(book.job(name)), held.get(name, {})
        if notebook is None:
            yield compare("values", f"{name}: executed", "yes", "no")
            continue
        new, values, data = recorded(notebook), old.get("values", {}), data_said(notebook)
        same_data = old.get("data") == data
        if not same_data:
            said = f"{'; '.join(data) or 'no data'}: not compared"
            yield Finding("values", f"{name}: data", old.get("data"), said, True)
        for key in sorted(new.keys() | values):
            subject, before, now = f"{name}: {key}", values.get(key), new.get(key)
            good = not same_data or bool(TIMED.match(subject)) or alike(before, now)
            yield replace(compare("values", subject, before, now), good=good)


def alike(old: object, new: object) -> bool:
    """Return whether two recorded values agree: words exactly, each number in them nearly."""
    if old is None or new is None or isinstance(old, bool):
        return old == new
    words = [FIGURE.sub("#", str(value)) for value in (old, new)]
    a, b = (
        np.array([float(text.replace(",", "")) for text in FIGURE.findall(str(value))])
        for value in (old, new)
    )
    return words[0] == words[1] and np.allclose(b, a, RELATIVE, ABSOLUTE)


def accepted_pages(root: Path) -> dict[str, dict]:
    """Return {page: {"code": SHA-256, "data": sentences, "values": recorded}}."""
    return json.loads((root / PAGES).read_text(encoding="utf-8"))


def record_pages(book: Book) -> None:
    """Make what the executed pages hold now the stored values."""
    pages = {}
    for name, page in book.pages.items():
        notebook = executed(book.job(name))
        values, data = recorded(notebook), data_said(notebook)
        pages[name] = {"code": digest(page.cells), "data": data, "values": values}
    write_json(book.root / PAGES, pages)
    seal("pages/values.json")


def guarded(check: Callable[..., Iterator[Finding]], *given: object) -> list[Finding]:
    """Run a check; what it cannot read is a finding, and not the end."""
    found = []
    try:
        for finding in check(*given):
            found.append(finding)
    except (EcgnetError, OSError, KeyError, IndexError, ValueError) as error:
        name = check.__name__.removeprefix("check_")
        said = str(error) if isinstance(error, EcgnetError) else repr(error)
        found.append(Finding(name, "the check itself", "possible", said, False))
    return found


def verify(
    root: Path = ROOT, execute: bool = True, record: bool = False, say: Callable = print
) -> list[Finding]:
    """Check everything, write the report, return what is wrong.

    execute: whether the pages are executed, in an empty folder, which takes most of the time;
    record: make what they hold the stored values.
    """
    start, book, found = time.monotonic(), Book(root, folder=FRESH), []
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
    for check in (*CHECKS, check_intervals) if execute else CHECKS:
        found += guarded(check)
    for check in (check_prose, check_code, check_values)[: 3 if execute else 2]:
        found += guarded(check, book)
    claims = []
    for claim, ours in ledger_rows(book).values():
        value = ours and asdict(ours) | {"text": ours.text()}
        claims.append(asdict(claim) | {"ours": value, "verdict": verdict(claim, ours)})
    wrong = [finding for finding in found if not finding.good]
    manifest = {
        "passed": not wrong,
        "seconds": round(time.monotonic() - start, 1),
        "environment": {  # what the figures may depend on
            "code": code_state(root),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "lock": book.lock,
        },
        "files": {name: sha256(path) for name, path in stored_files().items()}
        | {f"book/{name}.ipynb": sha256(root / f"book/{name}.ipynb") for name in book.pages},
        "claims": claims,
        "findings": [asdict(finding) for finding in found],
    }
    folder = root / "build" / "verify"
    write_json(folder / "manifest.json", manifest)
    write_atomic(folder / "index.html", report(manifest).encode())
    return wrong


def report(manifest: dict) -> str:
    """Return a page that shows a manifest, what is wrong first, and needs no other file."""
    found = pd.DataFrame(manifest["findings"]).fillna({"difference": ""})
    found = found.rename(columns={"old": "stored", "new": "now", "good": "agrees"})
    wrong, claims = found[~found["agrees"]], pd.DataFrame(manifest["claims"])
    claims["ours"] = claims["ours"].map(lambda ours: ours["text"] if ours else "")
    counts = found.groupby("check", sort=False)["agrees"].agg(["size", "sum"]).reset_index()
    tables = {"What does not agree": wrong} if len(wrong) else {}
    tables |= {
        "What was checked": counts.set_axis(["check", "things", "agree"], axis=1),
        "The claims": claims[["title", "sentence", "paper", "ours", "verdict"]].fillna(""),
        "Environment": pd.DataFrame(manifest["environment"].items(), columns=["what", "value"]),
    }
    parts = [f"<h2>{title}</h2>{table(rows)}" for title, rows in tables.items()]
    folded = {f"{name} ({len(rows)})": rows for name, rows in found.groupby("check")}
    folded["files"] = pd.DataFrame(manifest["files"].items(), columns=["file", "SHA-256"])
    parts += ["<h2>All values, stored and now</h2>"]
    for title, rows in folded.items():
        parts += [f"<details><summary>{title}</summary>{table(rows)}</details>"]
    word = f"{len(wrong)} things do not agree" if len(wrong) else "Everything agrees"
    seconds = manifest["seconds"]
    return HTML.format(word=word, n=len(found), seconds=seconds, parts="\n".join(parts))


def table(rows: pd.DataFrame) -> str:
    """Return an HTML table of texts, floats to six digits."""
    texts = rows.map(lambda value: f"{value:.6g}" if isinstance(value, float) else str(value))
    return texts.to_html(index=False, border=0)
