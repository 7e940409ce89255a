"""The site in a browser: the built one where it is asked for, and what the inspection finds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from press.site_check import DESKTOP, chromium, inspect_page, opened

from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures import scores as figures
from ecgnet_lib.figures.viewer import Viewer
from ecgnet_lib.press.theme import EMPTY_HEADER

SITE = os.environ.get("ECGNET_SITE")  # the folder of a site to inspect, as .ci/run does
PAGES = sorted(Path(SITE).resolve().glob("*.html")) if SITE else []
needs_site = pytest.mark.skipif(not SITE, reason="inspects a site: ECGNET_SITE names its folder")
GOOD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"></head><body><main><article><h1>A page</h1>
<h2 id="part">A part</h2><p>Words, and <a href="#part">a link</a>.</p>{}</article></main></body>
</html>"""
# What is added to a good page, and what must be said about it.
WRONGS = {
    "console": ("<script>console.error('broken')</script>", "console: broken"),
    "script": ("<script>nothing.there()</script>", "script error: nothing is not defined"),
    "network": ("<script src='https://example.org/x.js'></script>", "asks the network for https"),
    "image": ("<img src='none.png' alt='A curve'>", "missing image"),
    "alt": (
        "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=9 height=9>",
        "(image-alt)",
    ),
    "heading": ("<h4>Too deep</h4>", "(heading-order)"),
    "second title": ("<h1>Another</h1>", "2 headings of the first level"),
    "formula": ("<div class='math'>\\[x^2\\]</div>", "formula that did not render"),
    "phone": ("<div style='width:600px'>wide</div>", "phone: the page scrolls sideways"),
    "clipped": (
        "<div style='overflow:hidden'><p style='width:600px'>wide</p></div>",
        "phone: cut off at the right: <p style",
    ),
    "contrast": ("<p style='color:#ccc;background:#fff'>pale</p>", "(color-contrast)"),
    "file": ("<p>See <a href='none.html'>there</a></p>", "link to a file that is not there"),
    "anchor": ("<p>See <a href='#none'>there</a></p>", "link to an anchor that is not there"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A headless Chromium, where there is one."""
    with chromium() as started:
        yield started


@needs_site
def test_the_site_has_pages_and_its_search_finds_them(browser) -> None:
    assert len(PAGES) > 10, f"no site in {SITE}: make book"
    found: list[str] = []
    with opened(browser, Path(SITE).resolve() / "search.html", found) as page:
        field = page.locator("input[type=search]:visible").first
        field.fill("wavelet")
        field.press("Enter")
        page.wait_for_selector("#search-results li a")
    assert found == []


@needs_site
@pytest.mark.parametrize("file", PAGES or [Path()], ids=lambda file: file.stem)
def test_nothing_is_wrong_with_a_page_of_the_site(file: Path, browser) -> None:
    assert inspect_page(browser, file) == []


@pytest.fixture(scope="module")
def findings(browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what the inspection finds on a good page, and on one with everything wrong."""
    html = tmp_path_factory.mktemp("html")
    wrong = "".join(added for added, _ in WRONGS.values())
    (html / "good.html").write_text(GOOD.format(""), encoding="utf-8")
    (html / "wrong.html").write_text(GOOD.format(wrong), encoding="utf-8")
    for name, to in (("index", "good.html"), ("lost", "gone.html")):
        (html / f"{name}.html").write_text(f'<meta http-equiv="Refresh" content="0; url={to}">')
    return {file.stem: inspect_page(browser, file) for file in html.glob("*.html")}


@pytest.mark.parametrize("name", WRONGS)
def test_what_is_wrong_with_a_page_is_found(name: str, findings: dict[str, list[str]]) -> None:
    assert any(WRONGS[name][1] in text for text in findings["wrong"])


def test_nothing_is_found_on_a_good_page(findings: dict[str, list[str]]) -> None:
    assert findings["good"] == findings["index"] == []  # index.html leads to a page
    assert findings["lost"] == ["link to a file that is not there: gone.html"]


def test_only_empty_header_cells_become_plain_ones() -> None:
    table = '<th class="blank">&nbsp;</th><th></th><th>AUC</th>'
    assert EMPTY_HEADER.sub(r"<td\1></td>", table) == (
        '<td class="blank"></td><td></td><th>AUC</th>'
    )


def table(value: float, estimable: bool = True) -> dict:
    """Return one line of a stored result."""
    return {"f1": value, "f1_low": value - 0.05, "f1_high": value + 0.05, "estimable": estimable}


def drawn(figure, x: float) -> int:
    """Return how many marks of a figure stand at x."""
    lines = [line for ax in figure.axes for line in ax.lines if line.get_linestyle() == "None"]
    return sum(list(line.get_xdata()) == [x] for line in lines)


def test_the_cover_shows_what_the_stored_results_say() -> None:
    values = {"abnormal": 0.81, "CD": 0.42, "HYP": 0.63, "ARR": 0.74}
    metrics = {name: table(value, name != "HYP") for name, value in values.items()}
    ours = {"protocols": {"B": {"methods": {"ours": {"metrics": metrics}}}}}
    figure = figures.cover_rebuilt(ours)
    assert [drawn(figure, x) for x in (0.81, 0.42, 0.63, 0.74)] == [1, 1, 0, 1]
    alt = figure.get_label()
    assert "conduction: paper's abstract 0.99, rebuilt, patient-disjoint 0.42 (0.37 to 0.47)" in alt
    assert "hypertrophy: paper's abstract 0.99, rebuilt, patient-disjoint not estimable" in alt
    assert figure.axes[0].get_xlim()[0] < 0.37  # nothing is drawn outside

    protocols = {}
    for k, name in enumerate(figures.COVER_PROTOCOLS):
        f1 = {"network": 0.6 + 0.05 * k, "trees": 0.61 + 0.05 * k}
        methods = {who: {"metrics": {"abnormal": table(value)}} for who, value in f1.items()}
        protocols[name] = {"sound": k == 0, "methods": methods}
    figure = figures.cover_leakage({"protocols": protocols})
    assert drawn(figure, 0.6) == drawn(figure, 0.61) == 1
    assert "patient-disjoint: network 0.60 (0.55 to 0.65), random forest 0.61" in figure.get_label()


def test_the_viewer_refuses_what_it_cannot_show() -> None:
    ecg = np.zeros((12, 100))
    for raw, clean in (
        (ecg, ecg[:, :50]),
        (ecg[:3], ecg[:3]),
        (ecg, ecg + np.nan),
        (ecg, ecg + 40),
    ):
        with pytest.raises(SignalError, match="the viewer cannot show this"):
            Viewer(raw, clean, 100, "x")


def test_the_viewer_measures_time_and_voltage_and_keeps_them_when_zoomed(
    tmp_path: Path, browser
) -> None:
    ecg = np.full((12, 1000), 0.1)
    ecg[1] = 2.0  # lead II: 4 mV fill nine tenths of the height
    shown = Viewer(ecg, ecg / 2, 100, "Test")._repr_html_()
    (tmp_path / "viewer.html").write_text(GOOD.format(shown), encoding="utf-8")
    found: list[str] = []
    with opened(browser, tmp_path / "viewer.html", found, viewport=DESKTOP) as page:
        page.select_option("[data-part=lead]", "1")
        box = page.locator("canvas").bounding_box()
        x, y, width = box["x"], box["y"], box["width"]
        page.mouse.move(x + 0.2 * width, y + 20)
        page.mouse.down()
        page.mouse.move(x + 0.4 * width, y + 20 + 0.225 * box["height"])
        page.mouse.up()
        large = page.locator("output").inner_text()
        page.click("[data-part=in]")
        zoomed = page.locator("output").inner_text()
        page.focus("canvas")
        page.keyboard.press("ArrowRight")
        moved = page.locator("output").inner_text()
        page.keyboard.press("c")
        for key in ["Shift+ArrowRight"] * 40 + ["Shift+ArrowUp"] * 10:
            page.keyboard.press(key)
        by_keys = page.locator("output").inner_text()
        page.keyboard.press("Escape")
        dropped = page.locator("output").inner_text()
    assert found == []
    part, measured = large.split(" | ")
    assert part == "0.00 to 5.00 s"  # a fifth of it is one second
    numbers = [float(n) for n in re.findall(r"[\d.]+", measured)]
    assert numbers == pytest.approx([1000, 1.0, 60], rel=0.02)
    assert zoomed == f"1.25 to 3.75 s | {measured}"
    assert moved.startswith("1.88 to 4.38 s")
    assert by_keys.endswith("| calipers: 400 ms, 0.50 mV, 150 per minute")
    assert dropped == "1.88 to 4.38 s"
