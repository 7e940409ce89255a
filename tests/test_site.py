"""The site: terms are linked to the glossary, and the browser check finds what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ecgnet_lib import figures_cover
from ecgnet_lib.__main__ import main
from ecgnet_lib.errors import PageError
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
    try:
        return look.check(html, lambda text: None)
    except look.NoBrowser as error:
        pytest.skip(f"needs a browser: {error}")


@pytest.mark.parametrize("name", WRONGS)
def test_what_is_wrong_with_a_page_is_found(name: str, findings: dict[str, list[str]]) -> None:
    assert any(WRONGS[name][1] in text for text in findings["wrong.html"])


def test_nothing_is_said_about_a_good_page(findings: dict[str, list[str]]) -> None:
    assert "good.html" not in findings


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
    figure = figures_cover.honest(ours)
    assert [drawn(figure, x) for x in (0.81, 0.42, 0.63, 0.74)] == [1, 1, 0, 1]
    assert "conduction 0.99 and 0.42 (0.37 to 0.47); hypertrophy 0.99 and not estimable" in (
        figure.get_label()
    )
    assert figure.axes[0].get_xlim()[0] < 0.37  # nothing is drawn outside

    protocols = {
        name: {"sound": k == 0, "methods": {
            "network": {"metrics": {"abnormal": table(0.6 + 0.05 * k)}},
            "trees": {"metrics": {"abnormal": table(0.61 + 0.05 * k)}},
        }}
        for k, name in enumerate(figures_cover.PROTOCOLS)
    }  # fmt: skip
    figure = figures_cover.leaky({"protocols": protocols})
    assert drawn(figure, 0.6) == drawn(figure, 0.61) == 1
    assert "patients kept apart: the network 0.60, a forest 0.61" in figure.get_label()
