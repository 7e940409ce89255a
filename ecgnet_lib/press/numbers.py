"""Typed numbers: a figure in prose is a recorded value, or is on a short list.

A number with a decimal point or a percent sign counts as a result. Allowed are roles (a recorded
value among them), code, addresses, versions and licences, the paper's own figures in a paragraph
that names the paper, and the phrases of `book/allowed_numbers.yml`, each with its reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ecgnet_lib.errors import PageError

ALLOWED = Path("book", "allowed_numbers.yml")
NUMBER = re.compile(r"(?<![\w.])\d+\.\d+|(?<![\w.])\d+ ?\\?%")
NOT_PROSE = re.compile(
    r"```.*?```|~~~.*?~~~"  # code, directives
    r"|\{[\w:]+\}`[^`]*`"  # roles: recorded values, citations, links
    r"|`[^`]*`"
    r"|\]\([^)]*\)|https?://\S+"
    r"|\b10\.\d{4,}/\S+|\barXiv \d{4}\.\d+"
    r"|\b(?:Python|jupyter-book|CC BY|ODC-By) \d[\w.]*",
    re.DOTALL,
)
PAPER = re.compile(r"\b(?:paper|abstract)\b|foundationalecgnet2025", re.IGNORECASE)
PAPERS = re.compile(r"(?<![\w.])(?:0\.99|0\.989|99 ?%|98\.9(?: ?%| or))(?!\w|\.\d)")


def bare_numbers(text: str, allowed: dict[str, str]) -> tuple[list[str], set[str]]:
    """Return the numbers of a Markdown text without a source, and the phrases used.

    Each number comes with the words around it. allowed: {phrase: why it may stand as it is}.
    """
    found, used = [], set()
    for block in re.split(r"\n\s*\n", text):
        prose = " ".join(NOT_PROSE.sub(" … ", block).split())
        for phrase in allowed:
            if phrase in prose:
                used.add(phrase)
                prose = prose.replace(phrase, " … ")
        if PAPER.search(block):
            prose = PAPERS.sub(" … ", prose)
        for number in NUMBER.finditer(prose):
            found.append(prose[max(0, number.start() - 30) : number.end() + 20].strip())
    return found, used


def prose_of(path: Path) -> str:
    """Return the Markdown of a document: a text, or the text cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    import nbformat

    cells = nbformat.reads(text, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def book_texts(root: Path) -> dict[str, str]:
    """Return {name: Markdown} of the documents that people write in book/."""
    found = [*(root / "book").glob("*.ipynb"), *(root / "book").glob("*.md")]
    return {path.stem: prose_of(path) for path in sorted(found)}


def check_numbers(root: Path, texts: dict[str, str]) -> None:
    """Raise PageError, naming each place, when a text holds a number without a source.

    texts: {name of the document: its Markdown}. A phrase of the list that no text holds is refused
    as well, so that the list stays short.
    """
    file = root / ALLOWED
    lists = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wrong, unused = [], {name: set(phrases) for name, phrases in lists.items()}
    for name, text in texts.items():
        found, used = bare_numbers(text, lists.get("everywhere", {}) | lists.get(name, {}))
        wrong += [f"{name}: ... {words} ..." for words in found]
        for place in unused:
            unused[place] -= used if place in ("everywhere", name) else set()
    if wrong:
        raise PageError(
            "numbers stand in the prose that no page has recorded\n  " + "\n  ".join(wrong),
            remedy=f"record() the value and quote it with {{glue:text}}, or give a reason in "
            f"{ALLOWED.as_posix()}",
        )
    if left := [f"{name}: {phrase}" for name, rest in unused.items() for phrase in sorted(rest)]:
        raise PageError("no text holds these phrases any more", file=ALLOWED, found=left)
