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
from collections import defaultdict
from collections.abc import Callable
from os.path import isfile
from pathlib import Path
from typing import NamedTuple

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
    """A table, and what a reader of it must know that is not in it."""

    table: pd.DataFrame
    refused: list[tuple[str, str]]
    """(recording, reason) for each that was set aside."""
    unknown: dict[str, list[str]]
    """Statements that the label map does not hold -> the recordings that carry them."""


def ptbxl_table(folder: Path) -> Labelled:
    """Read `ptbxl_database.csv` in PTB-XL's folder; every row with a signal gets a row.

    A row without its signal and a statement that the label map does not hold are listed in the
    result. Raises LabelError, naming file and line, for a file that is not UTF-8 CSV, a missing
    column, scp_codes that are not a dictionary, an id that stands twice, a fold outside 1-10, an
    age or a sex that cannot be one.
    """
    file = Path(folder) / "ptbxl_database.csv"
    try:
        lines = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig").fillna("")
    except OSError as error:
        what, remedy = "the file cannot be read", "fetch the source, or point ECGNET_DATA at a copy"
        raise LabelError(what, file=file, found=error.strerror, remedy=remedy) from None
    except ValueError as error:  # no UTF-8, no columns, ragged lines, an open quotation mark
        raise _bad_row(file, "the table", "comma-separated UTF-8 values", str(error)) from None
    if missing := [c for c in PTBXL_COLUMNS if c not in lines.columns]:
        columns = ", ".join(PTBXL_COLUMNS)
        raise _bad_row(file, "the table", columns, f"no column {', '.join(missing)}")
    rows: dict[str, dict] = {}
    refused = []
    seen: set[str] = set()
    for number, raw in enumerate(lines.to_dict("records"), start=2):
        where = f"{file}, line {number}"
        recording, row = _ptbxl_row(raw, where)
        if recording in seen:
            raise _bad_row(where, "ecg_id", "one line for each id", f"{recording} again")
        seen.add(recording)
        file_500, file_100 = (
            raw[name] if _has_signal(f"{folder}/{raw[name]}") else ""
            for name in ("filename_hr", "filename_lr")
        )
        if not file_500 and not file_100:
            refused.append((recording, f"its signal {raw['filename_hr']} is not at hand"))
            continue
        best = {"file": file_500 or file_100, "fs_hz": 500.0 if file_500 else 100.0}
        rows[recording] = {**row, **best}
    return _labelled(rows, refused, "scp", file)


def _ptbxl_row(raw: dict[str, str], where: str) -> tuple[str, dict]:
    """Read one line of the PTB-XL database; gives the name of the recording and its columns."""

    def number(column: str, low: int, high: int) -> int:
        try:
            value = float(raw[column])
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value != int(value):
            raise _bad_row(where, column, f"whole number, {low} to {high}", repr(raw[column]))
        return int(value)

    try:
        codes = ast.literal_eval(raw["scp_codes"])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        codes = None
    if not isinstance(codes, dict) or not all(isinstance(code, str) for code in codes):
        expected = "a dictionary such as {'NORM': 100.0, 'SR': 0.0}"
        raise _bad_row(where, "scp_codes", expected, repr(raw["scp_codes"]))
    row = {
        "source": "ptb-xl",
        "patient": f"ptb-xl/{number('patient_id', 0, 10**9)}",
        "fold": number("strat_fold", 1, 10),
        **_age_and_sex(raw["age"], raw["sex"], where),
        "statements": tuple(codes),
    }
    return f"ptb-xl/{number('ecg_id', 0, 10**9):05d}", row


def ludb_table(folder: Path) -> Labelled:
    """Read the headers in LUDB's folder: 200 recordings of 200 patients.

    Each header gives age, sex and the diagnoses as sentences; `ludb.csv` repeats them with other
    capitals and adds only "pacemaker presence" for nine. A header that cannot be read, or without
    its signal, is set aside and listed. Raises LabelError if none is left.
    """
    folder = Path(folder)
    headers = sorted((folder / "data").glob("*.hea"), key=lambda p: (len(p.stem), p.stem))
    rows, refused = _read_headers(headers, folder, lambda file: "ludb")
    listed = (folder / "RECORDS").read_text().split() if isfile(folder / "RECORDS") else []
    lost = [name for name in listed if not isfile(folder / f"{name}.hea")]
    refused += [(f"ludb/{Path(name).name}", "its header is not at hand") for name in lost]
    return _labelled(rows, refused, "ludb", folder)


def challenge_table(folder: Path) -> Labelled:
    """Read the headers of the training data in the folder of the PhysioNet/CinC Challenge 2021.

    `source` is the folder's name. Where the sources give no patient, a recording is one; the
    recordings of `ptb` and of `st_petersburg_incart`, several a patient, are one patient together.
    A header that cannot be read, has no `#Dx` line or no signal is set aside and listed. Raises
    LabelError if none is left.
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
) -> tuple[dict[str, dict], list[tuple[str, str]]]:
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
    return rows, refused


def _header_row(file: Path) -> dict:
    """Read sampling rate, age, sex and statements of one header of LUDB or the Challenge."""
    header = read_header(file)
    said: dict[str, str] = {}
    sentences = []
    for comment in header.comments:
        key, colon, value = comment.partition(":")
        key = key.strip("<> ").lower()
        if colon and key in ("age", "sex", "dx", "diagnoses"):
            said[key] = value.strip()
        elif "diagnoses" in said:
            sentences.append(comment.rstrip(". "))
    if "dx" in said:  # some lists end in a comma or have two in a row: no code was lost there
        statements = [code.strip() for code in said["dx"].split(",") if code.strip()]
    elif "diagnoses" in said:
        statements = sentences
    else:
        raise _bad_row(file, "diagnoses", "a line '#Dx:' or '#<diagnoses>:'", "neither")
    return {
        "fold": None,
        **_age_and_sex(said.get("age", ""), said.get("sex", ""), file),
        "statements": tuple(statements),
        "fs_hz": header.fs_hz,
    }


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


def _labelled(rows: dict, refused: list, vocabulary: str, file: Path) -> Labelled:
    """Add the label columns to every row, and put the table together."""
    if not rows:
        raise LabelError(
            "no recording can be labelled",
            file=file,
            expected="recordings with header and signal",
            found=f"{len(refused)} without" + "".join(f"; {n}: {why}" for n, why in refused[:5]),
            remedy="fetch the source again",
        )
    unknown: dict[str, list[str]] = defaultdict(list)
    for recording, row in rows.items():
        for code in row["statements"]:
            if code not in label_map(vocabulary):
                unknown[code].append(recording)
        row.update(label_columns(row["statements"], vocabulary))
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("recording")
    table = table.astype({"fold": "Int64", "age": float, "fs_hz": float, "abnormal": "boolean"})
    return Labelled(table[list(COLUMNS)], refused, dict(unknown))


def _has_signal(stem: str | Path) -> bool:
    """Whether a recording has both a header and a signal file."""
    return isfile(f"{stem}.hea") and (isfile(f"{stem}.dat") or isfile(f"{stem}.mat"))


def _bad_row(where: str | Path, what: str, expected: str, found: str) -> LabelError:
    return LabelError(
        f"{what} cannot be understood",
        file=where,
        expected=expected,
        found=found,
        remedy="fetch the file again, or correct this line",
    )
