"""A Sphinx extension: scripts loaded once, plain empty cells, a button to JupyterLite."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from docutils import nodes

from ecgnet_lib.press.lite import LITE, PAGES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

EMPTY_HEADER = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;)*</th>")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", load_once, priority=900)  # after all who add scripts
    app.connect("html-page-context", roles)
    app.connect("html-page-context", in_the_browser, priority=900)  # after the theme's buttons
    app.connect("doctree-resolved", empty_headers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def load_once(app, pagename, templatename, context, doctree) -> None:
    """Drop a page's doubled scripts, and Thebe, which would load code from a server.

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
