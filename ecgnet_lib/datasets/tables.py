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
and the label columns of `labels.judge`: NORM ARR CD MI QT HYP abnormal other only_sinus_rhythm.
"""

from __future__ import annotations

import ast
import io
from collections import defaultdict
from collections.abc import Callable
from os.path import isfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from ecgnet_lib.datasets.labels import CLASSES, judge, unknown_statements
from ecgnet_lib.errors import LabelError

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


def ptbxl_table(folder: Path, *, strict: bool = False) -> Labelled:
    """Read `ptbxl_database.csv` in PTB-XL's folder; every row with a signal gets a row.

    Raises LabelError, naming file and line, for a file that is not UTF-8 CSV, a missing column,
    scp_codes that are not a dictionary, an id that stands twice, a fold outside 1-10, an age or a
    sex that cannot be one. With `strict` also for a row without its signal or a statement that the
    label map does not hold; otherwise those are listed in the result.
    """
    file = Path(folder) / "ptbxl_database.csv"
    try:
        lines = pd.read_csv(io.StringIO(_text(file)), dtype=str, keep_default_na=False).fillna("")
    except ValueError as error:  # pandas: no columns, ragged lines, an open quotation mark
        raise _bad_row(file, "the table", "comma-separated values", str(error)) from None
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
    return _labelled(rows, refused, "scp", file, strict)


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


def likelihoods(folder: Path) -> dict[str, dict[str, float]]:
    """Return {recording: {code: likelihood in %}} of PTB-XL, whose statements leave that out."""
    codes = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id").scp_codes
    return {f"ptb-xl/{key:05d}": ast.literal_eval(text) for key, text in codes.items()}


def ludb_table(folder: Path, *, strict: bool = False) -> Labelled:
    """Read the headers in LUDB's folder: 200 recordings of 200 patients.

    Each header gives age, sex and the diagnoses as sentences; `ludb.csv` repeats them with other
    capitals and adds only "pacemaker presence" for nine. A header that cannot be read, or without
    its signal, is set aside and listed; `strict` raises LabelError instead.
    """
    folder = Path(folder)
    headers = sorted((folder / "data").glob("*.hea"), key=lambda p: (len(p.stem), p.stem))
    rows, refused = _read_headers(headers, folder, lambda file: "ludb")
    listed = _text(folder / "RECORDS").split() if isfile(folder / "RECORDS") else []
    lost = [name for name in listed if not isfile(folder / f"{name}.hea")]
    refused += [(f"ludb/{Path(name).name}", "its header is not at hand") for name in lost]
    return _labelled(rows, refused, "ludb", folder, strict)


def challenge_table(folder: Path, *, strict: bool = False) -> Labelled:
    """Read the headers of the training data in the folder of the PhysioNet/CinC Challenge 2021.

    `source` is the folder's name. Where the sources give no patient, a recording is one; the
    recordings of `ptb` and of `st_petersburg_incart`, several a patient, are one patient together.
    A header that cannot be read, has no `#Dx` line or no signal is set aside and listed; `strict`
    raises LabelError instead.
    """
    folder, training = Path(folder), Path(folder) / "training"
    headers = [h for name in CHALLENGE_FOLDERS for h in sorted((training / name).rglob("*.hea"))]
    rows, refused = _read_headers(headers, folder, lambda file: file.relative_to(training).parts[0])
    return _labelled(rows, refused, "snomed", folder, strict)


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
        except LabelError as error:
            refused.append((recording, str(error).removeprefix(f"{folder}/")))
            continue
        patient = f"{source}/unknown" if source in UNKNOWN_PATIENTS else recording
        file = header.with_suffix("").relative_to(folder).as_posix()
        rows[recording] = {"source": source, "patient": patient, **row, "file": file}
    return rows, refused


def _header_row(header: Path) -> dict:
    """Read sampling rate, age, sex and statements of one header of LUDB or the Challenge."""
    lines = [line.strip() for line in _text(header).splitlines() if line.strip()]
    record_line = next((line for line in lines if not line.startswith("#")), "")
    try:
        fs_hz = float(record_line.split()[2].split("/")[0].split("(")[0])
    except (IndexError, ValueError):
        fs_hz = 0.0
    if not fs_hz > 0:
        expected = "name, number of leads, sampling rate"
        raise _bad_row(header, "record line", expected, repr(record_line))
    said: dict[str, str] = {}
    sentences = []
    for line in lines:
        comment = line[1:].strip()
        key, colon, value = comment.partition(":")
        key = key.strip("<> ").lower()
        if line.startswith("#") and colon and key in ("age", "sex", "dx", "diagnoses"):
            said[key] = value.strip()
        elif line.startswith("#") and "diagnoses" in said:
            sentences.append(comment.rstrip(". "))
    if "dx" in said:  # some lists end in a comma or have two in a row: no code was lost there
        statements = [code.strip() for code in said["dx"].split(",") if code.strip()]
    elif "diagnoses" in said:
        statements = sentences
    else:
        raise _bad_row(header, "diagnoses", "a line '#Dx:' or '#<diagnoses>:'", "neither")
    return {
        "fold": None,
        **_age_and_sex(said.get("age", ""), said.get("sex", ""), header),
        "statements": tuple(statements),
        "fs_hz": fs_hz,
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


def _labelled(rows: dict, refused: list, vocabulary: str, file: Path, strict: bool) -> Labelled:
    """Judge every row's statements and put the table together."""
    unknown: dict[str, list[str]] = defaultdict(list)
    for recording, row in rows.items():
        for code in unknown_statements(row["statements"], vocabulary):
            unknown[code].append(recording)
        row.update(judge(row["statements"], vocabulary))
    if not rows or (strict and (refused or unknown)):
        notes = [f"{name}: {why}" for name, why in refused]
        notes += [f"unknown statement {code} on {names[0]}" for code, names in unknown.items()]
        raise LabelError(
            "no recording can be labelled" if not rows else "not every recording can be labelled",
            file=file,
            expected="recordings with header, signal and known statements",
            found=f"{len(notes)} that are not so" + "".join(f"; {note}" for note in notes[:5]),
            remedy="fetch the source again; add a missing statement to label_map.csv",
        )
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


def _text(file: Path) -> str:
    """Read a UTF-8 text file; raises LabelError for one that is not there or not UTF-8."""
    try:
        data = file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        remedy = "fetch the source, or point ECGNET_DATA at a copy in PhysioNet's layout"
        raise LabelError(
            "the file cannot be read", file=file, found=error.strerror, remedy=remedy
        ) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LabelError(
            f"line {line} is not UTF-8 text",
            file=file,
            expected="UTF-8",
            found=f"byte 0x{data[error.start]:02x}",
            remedy="fetch the file again; do not save it from a spreadsheet",
        ) from None
