"""From pages to a site: stage, execute, Jupyter Book with warnings as errors, count the pages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.evaluation import results
from ecgnet_lib.files import write_if_new
from ecgnet_lib.press.book import ROOT, Book
from ecgnet_lib.press.glance import glance_page
from ecgnet_lib.press.keys import checksums
from ecgnet_lib.press.ledger import ledger_page
from ecgnet_lib.press.lite import LITE, lite
from ecgnet_lib.press.numbers import book_texts, check_numbers

MATHJAX = "tex-svg.js"  # formulas as SVG: one file, no fonts, works from file:// without a network
MADE = {"claims": ledger_page, "glance": glance_page}  # documents that no one writes


def build(root: Path = ROOT, log: Callable[[str], None] = print, browser: bool = False) -> Path:
    """Execute what is stale, make build/html/, return its index.html.

    browser: with the pages that run in the reader's browser, and buttons that lead there.

    The site is made anew in full whenever anything in it changed (an incremental one would not
    repeat a warning that it showed before) and takes its place in one step. Raises PageError when
    a page fails or Jupyter Book warns; then the previous site stays.
    """
    start = time.monotonic()
    book = Book(root)
    check_numbers(root, book_texts(root))
    stage(book)
    log(f"Pages ({len(book.pages)})")
    book.refresh(log)
    for name, make in MADE.items():
        if name in book.documents:
            write_if_new(root / "build" / "book" / f"{name}.md", make(book).encode())
    if browser:
        log("Pages that run in a browser")
        extra = lite(book, log)
    html, key_file = root / "build" / "html", root / "build" / "html.key"
    key = site_key(root, browser)
    if html.is_dir() and key_file.is_file() and key_file.read_text() == key:
        log("Site: nothing changed")
    else:
        log("Site: building")
        key_file.unlink(missing_ok=True)
        made = jupyter_book(root, browser)
        census_site(book.documents, made)
        if browser:
            shutil.copytree(extra, made / "lite")
        shutil.rmtree(html, ignore_errors=True)
        os.replace(made, html)
        write_if_new(key_file, key.encode())
    census_site(book.documents, html)
    size = sum(file.stat().st_size for file in html.rglob("*") if file.is_file())
    log(
        f"{len(book.documents)} documents, {size / 1e6:.0f} MB, {time.monotonic() - start:.0f} s. "
        "Open build/html/index.html"
    )
    return html / "index.html"


def stage(book: Book) -> None:
    """Make build/book/ hold what book/ holds, except that its notebooks are the executed ones."""
    source, target = book.root / "book", book.root / "build" / "book"
    files = {path.relative_to(source): path for path in visible_files(source)}
    made = {Path(f"{name}.md") for name in MADE}
    made |= {name for name in files if name.suffix == ".ipynb"}
    contents = {name: path.read_bytes() for name, path in files.items() if name not in made}
    contents[Path("_static", "mathjax", MATHJAX)] = mathjax()
    if (source / "results" / "comparison.json").is_file():
        contents[Path("cover.md")] = cover(book, target / "cover.md")
    for path in visible_files(target):
        if path.relative_to(target) not in contents.keys() | made:
            path.unlink()
    for name, content in contents.items():
        write_if_new(target / name, content)


def cover(book: Book, made: Path) -> bytes:
    """Return the figures of the cover as Markdown; those made before, while they still hold."""
    used = json.dumps(book.files("comparison.json leakage.json"))
    key = f"% {hashlib.sha256(used.encode()).hexdigest()}\n"
    if made.is_file() and (text := made.read_text(encoding="utf-8")).startswith(key):
        return text.encode()
    from ecgnet_lib import figures  # which takes a second

    drawn = [
        figures.scores.cover_rebuilt(results.load_result("comparison.json")),
        figures.scores.cover_leakage(results.load_result("leakage.json")),
    ]
    images = "\n".join(figures.style.picture(figure)._repr_html_() for figure in drawn)
    return f'{key}```{{raw}} html\n<div class="cover">\n{images}\n</div>\n```\n'.encode()


def visible_files(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted, without hidden ones."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]


def mathjax() -> bytes:
    """Return MathJax 3, which a package of the environment ships (Apache License 2.0)."""
    for file in files("sphinx-mathjax-offline") or ():
        if file.name == MATHJAX:
            return file.read_binary()
    raise PageError("MathJax is missing", remedy="install the environment again: make distclean")


def site_key(root: Path, browser: bool = False) -> str:
    """Return the SHA-256 of everything that the site is made from."""
    parts = [*visible_files(root / "build" / "book"), root / "_config.yml"]
    parts += [root / "requirements.lock", *(root / "ecgnet_lib" / "press").glob("theme.py")]
    if browser:
        parts += visible_files(root / "build" / "lite" / "contents")
    return hashlib.sha256(json.dumps(checksums(root, parts)).encode()).hexdigest()


def jupyter_book(root: Path, browser: bool = False) -> Path:
    """Run Jupyter Book in an empty folder and return the folder of the site.

    Raises PageError with its warnings, each of which fails the build.
    """
    work = root / "build" / "sphinx"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    start = "import ecgnet_lib.press; from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start]
    options = ["--config", "_config.yml", "--path-output", "build/sphinx", "-W", "--keep-going"]
    done = subprocess.run(
        [*command, "build", "build/book", *options],
        cwd=root,
        env=os.environ | {"NO_COLOR": "1", LITE: "1" if browser else ""},
        text=True,
        encoding="utf-8",
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    write_if_new(work / "log.txt", done.stdout.encode())
    if done.returncode:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
        worth = [line for line in lines if re.search("WARNING|ERROR|Error", line)] or lines[-15:]
        if re.search(r"No key '[^']*:' found in glue", done.stdout):
            worth.append("(a value of a named page needs a format: {glue:text}`p.ipynb::key:s`)")
        shown = "\n  ".join(line.replace(f"{root}{os.sep}", "") for line in worth[-40:])
        raise PageError(f"Jupyter Book is not content (build/sphinx/log.txt)\n  {shown}")
    for source_map in (work / "_build" / "html").rglob("*.map"):  # for who debugs the theme
        source_map.unlink()
    return work / "_build" / "html"


def census_site(documents: list[str], html: Path) -> None:
    """Raise PageError unless every document of _toc.yml has become a page with something on it.

    Jupyter Book has been known to make no page at all and to exit with success.
    """
    files = [html / f"{name}.html" for name in (*documents, "index")]
    if empty := [f.stem for f in files if not f.is_file() or f.stat().st_size == 0]:
        raise PageError("the site lacks pages", found=", ".join(empty))
