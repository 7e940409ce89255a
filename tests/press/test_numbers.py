"""No figure in the prose is typed: what is found, what may stand, and all texts of the book."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgnet_lib.errors import PageError
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.numbers import bare_numbers, book_texts, check_numbers


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The F1 is 0.86.", 1),
        ("The F1 is 86 % here and 86% there.", 2),
        ("It went from .5 to 1,234.5.", 1),
        ("Between 0.83 and 0.87.", 2),
        (r"$F_1 = 0.86$", 1),
        ("| ours | 0.86 [0.85, 0.87] |", 3),
        ("We reach 0.99.", 1),
        ("Our network reaches 99 %.", 1),
        ("The paper says 0.98.", 1),
        ("The paper says 98.91 %.", 1),
    ],
)
def test_a_typed_number_is_found(text: str, count: int) -> None:
    found, _ = bare_numbers(text, {})
    assert len(found) == count, found


@pytest.mark.parametrize(
    "text",
    [
        "The F1 is {glue:text}`08_evaluation.ipynb::f1:.2f`, or {glue:text}`p.ipynb::s:.0f` %.",
        "Call `train(rate=0.1)`.",
        "```python\nrate = 0.1  # 10 %\n```",
        "10 mm for 1 mV, 25 mm for a second, 3,163 recordings.",
        "See [here](https://example.org/1.5/x) or https://doi.org/10.1155/2007/43407 now.",
        "Python 3.11, CC BY 4.0, arXiv 2509.08961, lead V1.5.",
        "The paper reports 99 % F1, for arrhythmias 98.9 %: 0.99 and 0.989.",
        "| decision | F1 in the abstract |\n|---|---|\n| normal | 99 % |",
    ],
)
def test_what_is_no_result_may_stand(text: str) -> None:
    assert bare_numbers(text, {})[0] == []


def test_a_phrase_is_allowed_where_it_is_listed_and_only_whole(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    listed = tmp_path / "book" / "allowed_numbers.yml"
    listed.write_text("a:\n  band of 0.5 to 45 Hz: a setting\n")
    check_numbers(tmp_path, {"a": "A band of 0.5\nto 45 Hz."})
    with pytest.raises(PageError, match=r"b: \.\.\. A band of 0\.5"):
        check_numbers(tmp_path, {"a": "A band of 0.5 to 45 Hz.", "b": "A band of 0.5 to 45 Hz."})
    with pytest.raises(PageError, match=r"a: \.\.\. A band of 0\.6"):
        check_numbers(tmp_path, {"a": "A band of 0.6 to 45 Hz."})
    with pytest.raises(PageError, match=r"any more.*a: band of 0\.5 to 45 Hz"):
        check_numbers(tmp_path, {"a": "A band."})


def test_no_page_states_a_number_that_no_page_recorded() -> None:
    texts = book_texts(ROOT)
    assert len(texts) >= 12 and "{glue:text}" in texts["08_evaluation"]
    check_numbers(ROOT, texts)
