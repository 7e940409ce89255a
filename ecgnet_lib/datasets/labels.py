"""From statements to classes: what a cardiologist or a machine wrote, and what we make of it.

The map is `label_map.csv` beside this module, one row per statement that may occur:

vocabulary   `scp` (the 71 SCP-ECG codes of PTB-XL), `snomed` (the 133 SNOMED CT codes of the
             PhysioNet/CinC Challenge 2021) or `ludb` (the 82 sentences of LUDB's headers)
code         the code, or the sentence itself, as it stands in the source
description  the source's own words (empty for LUDB, where the code is the description)
class        one of CLASSES, or empty: the statement has no home in the six
tier         `core`: counts as the class. `extended`: a wider reading would count it (voltage alone,
             sinus bradycardia, subendocardial injury); only sensitivity analyses do
kind         `normal`: the statement "normal ECG". `sinus`: sinus rhythm at any rate or a normal
             axis, which says nothing abnormal by itself. `aside`: a technical problem or a
             diagnosis not read off the ECG. `abnormal`: any other finding

Codes and descriptions are those of PTB-XL's `scp_statements.csv`, LUDB's headers and
`dx_mapping_*scored.csv` (github.com/physionetchallenges/evaluation-2021). A code's class is our
reading of the AHA/ACCF/HRS statement categories (Mason et al. 2007, doi
10.1161/CIRCULATIONAHA.106.180201), not something the paper gives.

Two choices to know. Every statement counts whatever its likelihood: PTB-XL stores 0, "unknown",
with nearly every rhythm and form statement. And only the statement NORM means normal: sinus rhythm
is a rhythm, found on infarctions too. Sources without a statement "normal ECG" can prove a
recording abnormal but never normal; there `abnormal` stays unknown when nothing abnormal is stated.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

CLASSES = ("NORM", "ARR", "CD", "MI", "QT", "HYP")
DISEASES = CLASSES[1:]
MAP_FILE = Path(__file__).with_name("label_map.csv")


class Meaning(NamedTuple):
    """The meaning of one statement: a row of the label map."""

    description: str
    cls: str
    tier: str
    kind: str


@cache
def label_map(vocabulary: str) -> dict[str, Meaning]:
    """Give every statement of a vocabulary with its meaning; do not change what is returned."""
    with MAP_FILE.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["vocabulary"] == vocabulary]
    return {r["code"]: Meaning(r["description"], r["class"], r["tier"], r["kind"]) for r in rows}


def label_columns(statements: Iterable[str], vocabulary: str) -> dict[str, bool | None]:
    """Turn the statements of one recording into the label columns of a table.

    Gives NORM ARR CD MI QT HYP; `abnormal`; `other`, abnormal and in none of the five diseases; and
    `only_sinus_rhythm`, statements of kind `sinus` and nothing else but perhaps NORM. (PTB-XL files
    LNGQT under ST-T changes; here it is QT.)

    With the `scp` vocabulary `abnormal` is "NORM is absent", as in the PTB-XL benchmark (Strodthoff
    et al. 2021, doi 10.1109/JBHI.2020.3022989), also where NORM stands beside a disease. Elsewhere
    it is True if any statement is abnormal and otherwise None, unknown. `only_sinus_rhythm` is the
    weaker negative that an evaluation on those sources may declare: in our 2,854 PTB-XL recordings
    1,137 of the 1,139 for which it holds carry NORM, sinus bradycardia and tachycardia included.

    A statement that the map does not hold proves nothing and is passed over; `tables` lists it.
    """
    known = label_map(vocabulary)
    statements = list(statements)
    meanings = [known[code] for code in statements if code in known]
    classes = {m.cls for m in meanings if m.tier == "core"}
    kinds = {m.kind for m in meanings}
    abnormal = "NORM" not in classes if vocabulary == "scp" else "abnormal" in kinds or None
    all_known = len(meanings) == len(statements)
    return {
        **{name: name in classes for name in CLASSES},
        "abnormal": abnormal,
        "other": abnormal is True and not classes & set(DISEASES),
        "only_sinus_rhythm": all_known and "sinus" in kinds and kinds <= {"sinus", "normal"},
    }
