"""QT intervals from LUDB's manual marks: a truth that the statements of PTB-XL do not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

MARKED_LEADS = ("i", "ii", "v2", "v3", "v5")
LUDB_HZ = 500
LIMIT_MS = {"M": 450.0, "F": 460.0}  # AHA/ACCF/HRS 2009 (doi 10.1016/j.jacc.2008.12.014)


def qt_of_marks(symbols: list[str], samples: np.ndarray, fs_hz: float) -> tuple[float, float]:
    """Return the median QT and RR in ms of one lead's marks; NaN where there is none.

    Marks are "(" onset, a letter (p, N for QRS, t), ")" offset, as in LUDB. QT runs from the onset
    of a QRS to the offset of the next T before another QRS; RR from one QRS mark to the next.
    """
    start, qts, peaks = None, [], []
    for i, symbol in enumerate(symbols):
        if symbol == "N":
            start = samples[i - 1] if i and symbols[i - 1] == "(" else None
            peaks.append(samples[i])
        elif symbol == "t" and start is not None and symbols[i + 1 : i + 2] == [")"]:
            qts.append(samples[i + 1] - start)
            start = None
    qt, rr = (float(np.median(v)) if len(v) else np.nan for v in (qts, np.diff(peaks)))
    return 1000 * qt / fs_hz, 1000 * rr / fs_hz


def ludb_qtc(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return qt_ms, rr_ms, qtc_ms (Bazett: QT / sqrt(RR / 1 s)) and `prolonged` by recording.

    folder: that of LUDB; table: rows of `ludb_table`. QT and RR are medians over MARKED_LEADS.
    Prolonged: above LIMIT_MS of the recording's sex, <NA> where the sex or the QT is not known.
    """
    import wfdb

    rows = {}
    for name, file in table["file"].items():
        marks = [wfdb.rdann(str(Path(folder) / file), lead) for lead in MARKED_LEADS]
        found = np.array([qt_of_marks(list(m.symbol), m.sample, LUDB_HZ) for m in marks])
        known = found[~np.isnan(found).any(1)]
        rows[name] = np.median(known, axis=0) if len(known) else (np.nan, np.nan)
    result = pd.DataFrame.from_dict(rows, orient="index", columns=["qt_ms", "rr_ms"])
    result["qtc_ms"] = result["qt_ms"] / np.sqrt(result["rr_ms"] / 1000)
    limit = table["sex"].map(LIMIT_MS)
    prolonged = (result["qtc_ms"] > limit).astype("boolean")
    result["prolonged"] = prolonged.mask(limit.isna() | result["qtc_ms"].isna())
    return result
