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
    """Return the numbers of a Markdown text without a source, in their words, and phrases used.

    allowed: {phrase: why it may stand as it is}.
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


def book_texts(root: Path) -> dict[str, str]:
    """Return {name: Markdown} of the documents and pages that people write in book/."""
    import nbformat

    texts = {path.stem: path.read_text(encoding="utf-8") for path in root.glob("book/*.md")}
    for path in root.glob("book/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
        texts[path.stem] = "\n\n".join(prose)
    return dict(sorted(texts.items()))


def check_numbers(root: Path, texts: dict[str, str]) -> None:
    """Raise PageError, naming each place, when a text holds a number without a source.

    texts: {name of the document: its Markdown}. A phrase of the list that no text holds is refused
    as well, so that the list stays short.
    """
    file = root / ALLOWED
    lists = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wrong, left = [], {(place, phrase) for place, phrases in lists.items() for phrase in phrases}
    for name, text in texts.items():
        found, used = bare_numbers(text, lists.get("everywhere", {}) | lists.get(name, {}))
        wrong += [f"{name}: ... {words} ..." for words in found]
        left -= {(place, phrase) for place in ("everywhere", name) for phrase in used}
    if wrong:
        remedy = f"record() the value and quote it, or give a reason in {ALLOWED.as_posix()}"
        what = "numbers stand in the prose that no page has recorded"
        raise PageError("\n  ".join([what, *wrong]), remedy=remedy)
    if left:
        found = [": ".join(pair) for pair in sorted(left)]
        raise PageError("no text holds these phrases any more", file=ALLOWED, found=found)
