"""A Sphinx extension: scripts loaded once, plain empty cells, a button to JupyterLite."""

from __future__ import annotations

import os
import re

from docutils import nodes
from sphinx.application import Sphinx

from ecgnet_lib.press.lite import LITE, PAGES

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
    kept = {}
    for script in context.get("script_files", ()):
        body = getattr(script, "attributes", {}).get("body") or ""
        name = str(getattr(script, "filename", None) or body)
        if "thebe" not in name.lower():
            kept.setdefault(name, script)
    context["script_files"] = list(kept.values())


def roles(app, pagename, templatename, context, doctree) -> None:
    """Make the entries of the bibliography items of its list: docutils' role is out of use."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def in_the_browser(app, pagename, templatename, context, doctree) -> None:
    """Give a page that runs in the browser a button that opens it there."""
    if os.environ.get(LITE) and pagename in PAGES:
        url = f"lite/notebooks/index.html?path={pagename}.ipynb"
        tip = "Opens the page in JupyterLite: Python in your browser, nothing installed"
        button = {"type": "link", "url": url, "text": "Run in the browser", "tooltip": tip}
        button |= {"icon": "fas fa-play", "label": "lite-button"}
        context["header_buttons"].insert(0, button)


def empty_headers(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make the empty header cells of pandas' tables plain cells: they are read aloud as headers."""
    for raw in list(doctree.findall(nodes.raw)):
        html = EMPTY_HEADER.sub(r"<td\1></td>", raw.astext())
        if html != raw.astext():
            raw.parent.replace(raw, nodes.raw("", html, **raw.attributes))
