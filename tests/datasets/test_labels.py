"""labels.py and tables.py: the map against its sources, known counts, and bad metadata."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgnet_lib.datasets.labels import CLASSES, DISEASES, MAP_FILE, label_columns, label_map
from ecgnet_lib.datasets.tables import (
    COLUMNS,
    PTBXL_COLUMNS,
    challenge_table,
    ludb_table,
    ptbxl_table,
)
from ecgnet_lib.errors import LabelError

# n, NORM ARR CD MI QT HYP, NORM alone, one disease, two or more, none of the six
COUNTS = {
    "all": (2854, 1376, 375, 565, 604, 8, 325, 1265, 841, 461, 287),
    "ids 1-500": (500, 297, 38, 78, 71, 3, 40, 285, 115, 50, 50),
    "folds 1-8": (2325, 1125, 305, 454, 503, 7, 272, 1033, 685, 382, 225),
    "fold 9": (331, 155, 45, 74, 63, 1, 36, 143, 93, 56, 39),
    "fold 10": (198, 96, 25, 37, 38, 0, 17, 89, 63, 23, 23),
}
VOCABULARIES = ("scp", "snomed", "ludb")
SUPERCLASS = {"NORM": {"NORM"}, "CD": {"CD"}, "HYP": {"HYP"}, "MI": {"MI"}}


@pytest.fixture(scope="module")
def ptbxl(physionet: Path) -> pd.DataFrame:
    table, refused = ptbxl_table(physionet / "ptb-xl")
    assert refused == []
    return table


@pytest.fixture(scope="module")
def whole(ptbxl: pd.DataFrame) -> pd.DataFrame:
    if len(ptbxl) != 2854:
        pytest.skip("needs the unpacked copy with 2,854 PTB-XL recordings")
    return ptbxl


def test_map_rows_are_unique_and_consistent():
    with MAP_FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len({(r["vocabulary"], r["code"]) for r in rows}) == len(rows)
    assert {v: len(label_map(v)) for v in VOCABULARIES} == {"scp": 71, "snomed": 133, "ludb": 82}
    assert sum(len(label_map(v)) for v in VOCABULARIES) == len(rows)
    for row in rows:
        assert row["class"] in ("", *CLASSES), row
        assert row["tier"] in (("core", "extended") if row["class"] else ("",)), row
        assert row["kind"] in ("normal", "sinus", "abnormal", "aside"), row
        assert (row["class"] == "NORM") == (row["kind"] == "normal"), row
        assert row["kind"] == "abnormal" or row["tier"] != "core" or row["class"] == "NORM", row


def test_only_the_scp_statement_norm_is_normal():
    normal = [(v, c) for v in VOCABULARIES for c, m in label_map(v).items() if m.cls == "NORM"]
    assert normal == [("scp", "NORM")]
    assert label_map("snomed")["426783006"].description == "sinus rhythm"
    assert label_map("snomed")["426783006"].kind == label_map("scp")["SR"].kind == "sinus"


def test_map_agrees_with_ptbxl_own_statements(physionet: Path):
    own = pd.read_csv(physionet / "ptb-xl" / "scp_statements.csv", index_col=0)
    ours = label_map("scp")
    assert set(own.index) == set(ours)
    for code, row in own.iterrows():
        assert ours[code].description == row.description
        if row.diagnostic_class in SUPERCLASS:
            assert {ours[code].cls} == SUPERCLASS[row.diagnostic_class], code
            injury = code.startswith("INJ")  # filed under MI, but injury is not infarction
            assert ours[code].tier == ("extended" if injury else "core"), code
        elif row.diagnostic_class == "STTC":
            assert ours[code].cls == ("QT" if code == "LNGQT" else ""), code


def test_same_finding_has_the_same_class_in_scp_and_snomed():
    """Pairs that the Challenge's own conversion of PTB-XL gives."""
    pairs = {
        **{"AFIB": "164889003", "AFLT": "164890007", "CRBBB": "713427006", "IRBBB": "713426002"},
        **{"LAFB": "445118002", "CLBBB": "164909002", "1AVB": "270492004", "3AVB": "27885002"},
        **{"IVCD": "698252002", "LNGQT": "111975006", "LVH": "164873001", "RVH": "89792004"},
        **{"LAO/LAE": "67741000119109", "RAO/RAE": "446358003", "SEHYP": "266249003"},
        **{"AMI": "54329005", "IMI": "164865005", "WPW": "74390002", "PAC": "284470004"},
        **{"PVC": "164884008", "BIGU": "11157007", "TRIGU": "251180001", "PACE": "10370003"},
        **{"SBRAD": "426177001", "STACH": "427084000", "SARRH": "427393009", "LPR": "164947007"},
        **{"STD_": "429622005", "QWAVE": "164917005", "INVT": "59931005", "LVOLT": "251146004"},
    }
    for scp, snomed in pairs.items():
        assert label_map("scp")[scp][1:] == label_map("snomed")[snomed][1:], scp


@pytest.mark.parametrize(
    ("words", "number", "cls", "tier", "kind"),
    [
        (("STEMI:", "Scar formation:"), 11, "MI", "core", "abnormal"),
        (("Undefined ischemia/scar/supp.NSTEMI:",), 6, "MI", "extended", "abnormal"),
        (("Ischemia:", "Non-specific repolarization"), 12, "", "", "abnormal"),
        (("Atrial extrasystole", "Ventricular extrasystole"), 17, "ARR", "core", "abnormal"),
        (("Rhythm: Atrial", "Wandering atrial"), 3, "ARR", "core", "abnormal"),
        (("UNI", "BI", "Bi", "P-"), 5, "", "", "abnormal"),
        (("Left ventricular o",), 1, "HYP", "extended", "abnormal"),
        (("Left a", "Left ventricular h", "Right"), 7, None, "core", "abnormal"),
        (("I ", "III ", "Complete", "Incomplete"), 6, "CD", "core", "abnormal"),
    ],
)
def test_ludb_sentences_of_a_kind_mean_the_same(words, number, cls, tier, kind):
    rows = {code: m for code, m in label_map("ludb").items() if code.startswith(words)}
    assert len(rows) == number
    for code, meaning in rows.items():
        wanted = cls if cls is not None else "CD" if "hemiblock" in code else "HYP"
        assert meaning[1:] == (wanted, tier, kind), code


SINUS, AXIS = "Rhythm: Sinus rhythm", "Electric axis of the heart: "


@pytest.mark.parametrize(
    ("vocabulary", "statements", "classes", "abnormal", "other", "only_sinus"),
    [
        ("scp", ["NORM", "SR"], "NORM", False, False, True),
        ("scp", ["NORM", "SBRAD"], "NORM", False, False, True),
        ("scp", ["NORM", "LVOLT", "SR"], "NORM", False, False, False),
        ("scp", ["NORM", "PVC", "SR"], "NORM ARR", False, False, False),
        ("scp", ["SR"], "", True, True, True),
        ("scp", ["NDT", "STD_", "SR"], "", True, True, False),
        ("scp", ["INJAS", "VCLVH", "LPR"], "", True, True, False),
        ("scp", ["LNGQT", "NDT"], "QT", True, False, False),
        ("scp", ["IMI", "CRBBB", "LVH", "AFIB"], "ARR CD MI HYP", True, False, False),
        ("snomed", ["426783006"], "", None, False, True),
        ("snomed", ["426177001"], "", None, False, True),
        ("snomed", ["426783006", "164934002"], "", True, True, False),
        ("snomed", ["111975006", "164889003"], "ARR QT", True, False, False),
        ("snomed", ["84114007"], "", None, False, False),  # heart failure is not read off an ECG
        ("snomed", ["426783006", "999"], "", None, False, False),
        ("snomed", [], "", None, False, False),
        ("ludb", [SINUS, AXIS + "normal"], "", None, False, True),
        ("ludb", [AXIS + "left axis deviation"], "", True, True, False),
        ("ludb", ["Scar formation: septal", "I degree AV block"], "CD MI", True, False, False),
        ("ludb", ["Undefined ischemia/scar/supp.NSTEMI: apical"], "", True, True, False),
    ],
)
def test_label_columns(vocabulary, statements, classes, abnormal, other, only_sinus):
    row = label_columns(statements, vocabulary)
    assert [name for name in CLASSES if row[name]] == classes.split()
    assert row["abnormal"] is abnormal
    assert (row["other"], row["only_sinus_rhythm"]) == (other, only_sinus)


@pytest.mark.parametrize("part", COUNTS)
def test_ptbxl_counts(whole: pd.DataFrame, part: str):
    folds = {"folds 1-8": range(1, 9), "fold 9": [9], "fold 10": [10]}.get(part, range(1, 11))
    table = whole[whole.fold.isin(folds)]
    if part == "ids 1-500":
        table = table[table.index <= "ptb-xl/00500"]
    diseases = table[list(DISEASES)].sum(axis=1)
    kinds = [table.NORM & (diseases == 0), diseases == 1, diseases >= 2, table.other]
    assert (len(table), *table[list(CLASSES)].sum(), *map(sum, kinds)) == COUNTS[part]
    assert (table.abnormal == ~table.NORM).all()


def test_ptbxl_table(whole: pd.DataFrame):
    first_500 = whole.iloc[:500]
    assert tuple(whole.columns) == COLUMNS and whole.index.name == "recording"
    assert whole.index.is_unique and whole.index[0] == "ptb-xl/00001"
    assert whole.patient.nunique() == 2765 and first_500.patient.nunique() == 466
    # 12 in 500 carry NORM and a disease at once: the statements stand as they were given
    assert (first_500.NORM & first_500[list(DISEASES)].any(axis=1)).sum() == 12
    assert (whole.fs_hz == 500).all()
    assert whole.sex.value_counts().to_dict() == {"M": 1479, "F": 1375}
    row = whole.loc["ptb-xl/00001"]
    assert (row.patient, row.fold, row.age, row.sex) == ("ptb-xl/15709", 3, 56, "F")
    assert row.statements == ("NORM", "LVOLT", "SR")
    assert row.file == "records500/00000/00001_hr"
    assert whole.age.max() == 90 and (whole.age == 90).sum() >= 32 and whole.age.isna().sum() == 4


def test_sinus_rhythm_alone_is_a_fair_negative(whole: pd.DataFrame):
    """Why sinus bradycardia alone does not make a SNOMED recording abnormal."""
    sinus = whole[whole.only_sinus_rhythm]
    assert (len(sinus), sinus.NORM.sum()) == (1139, 1137)
    slow_or_fast = sinus[[not {"SR"} & set(codes) for codes in sinus.statements]]
    assert len(slow_or_fast) >= 118 and slow_or_fast.NORM.all()


def test_ludb_table(physionet: Path):
    table, refused = ludb_table(physionet / "ludb")
    assert refused == []
    assert len(table) == table.patient.nunique() == 200
    assert list(table.index[[0, -1]]) == ["ludb/1", "ludb/200"]
    said = set().union(*table.statements)
    assert said == set(label_map("ludb"))
    # the counts that LUDB's own README gives
    count = pd.Series([s for row in table.statements for s in row]).value_counts()
    assert count["Left ventricular hypertrophy"] == 108 and count["Rhythm: Sinus rhythm"] == 143
    assert table.sex.value_counts().to_dict() == {"M": 115, "F": 85}
    assert (table.age.min(), table.age.max()) == (11, 90)
    # the same from the text of the headers, without our reader
    for cls, words in (("MI", ("STEMI:", "Scar formation")), ("CD", ("block", "nduction"))):
        texts = [(physionet / "ludb" / f"{file}.hea").read_text() for file in table.file]
        # "supp.NSTEMI" and "Sinoatrial blockade" name no class of the core tier
        texts = [t.replace("NSTEMI", "").replace("blockade", "") for t in texts]
        assert (table[cls] == [any(word in t for word in words) for t in texts]).all(), cls
    assert table.abnormal.isna().sum() == table.only_sinus_rhythm.sum() == 25
    assert not table.NORM.any() and table.fold.isna().all()


def test_challenge_table(physionet: Path):
    table, refused = challenge_table(physionet / "challenge-2021")
    assert refused == [("ningbo/JS20006", "kept, but its statement 251238007 is unknown")]
    sources = table.source.value_counts().to_dict()
    assert sources.pop("chapman_shaoxing") + sources.pop("ningbo") == 85
    assert sources == {"cpsc_2018": 14, "ptb": 10}
    assert set(table.patient[table.source == "ptb"]) == {"ptb/unknown"}
    assert table.patient[table.source != "ptb"].is_unique
    assert table.fs_hz.value_counts().to_dict() == {500: 99, 1000: 10}
    assert not table.NORM.any() and table.abnormal.dropna().all()
    row = table.loc["chapman_shaoxing/JS00001"]
    assert (row.age, row.sex, row.ARR, row.CD, row.MI) == (85, "M", True, True, False)
    assert all((physionet / "challenge-2021" / f"{file}.hea").is_file() for file in table.file)


def write_ptbxl(root: Path, rows: list[dict] | bytes, signals: tuple[str, ...] = ("hr", "lr")):
    (root / "records").mkdir()
    for name in signals:
        for suffix in ("hea", "dat"):
            (root / "records" / f"1_{name}.{suffix}").touch()
    if isinstance(rows, bytes):
        (root / "ptbxl_database.csv").write_bytes(rows)
    else:
        pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
    return root


def ptbxl_line(**changes) -> dict:
    return {
        **{"ecg_id": 1, "patient_id": 7.0, "age": 50.0, "sex": 1, "strat_fold": 10},
        **{"scp_codes": "{'IMI': 100.0, 'SR': 0.0}", "filename_lr": "records/1_lr"},
        **{"filename_hr": "records/1_hr", **changes},
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scp_codes": "{'NORM': 100.0"}, r"line 3: scp_codes .* found .*NORM"),
        ({"scp_codes": "['NORM']"}, "line 3: scp_codes"),
        ({"scp_codes": ""}, "line 3: scp_codes"),
        ({"strat_fold": 11}, "line 3: strat_fold .* 1 to 10; found '11'"),
        ({"strat_fold": 0}, "line 3: strat_fold"),
        ({"ecg_id": 1}, "line 3: ecg_id .* one line for each id; found '1'"),
        ({"ecg_id": "one"}, "line 3: ecg_id"),
        ({"patient_id": None}, "line 3: patient_id .* found ''"),
        ({"age": -5}, "line 3: age"),
        ({"age": "old"}, "line 3: age"),
        ({"sex": 2}, "line 3: sex .* found '2'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, changes: dict, told: str):
    write_ptbxl(tmp_path, [ptbxl_line(), ptbxl_line(**{"ecg_id": 2, **changes})])
    with pytest.raises(LabelError, match=rf"ptbxl_database\.csv, {told}.*To fix: "):
        ptbxl_table(tmp_path)


@pytest.mark.parametrize("column", PTBXL_COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, column: str):
    line = ptbxl_line()
    del line[column]
    with pytest.raises(LabelError, match=rf"columns expected but not found: \['{column}'\]"):
        ptbxl_table(write_ptbxl(tmp_path, [line]))


HEADER = ",".join(PTBXL_COLUMNS).encode()


@pytest.mark.parametrize("content", [b"", HEADER + b"\n1,2,3,4,\xe4", HEADER + b'\n1,"2\n'])
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes):
    with pytest.raises(LabelError, match="the table cannot be understood"):
        ptbxl_table(write_ptbxl(tmp_path, content))


def test_a_root_without_the_database(tmp_path: Path):
    with pytest.raises(LabelError, match="ECGNET_DATA"):
        ptbxl_table(tmp_path)
    for empty in (ludb_table, challenge_table):
        with pytest.raises(LabelError, match="no recording can be labelled"):
            empty(tmp_path)


def test_a_row_without_its_signal_is_set_aside(tmp_path: Path):
    lost = ptbxl_line(ecg_id=2, filename_hr="records/2_hr", filename_lr="records/2_lr")
    write_ptbxl(tmp_path, [ptbxl_line(), lost])
    table, refused = ptbxl_table(tmp_path)
    assert list(table.index) == ["ptb-xl/00001"]
    assert refused == [("ptb-xl/00002", "its signal records/2_lr is not at hand")]


@pytest.mark.parametrize(
    ("signals", "file", "fs_hz"),
    [
        (("hr", "lr"), "records/1_hr", 500),
        (("hr",), "records/1_hr", 500),
        (("lr",), "records/1_lr", 100),
    ],
)
def test_the_best_file_at_hand(tmp_path: Path, signals, file, fs_hz):
    row = ptbxl_table(write_ptbxl(tmp_path, [ptbxl_line()], signals)).table.iloc[0]
    assert (row.file, row.fs_hz) == (file, fs_hz)


def test_an_unknown_statement_is_listed_and_proves_nothing(tmp_path: Path):
    write_ptbxl(tmp_path, [ptbxl_line(scp_codes="{'NEW': 0.0, 'IMI': 50.0}")])
    table, refused = ptbxl_table(tmp_path)
    assert refused == [("ptb-xl/00001", "kept, but its statement NEW is unknown")]
    assert table.MI.all()


@pytest.mark.parametrize(("age", "years"), [(300, 90), (91, 90), (89, 89), (0, 0), ("", np.nan)])
def test_ages(tmp_path: Path, age, years):
    table = ptbxl_table(write_ptbxl(tmp_path, [ptbxl_line(age=age)])).table
    np.testing.assert_equal(table.age.iloc[0], years)


def write_header(file: Path, comments: str, fs_hz: str = "500", signal: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"{file.stem} 1 {fs_hz} 5000\n{file.stem}.mat 16+24 1000/mV 16 0 0 0 0 I\n{comments}"
    file.write_text(text, encoding="latin-1")
    if signal:
        file.with_suffix(".mat").touch()


def test_headers_good_and_bad(tmp_path: Path):
    folder = tmp_path / "training" / "georgia" / "g1"
    write_header(folder / "E1.hea", "# Age: 89+\n# Sex: Unknown\n# Dx: 164889003,,426783006,\n")
    write_header(folder / "E2.hea", "#Age: NaN\n#Sex: Female\n#Dx: 426783006\n#by: \xff\n")
    write_header(folder / "E3.hea", "#Age: 40\n#Sex: Male\n")
    write_header(folder / "E4.hea", "#Dx: 426783006\n", fs_hz="0")
    write_header(folder / "E5.hea", "#Dx: 426783006\n", signal=False)
    write_header(folder / "E6.hea", "#Age: -3\n#Dx: 426783006\n")
    table, refused = challenge_table(tmp_path)
    assert list(table.index) == ["georgia/E1", "georgia/E2"]
    assert table.statements.iloc[0] == ("164889003", "426783006")
    assert table.age.iloc[0] == 90 and np.isnan(table.age.iloc[1])
    assert list(table.sex) == ["", "F"] and list(table.abnormal.isna()) == [False, True]
    assert [name for name, _ in refused] == [f"georgia/E{i}" for i in (3, 4, 5, 6)]
    reasons = [reason for _, reason in refused]
    for reason, word in zip(reasons, ("#Dx", "sampling rate", "not at hand", "age"), strict=True):
        assert word in reason and reason.startswith("training/"), reason


def test_ludb_diagnoses_are_sentences(tmp_path: Path):
    said = "#<age>: >89\n#<diagnoses>:\n#Biventricular pacing."
    write_header(tmp_path / "data" / "1.hea", said)
    table, _ = ludb_table(tmp_path)
    assert table.statements.to_dict() == {"ludb/1": ("Biventricular pacing",)}
    assert table.age.iloc[0] == 90 and bool(table.other.iloc[0])


def test_importing_needs_neither_torch_nor_wfdb():
    code = "import sys; from ecgnet_lib.datasets import records, splits, tables; "
    code += "assert not {'torch', 'wfdb'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
