"""One table per source: a row per recording, with its patient, statements, classes and file.

Index `recording`, unique over all sources: "ptb-xl/00001", "ludb/1", "ningbo/JS10001". Columns:

source     name of the database; of the Challenge, the name of its folder
patient    source and patient, "ptb-xl/15709"; recordings of one patient share it
fold       PTB-XL's `strat_fold`, 1 to 10 (Int64); <NA> elsewhere
age        years, NaN when not known; 90 stands for every age over 89, as PTB-XL hides those
sex        "F", "M" or "" when not known
statements tuple of codes or sentences, as the source gives them
file       the recording at its best sampling rate, in the source's folder, without suffix
fs_hz      sampling rate of `file`
and those of `labels.label_columns`: NORM ARR CD MI QT HYP abnormal other only_sinus_rhythm.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from os.path import isfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecgnet_lib.datasets.labels import CLASSES, label_columns, label_map
from ecgnet_lib.datasets.wfdb_files import read_header
from ecgnet_lib.errors import EcgnetError, LabelError

COLUMNS = (
    *("source", "patient", "fold", "age", "sex", "statements", "file", "fs_hz"),
    *(*CLASSES, "abnormal", "other", "only_sinus_rhythm"),
)
PTBXL_COLUMNS = (
    *("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold"),
    *("filename_lr", "filename_hr"),
)
# The Challenge's copy of PTB-XL is left out: it repeats the source ptb-xl under other names.
CHALLENGE_FOLDERS = (
    *("chapman_shaoxing", "ningbo", "cpsc_2018", "cpsc_2018_extra"),
    *("georgia", "ptb", "st_petersburg_incart"),
)
# Several recordings a patient and no patient id: all of them count as one patient.
UNKNOWN_PATIENTS = ("ptb", "st_petersburg_incart")
OVER_89 = 90.0
SEXES = {
    **{"0": "M", "1": "F", "m": "M", "f": "F", "male": "M", "female": "F"},
    **{"": "", "nan": "", "unknown": ""},
}


class Labelled(NamedTuple):
    """A table, and (recording, reason) of each that was set aside or has an unknown statement."""

    table: pd.DataFrame
    refused: list[tuple[str, str]]


def ptbxl_table(folder: Path) -> Labelled:
    """Read `ptbxl_database.csv` in PTB-XL's folder; every row with a signal gets a row.

    Raises LabelError, naming file and line, for a file that is not UTF-8 CSV, a missing column, and
    a value that cannot be one: codes, an id that stands twice, a fold outside 1-10, age, sex.
    """
    file = Path(folder) / "ptbxl_database.csv"
    try:
        lines = pd.read_csv(file, usecols=PTBXL_COLUMNS, dtype=str, encoding="utf-8-sig").fillna("")
    except OSError as error:
        what, remedy = "the file cannot be read", "fetch the source, or point ECGNET_DATA at a copy"
        raise LabelError(what, file=file, found=error.strerror, remedy=remedy) from None
    except ValueError as error:  # no UTF-8, a column lost, ragged lines, an open quotation mark
        raise _bad_row(file, "the table", "comma-separated UTF-8 values", str(error)) from None
    where = [f"{file}, line {number}" for number in range(2, len(lines) + 2)]

    def checked(column: str, good: pd.Series, expected: str) -> None:
        for at in np.flatnonzero(~good)[:1]:
            raise _bad_row(where[at], column, expected, repr(lines[column][at]))

    def whole_numbers(column: str, low: int, high: int) -> pd.Series:
        values = pd.to_numeric(lines[column], errors="coerce")
        good = values.between(low, high) & (values % 1 == 0)
        checked(column, good, f"whole number, {low} to {high}")
        return values.astype(int)

    ids = whole_numbers("ecg_id", 0, 10**9)
    checked("ecg_id", ~ids.duplicated(), "one line for each id")
    codes = lines["scp_codes"].map(_scp_codes)
    checked("scp_codes", codes.notna(), "a dictionary such as {'NORM': 100.0, 'SR': 0.0}")
    people = [_age_and_sex(*row) for row in zip(lines["age"], lines["sex"], where, strict=True)]
    at_500, at_100 = (
        np.array([_has_signal(f"{folder}/{name}") for name in lines[column]], bool)
        for column in ("filename_hr", "filename_lr")
    )
    rows = pd.DataFrame(people).assign(
        source="ptb-xl",
        patient="ptb-xl/" + whole_numbers("patient_id", 0, 10**9).astype(str),
        fold=whole_numbers("strat_fold", 1, 10),
        statements=codes,
        file=lines["filename_hr"].where(at_500, lines["filename_lr"]),
        fs_hz=np.where(at_500, 500.0, 100.0),
    )
    rows.index = "ptb-xl/" + ids.astype(str).str.zfill(5)
    here = at_500 | at_100
    absent = rows.loc[~here, "file"]
    refused = [(name, f"its signal {file} is not at hand") for name, file in absent.items()]
    return _labelled(rows[here], refused, "scp", file)


def _scp_codes(text: str) -> tuple[str, ...] | None:
    """The codes of a line of PTB-XL; None for what is no dictionary."""
    try:
        codes = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return tuple(map(str, codes)) if isinstance(codes, dict) else None


def likelihoods(folder: Path) -> dict[str, dict[str, float]]:
    """Return {recording: {code: likelihood in %}} of PTB-XL, whose statements leave that out."""
    codes = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id").scp_codes
    return {f"ptb-xl/{key:05d}": ast.literal_eval(text) for key, text in codes.items()}


def ludb_table(folder: Path) -> Labelled:
    """Read the headers in LUDB's folder: 200 recordings of 200 patients.

    Each header gives age, sex and the diagnoses as sentences; `ludb.csv` repeats them with other
    capitals and adds only "pacemaker presence" for nine. A header that cannot be read, or without
    its signal, is set aside. Raises LabelError if none is left.
    """
    folder = Path(folder)
    headers = sorted((folder / "data").glob("*.hea"), key=lambda p: (len(p.stem), p.stem))
    rows, refused = _read_headers(headers, folder, lambda file: "ludb")
    return _labelled(rows, refused, "ludb", folder)


def challenge_table(folder: Path) -> Labelled:
    """Read the headers of the training data in the folder of the PhysioNet/CinC Challenge 2021.

    `source` is the folder's name. Where a source gives no patient, a recording is one; those of
    UNKNOWN_PATIENTS are one together. A header that cannot be read, has no `#Dx` line or no signal
    is set aside. Raises LabelError if none is left.
    """
    folder, training = Path(folder), Path(folder) / "training"
    headers = [h for name in CHALLENGE_FOLDERS for h in sorted((training / name).rglob("*.hea"))]
    rows, refused = _read_headers(headers, folder, lambda file: file.relative_to(training).parts[0])
    return _labelled(rows, refused, "snomed", folder)


READERS: dict[str, Callable[[Path], Labelled]] = {
    "ptbxl": ptbxl_table,
    "ptbxl-500": ptbxl_table,
    "ludb": ludb_table,
    "challenge-2021": challenge_table,
}


def _read_headers(
    headers: list[Path], folder: Path, source_of: Callable[[Path], str]
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Read WFDB headers into rows; a bad one is set aside, with the reason."""
    rows: dict[str, dict] = {}
    refused = []
    for header in tqdm(headers, desc="headers", disable=None):
        source = source_of(header)
        recording = f"{source}/{header.stem}"
        try:
            row = _header_row(header)
            if recording in rows:
                raise _bad_row(header, "name", "one file each", f"also {rows[recording]['file']}")
            if not _has_signal(header.with_suffix("")):
                raise LabelError("its signal is not at hand", file=header)
        except EcgnetError as error:
            refused.append((recording, str(error).removeprefix(f"{folder}/")))
            continue
        patient = f"{source}/unknown" if source in UNKNOWN_PATIENTS else recording
        file = header.with_suffix("").relative_to(folder).as_posix()
        rows[recording] = {"source": source, "patient": patient, **row, "file": file}
    return pd.DataFrame.from_dict(rows, orient="index"), refused


def _header_row(file: Path) -> dict:
    """Read sampling rate, age, sex and statements of one header of LUDB or the Challenge."""
    header = read_header(file)
    said, statements = {"age": "", "sex": ""}, []
    for comment in header.comments:
        key, colon, value = comment.partition(":")
        key = key.strip("<> ").lower()
        if colon and key in ("age", "sex", "dx", "diagnoses"):
            said[key] = value.strip()
        elif "diagnoses" in said:  # LUDB: a sentence a line
            statements.append(comment.rstrip(". "))
    if not said.keys() & {"dx", "diagnoses"}:
        raise _bad_row(file, "diagnoses", "a line '#Dx:' or '#<diagnoses>:'", "neither")
    if "dx" in said:  # some lists end in a comma or have two in a row: no code was lost there
        statements = [code.strip() for code in said["dx"].split(",") if code.strip()]
    person = _age_and_sex(said["age"], said["sex"], file)
    return {"fold": None, **person, "statements": tuple(statements), "fs_hz": header.fs_hz}


def _age_and_sex(age: str, sex: str, where: str | Path) -> dict:
    """Understand "56.0", "NaN", "89+", ">89", PTB-XL's 300 for over 89; and the names of sexes."""
    text = age.strip().lower()
    try:
        years = float("nan") if text in ("", "unknown") else float(text.strip(">+ "))
    except ValueError:
        raise _bad_row(where, "age", "years, NaN or nothing", repr(age)) from None
    if years < 0 or 120 < years != 300:
        raise _bad_row(where, "age", "0 to 120 years, or 300 for over 89", repr(age))
    if years > 89 or text.endswith("+") or text.startswith(">"):
        years = OVER_89
    if sex.strip().lower() not in SEXES:
        raise _bad_row(where, "sex", "0, 1, M, F, Male, Female or nothing", repr(sex))
    return {"age": years, "sex": SEXES[sex.strip().lower()]}


def _labelled(rows: pd.DataFrame, refused: list, vocabulary: str, file: Path) -> Labelled:
    """Add the label columns to every row, and give the table its order and types."""
    if rows.empty:
        found = f"{len(refused)} without" + "".join(f"; {n}: {why}" for n, why in refused[:5])
        what, expected = "no recording can be labelled", "recordings with header and signal"
        told = {"expected": expected, "found": found, "remedy": "fetch the source again"}
        raise LabelError(what, file=file, **told)
    refused += [
        (recording, f"kept, but its statement {code} is unknown")
        for recording, codes in rows["statements"].items()
        for code in codes
        if code not in label_map(vocabulary)
    ]
    labels = [label_columns(codes, vocabulary) for codes in rows["statements"]]
    table = rows.join(pd.DataFrame(labels, index=rows.index)).rename_axis("recording")
    table = table.astype({"fold": "Int64", "age": float, "fs_hz": float, "abnormal": "boolean"})
    return Labelled(table[list(COLUMNS)], refused)


def _has_signal(stem: str | Path) -> bool:
    """Whether a recording has both a header and a signal file."""
    return isfile(f"{stem}.hea") and (isfile(f"{stem}.dat") or isfile(f"{stem}.mat"))


def _bad_row(where: str | Path, what: str, expected: str, found: str) -> LabelError:
    what, remedy = f"{what} cannot be understood", "fetch the file again, or correct this line"
    return LabelError(what, file=where, expected=expected, found=found, remedy=remedy)
