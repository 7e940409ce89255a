"""The ledger of claims: verdicts follow from values, and no tolerance takes nonsense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from ecgnet_lib.errors import ConfigError, PageError
from ecgnet_lib.evaluation.methods import NAMES, apply_thresholds, interval, known_abnormal
from ecgnet_lib.evaluation.metrics import macro_auc_samples, patient_resamples
from ecgnet_lib.evaluation.results import load_predictions, load_result
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press import claims as ledger
from ecgnet_lib.press import evidence
from ecgnet_lib.press.book import Book
from ecgnet_lib.press.claims import VERDICTS, Claim, Found, evidence_for, read_claims, verdict
from ecgnet_lib.press.ledger import ledger_page

CLAIMS = {claim.id: claim for claim in read_claims()}
PLAIN = Claim("x", "X", "says", "here", "metric", "page", "cell", measure="f1")


def found(value: float, low: float | None = None, leaky: float | None = None) -> Found:
    return Found(value, low, low and 2 * value - low, 100, "B", "data", leaky=leaky)


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "measured", "expected"),
    [
        ({"paper": 0.99, "tolerance": 0.01}, found(0.981), "reproduced"),
        ({"paper": 0.99, "tolerance": 0.01}, found(0.979), "not reproduced"),
        ({"paper": 0.9, "tolerance": 0.01}, found(0.92), "exceeded"),
        ({"paper": 0.99, "tolerance": 0.01}, found(0.8, leaky=0.985), VERDICTS[3]),
        ({"paper": 0.99, "tolerance": 0.01}, found(0.8, leaky=0.97), "not reproduced"),
        ({"paper": 0.99, "tolerance": 0.01}, None, "not run on this data"),
        ({"untestable": "no figure"}, found(0.99), "untestable as stated"),
        ({"at_least": 0.0, "end": "low"}, found(0.02, low=-0.01), "not reproduced"),
        ({"at_least": 0.0, "end": "low"}, found(0.02, low=0.01), "reproduced"),
        ({"at_least": 0.0, "tolerance": 0.02}, found(-0.01), "reproduced"),
        ({"at_most": 1.0, "tolerance": 0.1}, found(1.2), "not reproduced"),
        ({"at_most": 1.0, "tolerance": 0.1}, found(1.05), "reproduced"),
        ({"at_most": 0.0, "end": "high"}, found(-0.02, low=-0.05), "not reproduced"),
    ],
)  # fmt: skip
def test_verdict_follows_from_value_and_tolerance(changes, measured, expected) -> None:
    assert expected in VERDICTS
    assert verdict(replace(PLAIN, **changes), measured) == expected


@pytest.mark.parametrize(
    "text",
    [
        "- {id: a, title: A}",
        "- {id: a, title: A, sentence: s, where: w, metric: m, page: p, cell: c, measure: f1}",
        "- {id: a, title: A, sentence: s, where: w, metric: m, page: p, cell: c, paper: 0.9}",
        "- &a {id: a, title: A, sentence: s, where: w, metric: m, page: p, cell: c,"
        " untestable: u}\n- *a",
        "- {id: a, title: A, sentence: s, where: w, metric: m, page: p, cell: c, measure: f1,"
        " paper: 0.9, at_least: 1}",
    ],
)
def test_a_claim_that_can_have_no_verdict_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.yml").write_text(text)
    with pytest.raises(ConfigError):
        read_claims(tmp_path / "claims.yml")


# --- what is in the ledger ------------------------------------------------------------------------


def test_the_abstract_s_figures_and_words_are_all_there() -> None:
    figures = {c.id: c.paper for c in CLAIMS.values() if c.paper is not None}
    assert figures == {"abnormal": 0.99, "CD": 0.99, "HYP": 0.99, "ARR": 0.989}
    words = {"lightweight", "scalable", "interpretable", "generalizable", "risk-low", "risk-high"}
    for word in words:
        assert CLAIMS[word].measure and not CLAIMS[word].untestable
    for claim in CLAIMS.values():
        assert claim.untestable or (claim.why and claim.result)


def test_f1_claims_quote_the_stored_comparison() -> None:
    rows = load_result("comparison.json")["protocols"]["B"]["methods"]["ours"]["metrics"]
    for name in ("abnormal", "CD", "HYP", "ARR"):
        ours = evidence_for(CLAIMS[name])
        assert (ours.value, ours.low, ours.high) == tuple(
            rows[name][key] for key in ("f1", "f1_low", "f1_high")
        )
        assert ours.low < ours.value < ours.high and ours.n == rows[name]["n"]


def test_levels_and_calibration_are_measured_on_out_of_fold_predictions() -> None:
    low, high = (evidence_for(CLAIMS[f"risk-{level}"]) for level in ("low", "high"))
    rows = load_predictions("comparison.csv.gz", protocol="B", method="ours", set="test", seed=0)
    assert low.n + high.n <= known_abnormal(rows).notna().sum() and low.value < high.value
    for level in (low, high):
        assert level.low < level.value < level.high


def test_the_power_of_the_length_is_that_of_the_counted_operations() -> None:
    assert 0.9 < evidence_for(CLAIMS["scalable"]).value < 2


# --- tolerances that reject nonsense --------------------------------------------------------------

NONSENSE = ("constant", "permuted", "untrained")


@pytest.fixture(scope="module")
def pooled() -> pd.DataFrame:
    """All predictions of protocols B and C, with "abnormal" known where both answers are given."""
    rows = load_predictions("comparison.csv.gz")
    rows = rows[rows.protocol.isin(["B", "C"]) & (rows.seed == 0)]
    parts = [part.assign(abnormal=known_abnormal(part)) for _, part in rows.groupby("protocol")]
    return pd.concat(parts)


def spoilt(pooled: pd.DataFrame, protocol: str, how: str) -> pd.DataFrame:
    """Return the rows of a method that knows nothing, or of the untrained network."""
    name = "untrained" if how == "untrained" else "ours"
    rows = pooled[(pooled.protocol == protocol) & (pooled.method == name)].copy()
    scores = [f"p_{n}" for n in NAMES]
    if how == "constant":
        rows[scores] = 0.9
    elif how == "permuted":  # the scores of another recording: as if its labels were shuffled
        rows[scores] = rows[scores].sample(frac=1, random_state=0).to_numpy()
    return rows


def auc(rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Return the macro AUC of test rows: the value, then 100 resamples of the patients."""
    test = rows[rows.set == "test"].sort_values("recording")
    counts = patient_resamples(test.patient.to_numpy(), 100, seed=0)
    counts = np.vstack([np.ones((1, len(test)), int), counts])
    scores = test[[f"p_{n}" for n in columns]].set_axis(columns, axis=1)
    return macro_auc_samples(test[columns], scores, counts)


def difference(samples: np.ndarray) -> Found:
    return Found(**interval(samples), n=1, protocol="", data="")


def f1_of(name: str) -> Callable:
    def measured(pooled: pd.DataFrame, how: str) -> Found:
        rows = spoilt(pooled, "B", how)
        test, _ = apply_thresholds(rows[rows[name].notna()])
        return found(f1_score(test[name].astype(bool), test[f"d_{name}"]))

    return measured


def rivals(pooled: pd.DataFrame, how: str) -> Found:
    columns = load_result("comparison.json")["protocols"]["B"]["columns"]
    features = pooled[(pooled.protocol == "B") & (pooled.method == "features")]
    return difference(auc(features, columns) - auc(spoilt(pooled, "B", how), columns))


def transfer(pooled: pd.DataFrame, how: str) -> Found:
    ours = pooled[(pooled.protocol == "B") & (pooled.method == "ours") & (pooled.set == "test")]
    nonsense = spoilt(pooled, "C", how)
    return evidence.transferred(nonsense[nonsense.set == "test"], ours)


def level(name: str) -> Callable:
    return lambda pooled, how: evidence.in_level(spoilt(pooled, "B", how), name)


def blocks(pooled: pd.DataFrame, how: str) -> Found:
    """A whole network that is nonsense: taking a block out of it cannot cost."""
    columns = load_result("comparison.json")["protocols"]["B"]["columns"]
    without = pooled[(pooled.protocol == "B") & (pooled.method == "no GAT")]
    whole = spoilt(pooled, "B", how)
    whole = whole[whole.recording.isin(without.recording[without.set == "test"])]
    return difference(auc(without, columns) - auc(whole, columns))


def denoising(pooled: pd.DataFrame, how: str) -> Found:
    columns = load_result("denoising.json")["protocols"]["A"]["columns"]
    plain = load_predictions("denoising.csv.gz", method="butterworth", set="test")
    scores, nonsense = [f"p_{n}" for n in NAMES], plain.copy()
    if how == "untrained":
        known = load_predictions("comparison.csv.gz", protocol="A", method="untrained", set="test")
        nonsense[scores] = known.set_index("recording").loc[plain.recording, scores].to_numpy()
    elif how == "permuted":
        nonsense[scores] = plain[scores].sample(frac=1, random_state=0).to_numpy()
    else:
        nonsense[scores] = 0.9
    return difference(auc(nonsense, columns) - auc(plain, columns))


JUDGED = {
    **{name: f1_of(name) for name in ("abnormal", "CD", "HYP", "ARR")},
    "state-of-the-art": rivals,
    "generalizable": transfer,
    "blocks": blocks,
    "denoising": denoising,
    "risk-low": level("low"),
    "risk-high": level("high"),
}


def test_every_claim_in_f1_or_auc_is_put_to_the_test() -> None:
    kinds = {"f1", "rivals", "transfer", "blocks", "denoising", "level"}
    assert {c.id for c in CLAIMS.values() if c.measure in kinds and not c.untestable} == set(JUDGED)


@pytest.mark.parametrize("how", NONSENSE)
@pytest.mark.parametrize("name", JUDGED)
def test_no_tolerance_accepts_nonsense(pooled: pd.DataFrame, name: str, how: str) -> None:
    nonsense = JUDGED[name](pooled, how)
    assert verdict(CLAIMS[name], nonsense) == "not reproduced", nonsense


def test_tolerances_are_less_than_half_the_way_to_nonsense(pooled: pd.DataFrame) -> None:
    for name in ("abnormal", "CD", "HYP", "ARR"):
        best = max(JUDGED[name](pooled, how).value for how in NONSENSE)
        assert CLAIMS[name].tolerance < (CLAIMS[name].paper - best) / 2


# --- the page -------------------------------------------------------------------------------------


def test_the_page_holds_every_claim_with_its_verdict_and_place() -> None:
    page = ledger_page(Book(ROOT))
    for claim in CLAIMS.values():
        assert f"(claim-{claim.id})=" in page and f"> {claim.sentence}" in page
        assert f"{claim.page}.ipynb#" in page and f"cell `{claim.cell}`" in page
        ours = evidence_for(claim)
        assert f"| {verdict(claim, ours)} |" in page
        assert ours is None or ours.text() in page
    assert page.count("| verdict | **") == len(CLAIMS)


def test_a_claim_that_points_nowhere_is_refused(monkeypatch) -> None:
    rows = {"x": (replace(PLAIN, page="08_evaluation", untestable="u"), None)}
    monkeypatch.setattr("ecgnet_lib.press.ledger.ledger_rows", lambda book: rows)
    with pytest.raises(PageError, match=r"book/08_evaluation\.ipynb: a claim names.*x: cell"):
        ledger_page(Book(ROOT))
    rows["x"] = (replace(PLAIN, page="99_none", untestable="u"), None)
    with pytest.raises(PageError, match="names no page"):
        ledger_page(Book(ROOT))


def test_no_result_is_typed_in_the_list_of_claims() -> None:
    allowed = {"0.99", "0.989", "0.0", "1.0", "0.01", "0.02", "0.05", "0.1", "0.9"}
    typed = {
        word
        for line in ledger.FILE.read_text().splitlines()
        if not line.startswith("#")
        for word in line.replace("%", "").split()
        if word.replace(".", "", 1).isdigit() and "." in word
    }
    assert typed <= allowed | {"98.9"}
