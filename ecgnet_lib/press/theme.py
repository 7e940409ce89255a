"""A Sphinx extension: scripts loaded once, links to the glossary, a button to JupyterLite."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.nodes import make_refnode

from ecgnet_lib.press.lite import LITE, PAGES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Terms that are everyday words as well: a page links them by hand, where it means the term.
EVERYDAY = frozenset({
    "abnormal", "attention", "audit", "claim", "class", "fold", "head", "lead", "patch", "protocol",
    "qt", "recall", "recording", "source", "split", "statement", "stem", "territory", "threshold",
    "token", "value", "verdict",
})  # fmt: skip
# Where a link would be out of place.
NOT_HERE = (
    *(nodes.title, nodes.reference, nodes.citation),
    *(nodes.literal, nodes.literal_block, nodes.raw, nodes.math),
)

EMPTY_HEADER = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;)*</th>")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", load_once, priority=900)  # after all who add scripts
    app.connect("html-page-context", roles)
    app.connect("html-page-context", in_the_browser, priority=900)  # after the theme's buttons
    app.connect("doctree-resolved", link_terms)
    app.connect("doctree-resolved", empty_headers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def load_once(app, pagename, templatename, context, doctree) -> None:
    """Drop a page's doubled scripts, and Thebe, which would ask a server for code.

    Jupyter Book adds every script below _static/ to every page, also those that other extensions
    add; a second MathJax fails with an error on the console.
    """
    seen = set()
    kept = []
    for script in context.get("script_files", ()):
        body = getattr(script, "attributes", {}).get("body") or ""
        name = str(getattr(script, "filename", None) or body)
        if "thebe" in name.lower() or name in seen:
            continue
        seen.add(name)
        kept.append(script)
    context["script_files"] = kept


def roles(app, pagename, templatename, context, doctree) -> None:
    """Make the entries of the bibliography items of its list: docutils' role is out of use."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def in_the_browser(app, pagename, templatename, context, doctree) -> None:
    """Give a page that runs in the browser a button that opens it there."""
    if os.environ.get(LITE) and pagename in PAGES:
        button = {
            "type": "link",
            "url": f"lite/notebooks/index.html?path={pagename}.ipynb",
            "text": "Run in the browser",
            "icon": "fas fa-play",
            "tooltip": "Opens the page in JupyterLite: Python in your browser, nothing installed",
            "label": "lite-button",
        }
        context["header_buttons"].insert(0, button)


def empty_headers(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make the empty header cells of pandas' tables plain cells: they are read aloud as headers."""
    for raw in list(doctree.findall(nodes.raw)):
        html = EMPTY_HEADER.sub(r"<td\1></td>", raw.astext())
        if html != raw.astext():
            raw.parent.replace(raw, nodes.raw("", html, **raw.attributes))


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link each term to the glossary where a page uses it first, unless the page does so itself."""
    terms = {
        name: place
        for (kind, name), place in app.env.domaindata["std"]["objects"].items()
        if kind == "term"
    }
    if docname in {place[0] for place in terms.values()}:
        return
    linked = {node.get("refid") or node.get("refuri", "") for node in doctree.findall(is_link)}
    anchors = {link.rpartition("#")[2] for link in linked}
    todo = {
        name: place
        for name, place in terms.items()
        if place[1] not in anchors and name.lower() not in EVERYDAY
    }
    for text in [t for t in doctree.findall(nodes.Text) if in_prose(t)]:
        for name, parts in split_at_terms(text.astext(), todo):
            del todo[name]
            before, word, after = parts
            link = make_refnode(
                app.builder, docname, *terms[name], nodes.inline(word, word, classes=["std-term"])
            )
            rest = nodes.Text(after)
            text.parent.replace(text, [nodes.Text(before), link, rest])
            text = rest


def is_link(node: nodes.Node) -> bool:
    """Return whether a node is a link."""
    return isinstance(node, nodes.reference)


def in_prose(text: nodes.Text) -> bool:
    """Return whether a text stands in a paragraph, and in nothing where a link is out of place."""
    node, paragraph = text.parent, False
    while node is not None:
        if isinstance(node, NOT_HERE):
            return False
        paragraph = paragraph or isinstance(node, nodes.paragraph)
        node = node.parent
    return paragraph


def split_at_terms(text: str, terms: dict) -> list[tuple[str, tuple[str, str, str]]]:
    """Return [(term, (before, word, after))], left to right, each `after` split by the next.

    A term is found as a whole word or as its plural; of two that begin at one place the longer
    wins; each is found once. Words in capitals, such as CBAM, are found in capitals only.
    """
    found = []
    left = dict(terms)
    while left:
        hits = [hit for name in left if (hit := pattern(name).search(text))]
        if not hits:
            break
        best = min(hits, key=lambda hit: (hit.start(), -len(hit[0])))
        name = next(n for n in left if pattern(n).fullmatch(best[0]))
        del left[name]
        found.append((name, (text[: best.start()], best[0], text[best.end() :])))
        text = text[best.end() :]
    return found


@cache
def pattern(name: str) -> re.Pattern[str]:
    """Return the pattern that finds a term in prose."""
    if any(c.isupper() for c in name[1:]) or len(name) < 4:
        return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    return re.compile(rf"(?<![\w-]){re.escape(name)}s?(?![\w-])", re.IGNORECASE)
