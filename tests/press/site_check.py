"""Inspect pages of a site as readers see them: in Chromium, without a network, also on a phone."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSPECT = Path(__file__).with_name("inspect_page.js").read_text(encoding="utf-8")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
SETTLED = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  return document.getAnimations().every((animation) => animation.playState !== "running");
}"""
REDIRECT = re.compile(r'<meta http-equiv="refresh" content="0; *url=([^"]+)"', re.IGNORECASE)
TIMEOUT_MS = 180_000  # a large page on a machine that is busy
# preload: axe-core would fetch the style sheets, which file:// forbids.
AXE_OPTIONS = {"preload": False, "resultTypes": ["violations"]}
# Findings of axe-core in the theme's own parts, which a page cannot mend: (rule, part of selector).
ALLOWED = (
    ("region", ".sidebar-primary-item"),  # the title above the table of contents has no landmark
)


@contextmanager
def chromium() -> Iterator:
    """Give a headless Chromium, that of ECGNET_CHROMIUM first; skip the test if there is none."""
    reason = "needs a browser: Playwright is not installed"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    names = filter(None, [os.environ.get("ECGNET_CHROMIUM"), *CHROMIUM])
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs a browser: no Chromium was found")
    options = ["--no-sandbox", "--disable-gpu"]  # only our own files are opened
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser, file: Path, found: list[str], **options) -> Iterator:
    """Give a page opened from its file; its errors and its requests to the network are found.

    Every request but those for files is refused.
    """
    context = browser.new_context(offline=True, **options)
    context.set_default_timeout(TIMEOUT_MS)

    def refuse(route) -> None:
        found.append(f"asks the network for {route.request.url[:100]}")
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)
    page = context.new_page()
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("requestfailed", lambda r: found.append(f"not loaded: {r.url[:100]}"))
    try:
        page.goto(file.as_uri(), wait_until="load")
        page.wait_for_function(SETTLED)
        yield page
    finally:
        context.close()


def inspect_page(browser, file: Path) -> list[str]:
    """Open a page large and light, then small and dark; return what is wrong with it."""
    from axe_playwright_python.sync_playwright import Axe

    if to := REDIRECT.search(read(file)):
        return broken_links([(to[1], urljoin(file.as_uri(), to[1]))])
    found: list[str] = []
    for where, size, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")):
        with opened(browser, file, found, viewport=size, color_scheme=scheme) as page:
            findings, links = page.evaluate(INSPECT)
            found += [f"{where}: {text}" for text in findings]
            axe = Axe().run(page, {"exclude": [["pre[data-known]"]]}, AXE_OPTIONS)
            found += [
                f"{where}, {scheme}: {violation['help']} ({violation['id']}): {place}"
                for violation in axe.response["violations"]
                for place in (" ".join(node["target"]) for node in violation["nodes"])
                if not any(violation["id"] == rule and part in place for rule, part in ALLOWED)
            ]
    return list(dict.fromkeys(found + broken_links(links)))


@cache
def read(file: Path) -> str:
    """Return the text of a file, which many links lead to."""
    return file.read_text("utf-8")


def broken_links(links: list[tuple[str, str]]) -> list[str]:
    """Return the links, each as written and as URL, that lead to no file or to no anchor."""
    found = []
    for written, url in links:
        address, anchor = urldefrag(unquote(url))
        target = Path(address.removeprefix("file://").partition("?")[0])
        if url.startswith("file:") and not target.is_file():
            found.append(f"link to a file that is not there: {written}")
        elif url.startswith("file:") and anchor and f'id="{anchor}"' not in read(target):
            found.append(f"link to an anchor that is not there: {written}")
    return found
