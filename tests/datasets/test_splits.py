"""Splits: patient-disjoint, folds alike, every leak refused, duplicates found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.datasets.splits import (
    SETS,
    Split,
    audit,
    duplicates,
    kfold,
    leave_one_source_out,
    merge_duplicates,
    official,
)
from ecgnet_lib.datasets.tables import challenge_table, ludb_table, ptbxl_table
from ecgnet_lib.errors import SplitError

PTBXL_TWINS = [(137, 138), (143, 144), (145, 463), (456, 457), (459, 460)]
COLUMNS = [*CLASSES, "other"]


def made_up(n: int = 600, seed: int = 0, sources: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """A table with one to five recordings a patient and classes from common to rare."""
    rng = np.random.default_rng(seed)
    patient = np.sort(rng.integers(0, n // 2, n))
    source = np.array(sources)[patient % len(sources)]
    table = pd.DataFrame(
        rng.random((n, len(COLUMNS))) < [0.45, 0.15, 0.2, 0.2, 0.01, 0.1, 0.1], columns=COLUMNS
    )
    table["source"] = source
    table["patient"] = [f"{s}/{p}" for s, p in zip(source, patient, strict=True)]
    table["fold"] = pd.array(patient // len(sources) % 10 + 1, dtype="Int64")
    return table.set_index(pd.Index([f"{s}/{i}" for i, s in enumerate(source)], name="recording"))


class Lazy:
    """Signals that are read when they are asked for, as an archive does."""

    def __init__(self, n: int, batch) -> None:
        self.n, self.batch = n, batch

    def __len__(self) -> int:
        return self.n


def patients(split: Split, table: pd.DataFrame) -> list[set[str]]:
    return [set(table.patient.iloc[getattr(split, name)]) for name in SETS]


def spread(table: pd.DataFrame, parts: list[np.ndarray]) -> np.ndarray:
    """Largest distance, in recordings, of a part's class count from an equal share."""
    labels = table[COLUMNS].to_numpy(float)
    counts = np.array([labels[part].sum(axis=0) for part in parts])
    return np.abs(counts - labels.sum(axis=0) / len(parts)).max(axis=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [3, 5, 10])
def test_kfold_shares_no_patient_and_tests_each_recording_once(k: int, seed: int):
    table = made_up(seed=seed)
    splits = kfold(table, k, seed)
    assert np.array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(len(table)))
    for i, split in enumerate(splits):
        audit(split, table)
        train, val, test = patients(split, table)
        assert not train & val and not train & test and not val & test
        assert sum(map(len, (split.train, split.val, split.test))) == len(table)
        assert np.array_equal(split.val, splits[(i + 1) % k].test)


def test_kfold_keeps_prevalence_and_is_no_worse_than_sklearn():
    k, table = 5, made_up(2000)
    parts = [split.test for split in kfold(table, k)]
    assert spread(table, parts).max() <= 3
    share = [np.mean(table.source.iloc[part] == "a") for part in parts]
    np.testing.assert_allclose(share, np.mean(table.source == "a"), atol=0.01)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 0.02 * len(table)
    combined = table[COLUMNS].astype(int).astype(str).agg("".join, axis=1) + table.source
    with pytest.warns(UserWarning, match="least populated class"):
        sklearn = StratifiedGroupKFold(k, shuffle=True, random_state=0)
        theirs = [test for _, test in sklearn.split(table, combined, table.patient)]
    assert spread(table, parts).max() <= spread(table, theirs).max()


def test_kfold_depends_on_nothing_but_the_seed():
    table = made_up()
    first, again, other = kfold(table, 5, 3), kfold(table.copy(), 5, 3), kfold(table, 5, 4)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.train, b.train) and np.array_equal(a.test, b.test)
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_kfold_never_splits_the_unknown_patients():
    table = made_up()
    table.loc[table.index[:40], ["source", "patient"]] = ["ptb", "ptb/unknown"]
    for seed in range(5):
        holds = [np.isin(np.arange(40), s.test).sum() for s in kfold(table, 5, seed)]
        assert sorted(holds) == [0, 0, 0, 0, 40]


@pytest.mark.parametrize("k", [1, 2, 10_000])
def test_kfold_refuses_an_impossible_k(k: int):
    with pytest.raises(SplitError, match=f"{k} folds cannot be made"):
        kfold(made_up(), k)


def test_official_takes_the_folds_and_leaves_the_rest_out():
    table = made_up()
    table.loc[table.source == "b", "fold"] = pd.NA
    split = official(table)
    assert set(table.fold.iloc[split.train]) == set(range(1, 9))
    assert set(table.fold.iloc[split.val]) == {9} and set(table.fold.iloc[split.test]) == {10}
    assert f"{(table.source == 'b').sum()} recordings without" in split.note


def test_official_leaves_out_the_duplicate_that_is_not_held_out():
    table = made_up()
    at = {fold: table.index[table.fold == fold] for fold in (1, 9, 10)}
    merged = merge_duplicates(table, [(at[1][0], at[10][0]), (at[1][-1], at[9][0])])
    split = official(merged)
    audit(split, merged)
    # held-out recordings stay; every recording of the merged training patients goes
    assert np.array_equal(split.test, official(table).test)
    assert np.array_equal(split.val, official(table).val)
    gone = set(official(table).train) - set(split.train)
    same = table.patient.isin(table.patient[[at[1][0], at[1][-1]]])
    assert gone == set(np.flatnonzero(same))
    assert at[1][0] in split.note and f"{len(gone)} duplicates" in split.note


def test_official_needs_all_three_sets():
    table = made_up()
    with pytest.raises(SplitError, match="test would be empty"):
        official(table[table.fold < 10])


def test_leave_one_source_out():
    table = made_up(sources=("a", "b", "c"))
    splits = leave_one_source_out(table)
    assert [split.protocol for split in splits] == [f"leave {s} out" for s in "abc"]
    for split, source in zip(splits, "abc", strict=True):
        audit(split, table)
        assert np.array_equal(split.test, np.flatnonzero(table.source == source))
        assert source not in set(table.source.iloc[np.r_[split.train, split.val]])
        assert 0.05 < len(split.val) / (len(split.train) + len(split.val)) < 0.15
    again = leave_one_source_out(table)
    assert all(np.array_equal(a.val, b.val) for a, b in zip(splits, again, strict=True))
    with pytest.raises(SplitError):
        leave_one_source_out(table[table.source == "a"])


def test_leave_one_source_out_drops_a_patient_of_the_tested_source():
    table = made_up()
    a, b = table.index[table.source == "a"][0], table.index[table.source == "b"][0]
    merged = merge_duplicates(table, [(a, b)])
    for split in leave_one_source_out(merged):
        audit(split, merged)
        assert "left out" in split.note


def test_audit_passes_a_sound_split_and_refuses_each_leak():
    table = made_up()
    split = official(table)
    audit(split, table)
    leak = table.index[split.test[0]]
    for name in ("train", "val"):
        shared = replace(split, **{name: np.append(getattr(split, name), split.test[0])})
        with pytest.raises(SplitError, match=rf"recording stands twice.*{leak}"):
            audit(shared, table)
    with pytest.raises(SplitError, match="recording stands twice"):
        audit(replace(split, train=np.append(split.train, split.train[0])), table)
    moved = replace(split, train=np.append(split.train, split.test[0]), test=split.test[1:])
    same = (table.patient == table.patient.iloc[split.test[0]]).sum()
    assert same > 1, "the made-up patient needs a second recording for this leak"
    with pytest.raises(SplitError, match=rf"patient stands in two sets.*{leak} \(train\)"):
        audit(moved, table)


def test_audit_refuses_a_duplicated_signal_until_it_is_merged():
    table = made_up(200)
    signals = np.random.default_rng(0).normal(size=(200, 12, 50)).astype(np.float32)
    split = official(table)
    audit(split, table, signals)
    a, b = split.train[0], split.test[0]
    signals[a] = signals[b]
    audit(split, table)  # the table alone cannot tell
    with pytest.raises(SplitError, match="signal stands in two sets") as told:
        audit(split, table, signals)
    assert table.index[a] in str(told.value) and "merge_duplicates" in told.value.remedy
    merged = merge_duplicates(table, duplicates(signals, table))
    audit(official(merged), merged, signals)
    for split in kfold(merged, 5):
        audit(split, merged, signals)


def test_duplicates_are_equal_to_the_microvolt_but_at_the_ends():
    table = made_up(130).sort_index()
    signals = np.random.default_rng(1).normal(size=(130, 2, 100)).astype(np.float32)
    signals[7], signals[129] = signals[3], signals[70]  # also across batches
    signals[7, 0, -4:] += 1  # the ends may differ
    signals[20] = signals[21]
    signals[20, 1, 50] += 0.002  # 2 microvolts in the middle are another signal
    signals[31] = signals[31].round(3)
    signals[30] = signals[31] + 1e-5  # below the microvolt: the noise of a conversion
    signals[40:43] = [[[0]], [[-0.0]], [[0]]]  # recordings in which nothing moves
    signals[60, 0], signals[61, 0] = -0.0, 0.0  # one lead in which nothing moves
    signals[60, 1] = signals[61, 1]
    signals[50, :, 5] = np.nan  # must not disturb the others
    name = table.index
    expected = {(name[3], name[7]), (name[70], name[129]), (name[30], name[31])}
    expected |= {(name[60], name[61])}
    assert set(duplicates(signals, table)) == expected
    assert set(duplicates(Lazy(130, signals.__getitem__), table)) == expected
    with pytest.raises(SplitError, match="130 signals"):
        duplicates(signals[:5], table)


def test_merge_duplicates_joins_patients_and_keeps_the_table():
    table = pd.DataFrame({"patient": list("abcdee")}, index=list("uvwxyz"))
    merged = merge_duplicates(table, [("v", "w"), ("u", "v"), ("y", "z")])
    assert list(merged.patient) == list("aaadee")
    assert list(table.patient) == list("abcdee"), "the table given must not change"


def raw(root: Path, files: pd.Series) -> np.ndarray:
    """Signals of PTB-XL files, which are 16-bit integers of microvolts, in mV."""
    return np.stack(
        [np.fromfile(root / f"{f}.dat", "<i2").reshape(-1, 12).T / np.float32(1000) for f in files]
    )


def test_ptbxl_holds_five_recordings_twice(physionet: Path):
    """All 2,854 at 500 Hz, in blocks that are read as they are needed, as an archive would."""
    table = ptbxl_table(physionet / "ptb-xl").table
    files = Lazy(len(table), lambda at: raw(physionet / "ptb-xl", table.file.iloc[at]))
    twins = [tuple(f"ptb-xl/{number:05d}" for number in pair) for pair in PTBXL_TWINS]
    found = duplicates(files, table)
    assert found == twins
    merged = merge_duplicates(table, found)
    assert table.patient.nunique() - merged.patient.nunique() == 1  # 145 = 463 only
    # unmerged, the pair of two patients lands on two sides of some 5-fold split
    one, other = (list(table.index).index(name) for name in twins[2])
    sides = [np.isin([one, other], s.test) for seed in range(5) for s in kfold(table, 5, seed)]
    assert any(a != b for a, b in sides)
    sides = [np.isin([one, other], s.test) for seed in range(5) for s in kfold(merged, 5, seed)]
    assert all(a == b for a, b in sides)


def test_ptbxl_duplicates_are_found_at_100_hz_too(physionet: Path):
    table = ptbxl_table(physionet / "ptb-xl").table
    table = table.iloc[:500]  # those that the copy holds at 100 Hz too
    low = table.file.str.replace("records500", "records100").str.replace("_hr", "_lr")
    signals = raw(physionet / "ptb-xl", low)
    twins = [tuple(f"ptb-xl/{number:05d}" for number in pair) for pair in PTBXL_TWINS]
    assert duplicates(signals, table) == twins
    at = [[list(table.index).index(name) for name in pair] for pair in twins]
    assert sum(np.array_equal(signals[a], signals[b]) for a, b in at) == 2  # the others: the ends
    audit(official(table), table, signals)


def test_ptbxl_official_split(physionet: Path):
    table = ptbxl_table(physionet / "ptb-xl").table
    if len(table) != 2854:
        pytest.skip("needs the unpacked copy with 2,854 PTB-XL recordings")
    split = official(table)
    assert [len(getattr(split, name)) for name in SETS] == [2325, 331, 198]
    audit(split, table)
    assert split.note == ""
    parts = [split.test for split in kfold(table, 10)]
    assert spread(table, parts).max() <= 2


def test_all_sources_pooled(physionet: Path):
    builders = {"ptb-xl": ptbxl_table, "ludb": ludb_table, "challenge-2021": challenge_table}
    table = pd.concat([build(physionet / name).table for name, build in builders.items()])
    assert table.index.is_unique and str(table.fold.dtype) == "Int64"
    for split in [*kfold(table, 5), *leave_one_source_out(table), official(table)]:
        audit(split, table)
        ptb = set(np.flatnonzero(table.source == "ptb"))
        assert sum(bool(ptb & set(getattr(split, name))) for name in SETS) <= 1
