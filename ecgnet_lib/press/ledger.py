"""The page of claims: what the paper says, what we measured, the verdict, and where to look."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.files import write_if_new
from ecgnet_lib.press.book import Book
from ecgnet_lib.press.claims import Claim, Found, evidence_for, read_claims, verdict

LEDGER = Path("build", "claims.json")  # what was measured, and the key of what it depends on
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def ledger_rows(book: Book) -> dict[str, tuple[Claim, Found | None]]:
    """Return {id: (claim, what was measured for it)}; measured anew only when its key changes.

    The key is that of a page: the code that measures, and the stored results that it names.
    """
    claims = read_claims(book.root / "book" / "claims.yml")
    used = book.files("", *(f"ecgnet_lib/press/{n}.py" for n in ("claims", "evidence")))
    key = hashlib.sha256(json.dumps([used, book.lock], sort_keys=True).encode()).hexdigest()
    file = book.root / LEDGER
    if file.is_file() and (held := json.loads(file.read_text(encoding="utf-8")))["key"] == key:
        rows = held["rows"]
    else:
        rows = {c.id: (found := evidence_for(c)) and asdict(found) for c in claims}
        write_if_new(file, json.dumps({"key": key, "rows": rows}).encode())
    return {c.id: (c, Found(**rows[c.id]) if rows[c.id] else None) for c in claims}


def ledger_page(book: Book) -> str:
    """Return the page as Markdown. Raises PageError when a claim names no cell of a page."""
    rows = ledger_rows(book)
    table = [
        f"| [{claim.title}](claim-{claim.id}) | {said(claim)} | {found.text() if found else '–'} "
        f"| {verdict(claim, found)} |"
        for claim, found in rows.values()
    ]
    return "\n".join(
        [
            "# The ledger of claims",
            "",
            "Each sentence of the paper's abstract {cite:p}`foundationalecgnet2025` that claims "
            "something, made into something that can be measured, and what we measured. "
            "No verdict is typed: each follows from our value, its tolerance and the paper's "
            "figure when this page is made, and our values come from the stored results. "
            "An interval, in brackets, is one of 95 %.",
            "",
            "*Reproduced*: within the tolerance of the paper's figure; or, where the paper gives "
            "none, within the bound that we state. *Reproduced only with leakage*: our network "
            "reaches the figure, but only under a protocol that leaks. "
            "*Untestable as stated*: the abstract lacks a fact without which nobody can test it. "
            "The verdicts are about our reconstruction, made from the abstract alone. They do not "
            "say what the authors' own network does on their own data.",
            "",
            "| claim | the paper | ours | verdict |",
            "|---|---|---|---|",
            *table,
            "",
            *(line for claim, found in rows.values() for line in section(book, claim, found)),
        ]
    )


def said(claim: Claim) -> str:
    """Return the paper's figure, or the bound that stands in for one."""
    if claim.paper is not None:
        return f"{claim.paper:g}"
    if claim.at_least is not None:
        return f"no figure; we ask for at least {claim.at_least:g}"
    return "no figure" if claim.untestable else f"no figure; we ask for at most {claim.at_most:g}"


def section(book: Book, claim: Claim, found: Found | None) -> list[str]:
    """Return the lines of one claim."""
    lines = {
        "metric": claim.metric,
        "the paper": said(claim),
        "ours": found.text() if found else "not measured",
    }
    if found:
        n = "" if found.n is None else f"{found.n:,} recordings; "
        lines |= {"on": f"{n}protocol: {found.protocol}; data: {found.data}"}
        lines |= {"beside it": found.beside} if found.beside else {}
    if claim.untestable:
        lines |= {"untestable since": claim.untestable}
    else:
        of_end = {"low": ", for the lower end", "high": ", for the upper end"}
        lines |= {"tolerance": f"{claim.tolerance:g}{of_end.get(claim.end, '')}", "why": claim.why}
    lines |= {"verdict": f"**{verdict(claim, found)}**", "measured in": place(book, claim)}
    if claim.result:
        lines |= {"result": f"{{download}}`{claim.result} <results/{claim.result}>`"}
    return [
        f"(claim-{claim.id})=",
        f"## {claim.title}",
        "",
        f"> {claim.sentence}",
        "",
        f"({claim.where})",
        "",
        "| what | which |",
        "|---|---|",
        *(f"| {name} | {text.strip()} |" for name, text in lines.items()),
        "",
    ]


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
    raise PageError(
        "a claim names a cell that its page does not have",
        file=page.file,
        found=f"{claim.id}: {claim.cell}",
    )
