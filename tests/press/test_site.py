"""The site: terms are linked to the glossary, and the browser check finds what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ecgnet_lib.__main__ import main
from ecgnet_lib.errors import PageError, SignalError
from ecgnet_lib.figures import scores as figures
from ecgnet_lib.figures.viewer import Viewer
from ecgnet_lib.press import look
from ecgnet_lib.press.theme import EMPTY_HEADER, split_at_terms

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
        "image without alternative text",
    ),
    "heading": ("<h4>Too deep</h4>", "heading out of order after h2"),
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
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what the check says of a good page, and of one with everything that is wrong."""
    html = tmp_path_factory.mktemp("html")
    wrong = "".join(added for added, _ in WRONGS.values())
    (html / "good.html").write_text(GOOD.format(""), encoding="utf-8")
    (html / "wrong.html").write_text(GOOD.format(wrong), encoding="utf-8")
    for name, to in (("index", "good.html"), ("lost", "gone.html")):
        (html / f"{name}.html").write_text(f'<meta http-equiv="Refresh" content="0; url={to}">')
    try:
        return look.check(html, lambda text: None)
    except look.NoBrowser as error:
        pytest.skip(f"needs a browser: {error}")


@pytest.mark.parametrize("name", WRONGS)
def test_what_is_wrong_with_a_page_is_found(name: str, findings: dict[str, list[str]]) -> None:
    assert any(WRONGS[name][1] in text for text in findings["wrong.html"])


def test_nothing_is_said_about_a_good_page(findings: dict[str, list[str]]) -> None:
    assert findings.keys() == {"wrong.html", "lost.html"}  # index.html leads to a page
    assert findings["lost.html"] == ["link to a file that is not there: gone.html"]


def test_no_site_is_an_error_and_no_browser_a_status_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PageError, match="there is no site"):
        look.check(tmp_path)
    (tmp_path / "index.html").write_text(GOOD.format(""))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("ECGNET_CHROMIUM", raising=False)
    monkeypatch.setattr("ecgnet_lib.press.book.ROOT", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "html").symlink_to(tmp_path)
    result = CliRunner().invoke(main, ["check-site"])
    assert result.exit_code == 77
    assert "no Chromium was found" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An ECG and an ECG.", [("ECG", ("An ", "ECG", " and an ECG."))]),
        ("Chest leads, T waves", [("chest leads", ("", "Chest leads", ", T waves")),
                                  ("T wave", (", ", "T waves", ""))]),
        ("wavelets of Morlet wavelets", [("wavelet", ("", "wavelets", " of Morlet wavelets")),
                                         ("Morlet wavelet", (" of ", "Morlet wavelets", ""))]),
        ("a Morlet wavelet", [("Morlet wavelet", ("a ", "Morlet wavelet", ""))]),
        ("gated gat, ECG-like, microwavelets", []),
    ],
)  # fmt: skip
def test_terms_are_found_as_whole_words_the_longest_once(text: str, expected: list) -> None:
    terms = dict.fromkeys(["ECG", "GAT", "chest leads", "T wave", "wavelet", "Morlet wavelet"])
    assert split_at_terms(text, terms) == expected


def test_only_empty_header_cells_become_plain_ones() -> None:
    table = '<th class="blank">&nbsp;</th><th></th><th>AUC</th>'
    assert EMPTY_HEADER.sub(r"<td\1></td>", table) == (
        '<td class="blank"></td><td></td><th>AUC</th>'
    )


def table(value: float, estimable: bool = True) -> dict:
    """Return one line of a result of record."""
    return {"f1": value, "f1_low": value - 0.05, "f1_high": value + 0.05, "estimable": estimable}


def drawn(figure, x: float) -> int:
    """Return how many marks of a figure stand at x."""
    lines = [line for ax in figure.axes for line in ax.lines if line.get_linestyle() == "None"]
    return sum(list(line.get_xdata()) == [x] for line in lines)


def test_the_cover_shows_what_the_results_of_record_say() -> None:
    metrics = {"abnormal": table(0.81), "CD": table(0.42), "HYP": table(0.63, False),
               "ARR": table(0.74)}  # fmt: skip
    ours = {"protocols": {"B": {"methods": {"ours": {"metrics": metrics}}}}}
    figure = figures.cover_rebuilt(ours)
    assert [drawn(figure, x) for x in (0.81, 0.42, 0.63, 0.74)] == [1, 1, 0, 1]
    alt = figure.get_label()
    assert "conduction: paper's abstract 0.99, rebuilt, patient-disjoint 0.42 (0.37 to 0.47)" in alt
    assert "hypertrophy: paper's abstract 0.99, rebuilt, patient-disjoint not estimable" in alt
    assert figure.axes[0].get_xlim()[0] < 0.37  # nothing is drawn outside

    protocols = {
        name: {"sound": k == 0, "methods": {
            "network": {"metrics": {"abnormal": table(0.6 + 0.05 * k)}},
            "trees": {"metrics": {"abnormal": table(0.61 + 0.05 * k)}},
        }}
        for k, name in enumerate(figures.COVER_PROTOCOLS)
    }  # fmt: skip
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


def test_the_viewer_measures_time_and_voltage_and_keeps_them_when_zoomed(tmp_path: Path) -> None:
    ecg = np.full((12, 1000), 0.1)
    ecg[1] = 2.0  # lead II: 4 mV fill nine tenths of the height
    shown = Viewer(ecg, ecg / 2, 100, "Test")._repr_html_()
    (tmp_path / "viewer.html").write_text(GOOD.format(shown), encoding="utf-8")
    found: list[str] = []
    try:
        with look.browser() as chromium:
            options = {"viewport": look.DESKTOP}
            with look.opened(chromium, tmp_path / "viewer.html", found, **options) as page:
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
    except look.NoBrowser as error:
        pytest.skip(f"needs a browser: {error}")
    assert found == []
    part, measured = large.split(" | ")
    assert part == "0.00 to 5.00 s"  # a fifth of it is one second
    numbers = [float(n) for n in re.findall(r"[\d.]+", measured)]
    assert numbers == pytest.approx([1000, 1.0, 60], rel=0.02)
    assert zoomed == f"1.25 to 3.75 s | {measured}"
    assert moved.startswith("1.88 to 4.38 s")
    assert by_keys.endswith("| calipers: 400 ms, 0.50 mV, 150 per minute")
    assert dropped == "1.88 to 4.38 s"
