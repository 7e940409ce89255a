"""Patient-disjoint splits: three protocols, duplicated recordings, and an audit.

Recordings of one patient resemble each other, so all of them are in one set. PTB-XL also holds the
same signal under two numbers, once even under two patients:

    table = merge_duplicates(table, duplicates(signals, table))
    split = official(table)
    audit(split, table, signals)

Every protocol takes a table of `tables.py` and gives positions in it (`table.iloc`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.errors import SplitError

SETS = ("train", "val", "test")
EDGE = 0.05  # the share of a recording that the fingerprint leaves out at either end
VALIDATION_FOLDS = 10  # leave-one-source-out validates on one tenth of what remains


@dataclass(frozen=True, eq=False)
class Split:
    """Three sets of positions in a table, and the protocol that made them."""

    protocol: str
    train: np.ndarray = field(repr=False)
    val: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    note: str = ""  # what was left out and why, one sentence for the page


def official(table: pd.DataFrame) -> Split:
    """Split as PTB-XL's authors recommend: folds 1-8 for training, 9 validation, 10 test.

    Wagner et al. 2020, doi 10.1038/s41597-020-0495-6; folds 9 and 10 hold only recordings whose
    statements a human checked. Recordings of other sources have no fold and are left out. A patient
    in two sets, possible only after `merge_duplicates`, keeps the held-out recordings (test before
    validation before training); the note names the others. Raises SplitError for an empty set.
    """
    fold = table.fold.to_numpy(dtype=float, na_value=np.nan)
    side = np.select([fold == 10, fold == 9, fold <= 8], [2, 1, 0], default=-1)
    notes = []
    if outside := int(np.isnan(fold).sum()):
        notes.append(f"{outside:,} recordings without an official fold are left out")
    furthest = pd.Series(side, index=table.index).groupby(table.patient.to_numpy()).transform("max")
    double = (side >= 0) & (side < furthest.to_numpy())
    if double.any():
        names = ", ".join(table.index[double][:5]) + (" ..." if double.sum() > 5 else "")
        notes.append(f"{double.sum()} duplicates of held-out recordings are left out: {names}")
    return _split("official folds", np.where(double, -1, side), notes)


def kfold(table: pd.DataFrame, k: int = 5, seed: int = 0) -> list[Split]:
    """Split into k patient-disjoint folds that hold the same share of every class and source.

    Split i tests on fold i, validates on the next and trains on the rest. The group "ptb/unknown",
    one patient as far as anyone can know, stays whole. The same table, k and seed give the same
    folds. Raises SplitError if k is below 3 or above the number of patients.
    """
    fold = _balanced_folds(table, k, seed)
    return [
        _split(f"{k}-fold, fold {i + 1}", np.select([fold == i, fold == (i + 1) % k], [2, 1]), [])
        for i in range(k)
    ]


def leave_one_source_out(table: pd.DataFrame, seed: int = 0) -> list[Split]:
    """Test on each source in turn, having trained and validated on all the others.

    A tenth of the others is the validation set, chosen as in `kfold`. A patient who is also in the
    tested source, possible only after `merge_duplicates`, is left out of the two other sets. Raises
    SplitError if the table holds one source only.
    """
    splits = []
    for source in sorted(table.source.unique()):
        tested = (table.source == source).to_numpy()
        shared = ~tested & table.patient.isin(table.patient[tested]).to_numpy()
        rest = np.flatnonzero(~tested & ~shared)
        side = np.where(tested, 2, -1)
        side[rest] = _balanced_folds(table.iloc[rest], VALIDATION_FOLDS, seed) == 0
        notes = [f"{shared.sum()} duplicates of tested recordings are left out"] * int(shared.any())
        splits.append(_split(f"leave {source} out", side, notes))
    return splits


def duplicates(signals, table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Find recordings that hold the same signal; gives groups of their names.

    `signals` is an archive with `batch(positions) -> (B, L, T)` or such an array, in mV, in the
    table's order. Two recordings are the same if all leads, rounded to the microvolt, are equal but
    for the first and last twentieth of the time (three of five of PTB-XL's duplicates differ within
    the last 0.2 s at 100 Hz). A recording in which nothing moves is equal to nothing.
    """
    if len(signals) != len(table):
        raise SplitError(f"{len(table)} signals are expected", found=len(signals))
    batch = signals.batch if hasattr(signals, "batch") else np.asarray(signals).__getitem__
    groups = defaultdict(list)
    for start in tqdm(range(0, len(table), 64), desc="fingerprints", disable=None):
        positions = np.arange(start, min(start + 64, len(table)))
        signal = np.asarray(batch(positions), dtype=np.float32)
        edge = int(signal.shape[-1] * EDGE)
        # adding zero makes -0.0 and 0.0, equal numbers, equal bytes
        middle = np.rint(signal[..., edge : signal.shape[-1] - edge] * np.float32(1000)) + 0
        for position, microvolts in zip(positions, middle, strict=True):
            if np.ptp(microvolts, axis=-1).any():
                groups[hashlib.sha256(microvolts.tobytes()).digest()].append(table.index[position])
    return [tuple(names) for names in groups.values() if len(names) > 1]


def merge_duplicates(table: pd.DataFrame, groups: Iterable[tuple[str, ...]]) -> pd.DataFrame:
    """Give a copy of the table in which the recordings of each group have one patient.

    The patients of a group become one, with all their other recordings: 463 = 145 makes one of
    PTB-XL's patients 16690 and 16723. Groups come from `duplicates`.
    """
    patient = table.patient
    for names in groups:
        same = patient.loc[list(names)]
        patient = patient.mask(patient.isin(same), same.min())
    return table.assign(patient=patient)


def audit(split: Split, table: pd.DataFrame, signals=None) -> None:
    """Refuse a split that leaks, with a SplitError; gives nothing if it is sound.

    A recording that stands in two sets or twice in one, a patient in two sets and, if `signals` are
    given (as for `duplicates`), a signal that stands in two sets under different names.
    """
    rows = table.iloc[np.concatenate([getattr(split, name) for name in SETS])]
    found = pd.DataFrame({"recording": rows.index, "patient": rows.patient.to_numpy()})
    found["set"] = np.repeat(SETS, [len(getattr(split, name)) for name in SETS])
    groups = duplicates(signals, table) if signals is not None else []
    twin = {name: number for number, group in enumerate(groups) for name in group}
    found["signal"] = found["recording"].map(twin)
    merge = "merge_duplicates(table, duplicates(signals, table)), then split again"
    for what, stands, count, remedy in (
        ("recording", "twice", "size", "list every recording once"),
        ("patient", "in two sets", "nunique", "split by patient"),
        ("signal", "in two sets", "nunique", merge),
    ):
        leaks = found[found.groupby(what)["set"].transform(count) > 1]
        told = [
            " and ".join(f"{r.recording} ({r.set})" for r in rows.itertuples())
            for _, rows in leaks.groupby(what)
        ]
        if told:
            listed = f"{len(told)}: {'; '.join(told[:5])}" + (" ..." if len(told) > 5 else "")
            error = f"{split.protocol}: a {what} stands {stands}"
            raise SplitError(error, expected="none", found=listed, remedy=remedy)


def _split(protocol: str, side: np.ndarray, notes: list[str]) -> Split:
    """Make a split from the set of each row: 0 train, 1 val, 2 test, -1 none."""
    sets = {name: np.flatnonzero(side == number) for number, name in enumerate(SETS)}
    if empty := [name for name in SETS if not len(sets[name])]:
        what = f"{protocol}: the set {' and '.join(empty)} would be empty"
        found = ", ".join(f"{len(at)} {name}" for name, at in sets.items())
        remedy = "use more recordings, or another protocol"
        raise SplitError(what, expected="recordings in each", found=found, remedy=remedy)
    return Split(protocol, **sets, note="; ".join(notes))


def _balanced_folds(table: pd.DataFrame, k: int, seed: int) -> np.ndarray:
    """Assign patients to k folds; gives the fold of each row.

    Each patient, those that weigh most first, goes where the classes, sources and recordings that
    it brings are scarcest: the choice that adds least to the sum over folds and labels of squared
    shares. scikit-learn's StratifiedGroupKFold does so for one label per recording; it balances six
    overlapping classes worse, as combinations of them, and is slower (see the tests).
    """
    patient, patients = pd.factorize(table.patient)
    if not 3 <= k <= len(patients):
        expected = f"3 folds or more, at most one for each of {len(patients)} patients"
        raise SplitError(f"{k} folds cannot be made", expected=expected)
    classes, sources = table[[*CLASSES, "other"]], pd.get_dummies(table.source)
    labels = np.column_stack([classes, sources, np.ones(len(table))]).astype(float)
    labels /= np.maximum(labels.sum(axis=0), 1)
    brings = np.zeros((len(patients), labels.shape[1]))
    np.add.at(brings, patient, labels)
    order = np.random.default_rng(seed).permutation(len(patients))
    order = order[np.argsort(-brings[order].sum(axis=1), kind="stable")]
    shares = np.zeros((k, labels.shape[1]))
    fold_of = np.empty(len(patients), dtype=int)
    for index in order:
        fold_of[index] = fold = int(np.argmin(shares @ brings[index]))
        shares[fold] += brings[index]
    return fold_of[patient]
