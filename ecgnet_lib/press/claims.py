"""The claims of the paper: what was claimed, what we measured, the verdict, and their page.

`book/claims.yml` holds the claims and no result. A claim names a function of `evidence`, which
reads the stored results; `verdict` compares it with the paper's figure, or with a bound where
the paper gives none. No verdict is typed, except that a claim may be untestable, with its reason.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from ecgnet_lib.errors import ConfigError, PageError
from ecgnet_lib.files import write_if_new
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.book import Book, digest
from ecgnet_lib.press.evidence import MEASURES, Found

FILE = ROOT / "book" / "claims.yml"
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PAGE = """\
# The ledger of claims

Each sentence of the paper's abstract {{cite:p}}`foundationalecgnet2025` that claims something, \
made into something that can be measured, and what we measured. No verdict is typed: each follows \
from our value, its tolerance and the paper's figure when this page is made, and our values come \
from the stored results. An interval, in brackets, is one of 95 %.

*Reproduced*: within the tolerance of the paper's figure; or, where the paper gives none, within \
the bound that we state. *Reproduced only with leakage*: our network reaches the figure, but only \
under a protocol that leaks. *Untestable as stated*: the abstract lacks a fact without which \
nobody can test it. The verdicts are about our reconstruction, made from the abstract alone. They \
do not say what the authors' own network does on their own data.

| claim | the paper | ours | verdict |
|---|---|---|---|
{table}

{sections}"""
SECTION = """\
(claim-{claim.id})=
## {claim.title}

> {claim.sentence}

({claim.where})

| what | which |
|---|---|
{table}
"""


@dataclass(frozen=True)
class Claim:
    """One claim, as `book/claims.yml` explains its fields."""

    id: str
    title: str
    sentence: str
    where: str
    metric: str
    page: str
    cell: str
    measure: str = ""
    of: object = None
    paper: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    end: str = "value"
    tolerance: float = 0.0
    why: str = ""
    untestable: str = ""
    result: str = ""


def read_claims(path: Path = FILE) -> list[Claim]:
    """Return the claims in order; ConfigError for one that has no verdict."""
    try:
        claims = [Claim(**row) for row in yaml.safe_load(path.read_text(encoding="utf-8"))]
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise ConfigError("the claims cannot be read", file=path, found=error) from None
    for i, claim in enumerate(claims):
        bounds = sum(x is not None for x in (claim.paper, claim.at_least, claim.at_most))
        measured = claim.measure in MEASURES or bool(claim.untestable and not claim.measure)
        if bounds != (not claim.untestable) or not measured:
            what = "a claim needs a measure and one of paper, at_least, at_most, or why it has none"
            raise ConfigError(what, file=path, found=claim.id)
        if claim.id in {c.id for c in claims[:i]} or claim.end not in ("value", "low", "high"):
            raise ConfigError("a claim stands twice or names no end", file=path, found=claim.id)
    return claims


def evidence_for(claim: Claim) -> Found | None:
    """Return what the stored results hold for a claim; None where they hold nothing."""
    return MEASURES[claim.measure](claim.of) if claim.measure else None


def verdict(claim: Claim, found: Found | None) -> str:
    """Return the verdict in words.

    With a figure of the paper: reproduced within the tolerance, exceeded above it; below it, what
    only an unsound protocol reaches is reproduced only with leakage. Without one: reproduced when
    the value, or the end of its interval that the claim names, keeps the bound.
    """
    if claim.untestable:
        return "untestable as stated"
    if found is None:
        return "not run on this data"
    ours, slack = getattr(found, claim.end), claim.tolerance
    if claim.paper is None:
        high = claim.at_least is None
        kept = ours <= claim.at_most + slack if high else ours >= claim.at_least - slack
        return "reproduced" if kept else "not reproduced"
    if abs(ours - claim.paper) <= slack:
        return "reproduced"
    if ours > claim.paper:
        return "exceeded"
    leaks = found.leaky is not None and found.leaky >= claim.paper - slack
    return "reproduced only with leakage" if leaks else "not reproduced"


def ledger_rows(book: Book) -> dict[str, tuple[Claim, Found | None]]:
    """Return {id: (claim, what was measured for it)}; measured anew only when its key changes.

    The key is that of a page: the code that measures, and the stored results that it names.
    """
    claims, file = read_claims(book.root / "book" / "claims.yml"), book.root / "build/claims.json"
    used = book.files("", *(f"ecgnet_lib/press/{n}.py" for n in ("claims", "evidence")))
    key = digest([used, book.lock])
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if held.get("key") != key:
        rows = {c.id: (found := evidence_for(c)) and asdict(found) for c in claims}
        held = {"key": key, "rows": rows}
        write_if_new(file, json.dumps(held).encode())
    return {c.id: (c, (row := held["rows"][c.id]) and Found(**row)) for c in claims}


def ledger_page(book: Book) -> str:
    """Return the page as Markdown. Raises PageError when a claim names no cell of a page."""
    rows = ledger_rows(book).values()
    table = [
        f"| [{claim.title}](claim-{claim.id}) | {said(claim)} | {found.text() if found else '–'} "
        f"| {verdict(claim, found)} |"
        for claim, found in rows
    ]
    sections = [section(book, claim, found) for claim, found in rows]
    return PAGE.format(table="\n".join(table), sections="\n".join(sections))


def said(claim: Claim) -> str:
    """Return the paper's figure, or the bound that stands in for one."""
    if claim.paper is not None:
        return f"{claim.paper:g}"
    if claim.at_least is not None:
        return f"no figure; we ask for at least {claim.at_least:g}"
    return "no figure" if claim.untestable else f"no figure; we ask for at most {claim.at_most:g}"


def section(book: Book, claim: Claim, found: Found | None) -> str:
    """Return the section of one claim."""
    lines = {"metric": claim.metric, "the paper": said(claim), "ours": "not measured"}
    if found:
        n = "" if found.n is None else f"{found.n:,} recordings; "
        on = f"{n}protocol: {found.protocol}; data: {found.data}"
        lines |= {"ours": found.text(), "on": on}
        lines |= {"beside it": found.beside} if found.beside else {}
    if claim.untestable:
        lines["untestable since"] = claim.untestable
    else:
        end = {"value": "", "low": ", for the lower end", "high": ", for the upper end"}[claim.end]
        lines |= {"tolerance": f"{claim.tolerance:g}{end}", "why": claim.why}
    lines |= {"verdict": f"**{verdict(claim, found)}**", "measured in": place(book, claim)}
    if claim.result:
        lines["result"] = f"{{download}}`{claim.result} <results/{claim.result}>`"
    table = "\n".join(f"| {name} | {text.strip()} |" for name, text in lines.items())
    return SECTION.format(claim=claim, table=table)


def place(book: Book, claim: Claim) -> str:
    """Return a link to the section of the page in which the claim's cell stands."""
    page = book.pages.get(claim.page)
    if page is None:
        raise PageError("a claim names no page", file="book/claims.yml", found=claim.page)
    heading = ""
    for cell in page.notebook["cells"]:
        if cell["cell_type"] == "markdown":
            heading = (HEADING.findall(cell["source"]) or [heading])[-1]
        elif cell["id"] == claim.cell:
            slug = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")  # as MyST does
            return f"[{heading}]({claim.page}.ipynb#{slug}), cell `{claim.cell}` of {page.file}"
    what = "a claim names a cell that its page does not have"
    raise PageError(what, file=page.file, found=f"{claim.id}: {claim.cell}")
