"""Look at the finished site as readers do: in a browser, without a network, also on a phone.

Each page is opened from its file in headless Chromium. `check` returns what is wrong with it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urldefrag

from ecgnet_lib.errors import PageError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOOK, AXE = (Path(__file__).with_name(name) for name in ("look.js", "axe.js"))
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
SETTLED = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  return document.getAnimations().every((animation) => animation.playState !== "running");
}"""
REDIRECT = re.compile(r'<meta http-equiv="refresh" content="0; *url=([^"]+)"', re.IGNORECASE)
PATIENCE_MS = 180_000  # a large page on a machine that is busy
WORD = "wavelet"  # that a search finds
# Findings of axe-core in the theme's own parts, which a page cannot mend: (rule, part of selector).
ALLOWED = (
    ("region", ".sidebar-primary-item"),  # the title above the table of contents has no landmark
)


class NoBrowser(PageError):
    """There is nothing to look with."""


def browser_path() -> str:
    """Return the Chromium of this machine, `ECGNET_CHROMIUM` first; NoBrowser if there is none."""
    names = [os.environ.get("ECGNET_CHROMIUM"), *CHROMIUM]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowser(
            "no Chromium was found",
            expected=f"one of {', '.join(CHROMIUM)}",
            remedy="install one, or name it: ECGNET_CHROMIUM=/path/to/chromium",
        )
    return found


@contextmanager
def browser() -> Iterator:
    """Give a headless Chromium; NoBrowser where it, or Playwright, is not installed."""
    path = browser_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowser("Playwright is not installed", remedy="make environment") from None
    options = ["--no-sandbox", "--disable-gpu"]  # only our own files are opened
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield chromium
        finally:
            chromium.close()


def axe_source() -> str:
    """Return the script of axe-core, which a package of the tests ships."""
    import axe_playwright_python

    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")


def check(html: Path, say: Callable[[str], None] = print) -> dict[str, list[str]]:
    """Look at every page of a site; return {page: findings}, without the pages that have none."""
    files = sorted(html.glob("*.html"))
    if not files:
        raise PageError("there is no site", file=html, remedy="make book")
    found: dict[str, list[str]] = {}
    seen: dict[str, dict] = {}
    axe = axe_source()
    with browser() as chromium:
        for file in files:
            if to := REDIRECT.search(file.read_text("utf-8")):
                link = [to[1], (html / to[1]).as_uri()]
                found[file.name], seen[file.name] = [], {"links": [link], "anchors": []}
            else:
                found[file.name], seen[file.name] = look(chromium, file, axe)
            say(f"  {file.name:<24} {len(found[file.name]) or 'no'} findings")
        if (html / "search.html").is_file():
            found["search.html"] += search(chromium, html)
    for name, page in seen.items():
        found[name] += broken_links(html / name, page["links"], seen)
    return {name: list(dict.fromkeys(texts)) for name, texts in found.items() if texts}


def look(chromium, file: Path, axe: str) -> tuple[list[str], dict]:
    """Open a page large and light, then small and dark; return its findings, links, anchors."""
    found: list[str] = []
    seen: dict = {}
    for where, size, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")):
        with opened(chromium, file, found, viewport=size, color_scheme=scheme) as page:
            seen = page.evaluate(LOOK.read_text("utf-8"))
            found += [f"{where}: {text}" for text in seen["findings"]]
            page.evaluate(axe)
            for rule, text, place in page.evaluate(AXE.read_text("utf-8")):
                if not any(rule == r and part in place for r, part in ALLOWED):
                    found.append(f"{where}, {scheme}: {text} ({rule}): {place}")
    return found, seen


@contextmanager
def opened(chromium, file: Path, found: list[str], query: str = "", **options) -> Iterator:
    """Give a page opened from its file; what it complains about or asks the network for is found.

    Every request but those for files beside it is refused.
    """
    context = chromium.new_context(offline=True, **options)
    context.set_default_timeout(PATIENCE_MS)

    def allow(route) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            found.append(f"asks the network for {route.request.url[:100]}")
            route.abort()

    context.route(lambda url: not url.startswith(("data:", "blob:")), allow)
    page = context.new_page()
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("requestfailed", lambda r: found.append(f"not loaded: {r.url[:100]}"))
    try:
        page.goto(file.as_uri() + query, wait_until="load")
        page.wait_for_function(SETTLED)
        yield page
    finally:
        context.close()


def search(chromium, html: Path) -> list[str]:
    """Type a word into the search page; return what is wrong with the answer."""
    found: list[str] = []
    with opened(chromium, html / "search.html", found) as page:
        field = page.locator("input[type=search]:visible").first
        field.fill(WORD)
        field.press("Enter")
        try:
            page.wait_for_selector("#search-results li a")
        except Exception:  # Playwright's TimeoutError, not importable where it is not installed
            found.append(f"searching for {WORD!r} finds nothing")
    return found


def broken_links(file: Path, links: list, seen: dict[str, dict]) -> list[str]:
    """Return the links of a page that lead to a file or an anchor that is not there."""
    bad = []
    for written, url in links:
        if not url.startswith("file:"):
            continue
        address, anchor = urldefrag(unquote(url))
        target = Path(address.removeprefix("file://").partition("?")[0])
        if not target.is_file():
            bad.append(f"link to a file that is not there: {written}")
        elif anchor and target.name in seen and anchor not in seen[target.name]["anchors"]:
            bad.append(f"link to an anchor that is not there: {written}")
    return bad
