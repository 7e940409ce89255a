"""QT from marks: a made recording whose intervals are known, and LUDB itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ecgnet_lib.datasets.tables import ludb_table
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluation.results import load_result
from ecgnet_lib.measurements.ludb_marks import MARKED_LEADS, ludb_qtc, qt_of_marks


def beats(qt: int, rr: int, n: int = 4) -> tuple[list[str], np.ndarray]:
    """Marks of n beats: QRS from 0 to 45, peak at 20; T ends `qt` samples after QRS onset."""
    symbols, samples = [], []
    for start in range(100, 100 + n * rr, rr):
        symbols += list("(N)(t)")
        samples += [start, start + 20, start + 45, start + 120, start + 150, start + qt]
    return symbols, np.array(samples)


def test_known_marks_give_known_intervals() -> None:
    assert qt_of_marks(*beats(200, 400), 500) == (400.0, 800.0)
    symbols, samples = beats(200, 400)
    cut = slice(0, 3)  # one QRS, no T
    assert np.isnan(qt_of_marks(symbols[cut], samples[cut], 500)).all()
    # a QRS without a T in between does not lend its onset to the next T
    symbols = list("(N)(N)(t)")
    samples = np.array([0, 20, 45, 400, 420, 445, 520, 550, 600])
    assert qt_of_marks(symbols, samples, 500) == (400.0, 800.0)


def test_bazett_and_the_limits_by_sex(tmp_path: Path) -> None:
    symbols, samples = beats(210, 400)  # QT 420 ms, RR 800 ms: QTc 469.6 ms
    wfdb.wrann("r", "i", samples, symbols, write_dir=str(tmp_path))
    for lead in MARKED_LEADS[1:]:
        shutil.copyfile(tmp_path / "r.i", tmp_path / f"r.{lead}")
    table = pd.DataFrame({"file": ["r"] * 3, "sex": ["M", "F", ""]}, index=["m", "f", "x"])
    found = ludb_qtc(tmp_path, table)
    assert found["qtc_ms"].iloc[0] == pytest.approx(420 / np.sqrt(0.8))
    assert found["prolonged"].tolist()[:2] == [True, True]
    assert found["prolonged"].isna().tolist() == [False, False, True]


def test_ludb(physionet: Path) -> None:
    table = ludb_table(physionet / "ludb").table
    found = ludb_qtc(physionet / "ludb", table)
    assert found["qtc_ms"].between(320, 530).all()
    assert found["prolonged"].sum() == 28
    assert list(found.index) == list(table.index)


def test_a_missing_result_says_how_to_make_it() -> None:
    with pytest.raises(ConfigError, match="experiment nonesuch"):
        load_result("nonesuch.json")
