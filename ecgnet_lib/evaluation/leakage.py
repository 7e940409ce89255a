"""The leakage lab: one pipeline, and one parameter that says where it lets the test set in.

The pipeline cuts recordings into windows, assigns these to training, validation and test,
standardises them, trains, chooses a threshold, and evaluates. A `Protocol` changes one of these
steps. Evaluated are the 2.5-s windows of original recordings, on a grid without overlap; further
windows and copies are for training only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import welch
from sklearn.base import ClassifierMixin, clone

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.splits import Split, kfold
from ecgnet_lib.evaluation.methods import NAMES
from ecgnet_lib.evaluation.metrics import MIN_POSITIVES

SCORES = [f"p_{name}" for name in NAMES]
WINDOW_S = 2.5  # what the network sees at once, here also the unit that is evaluated
BAND_S = 0.6  # length of Welch's segments: bands of 1.7 Hz
PARTS, TEST, VAL = 20, 5, 3  # of twenty folds five test, three validate, twelve train


@dataclass(frozen=True)
class Protocol:
    """What a pipeline does. The defaults are sound."""

    says: str  # the protocol in a few words
    keep: str = "patient"  # or "recording", "window", "copy": never divided between two sets
    hop_s: float = WINDOW_S  # from the start of a window to the next
    copies: bool = False  # of recordings with a disease, until it is as common as NORM
    scale_from: str = "train"  # or "all": whose mean and spread standardise all windows
    threshold_from: str = "val"  # or "test": which set chooses the threshold

    @property
    def sound(self) -> bool:
        """Whether training and threshold have seen no test patient."""
        return (self.keep, self.scale_from, self.threshold_from) == ("patient", "train", "val")


PROTOCOLS = {
    "patient": Protocol("all windows of a patient stay on one side"),
    "over-sampled after the split": Protocol(
        "rare recordings are copied, copies stay with their patient", copies=True
    ),
    "overlapping windows, by patient": Protocol(
        "three further windows in each gap, all stay with their patient", hop_s=WINDOW_S / 4
    ),
    "record": Protocol("recordings are split at random, not patients", keep="recording"),
    "normalised with the test set": Protocol(
        "mean and spread come from all windows, the tested too", scale_from="all"
    ),
    "threshold from the test set": Protocol(
        "the threshold is the best one on the test set", threshold_from="test"
    ),
    "windows": Protocol("windows are split at random, not recordings", keep="window"),
    "overlapping windows": Protocol(
        "overlapping windows are split at random", keep="window", hop_s=WINDOW_S / 4
    ),
    "over-sampled before the split": Protocol(
        "rare recordings are copied, then each copy counts as a new patient",
        keep="copy",
        copies=True,
    ),
}
"""From honest to leaky. The first three are sound: two of them are controls for the last two."""


def cohort(table: pd.DataFrame, least: int, seed: int = 0) -> np.ndarray:
    """Choose a small set with `least` recordings of each disease, half normal; sorted positions.

    Patients with several recordings come first, or `record` would have nothing to part; then each
    disease, the rarest first, is filled up at random, then the normal ones, as far as there are
    any. Recordings that are not known to be normal or abnormal are left out.
    """
    held = table[["abnormal", *DISEASES]].fillna(False).to_numpy(bool)
    known = table["abnormal"].notna().to_numpy()
    chosen = known & (table.groupby("patient")["source"].transform("size") > 1).to_numpy()
    order = np.random.default_rng(seed).permutation(np.flatnonzero(known))

    def fill(kind: np.ndarray, count: int) -> None:
        free = order[kind[order] & ~chosen[order]]
        chosen[free[: max(0, count - (chosen & kind).sum())]] = True

    for disease in 1 + np.argsort(held[known, 1:].sum(axis=0), kind="stable"):
        fill(held[:, disease], least)
    fill(known & ~held[:, 0], int((chosen & held[:, 0]).sum()))
    return np.flatnonzero(chosen)


def oversampling_factors(table: pd.DataFrame) -> np.ndarray:
    """Return how often each recording must stand for its rarest disease to equal NORM, (N,).

    Diseases with fewer than MIN_POSITIVES recordings are not balanced: they cannot be evaluated.
    """
    held = table[list(DISEASES)].to_numpy(bool)
    size = held.sum(axis=0)
    factor = np.where(size >= MIN_POSITIVES, np.rint(table["NORM"].sum() / np.maximum(size, 1)), 1)
    return np.maximum((held * factor).max(axis=1), 1).astype(int)


def make_windows(table: pd.DataFrame, protocol: Protocol, recording_s: float = 10) -> pd.DataFrame:
    """Cut recordings into windows; gives a table of windows with the columns of `table` and more.

    recording: its name; row: its position; start_s; copy: 0 for the original; evaluated: whether
    the window is of an original and on the grid without overlap. The index is unique.
    """
    starts = np.arange(0, recording_s - WINDOW_S + 1e-9, protocol.hop_s)
    times = oversampling_factors(table) if protocol.copies else np.ones(len(table), dtype=int)
    row = np.repeat(np.arange(len(table)), times)
    copy = np.concatenate([np.arange(n) for n in times])
    row, copy = (np.repeat(a, len(starts)) for a in (row, copy))
    start = np.tile(starts, len(row) // len(starts))
    windows = table.iloc[row].assign(recording=table.index[row], row=row, start_s=start, copy=copy)
    windows["evaluated"] = (copy == 0) & np.isclose(start % WINDOW_S, 0)
    names = zip(windows["recording"], start, copy, strict=True)
    windows.index = [f"{name} at {at:g} s" + (f", copy {c}" if c else "") for name, at, c in names]
    return windows.rename_axis("window")


def assign_windows(windows: pd.DataFrame, protocol: Protocol, seed: int = 0) -> Split:
    """Assign windows to train, val and test, keeping together what the protocol keeps.

    `splits.kfold` keeps together rows with the same `patient`: each protocol changes this column
    and nothing else. The evaluated windows are assigned first, so that protocols which keep the
    same things test the same windows; a further window follows what it belongs to, or is assigned
    on its own. Val and test take evaluated windows only.
    """
    kept = {
        "patient": windows["patient"],
        "recording": windows["recording"],
        "window": windows.index.to_series(),
        "copy": windows["patient"] + " copy " + windows["copy"].astype(str),
    }
    grouped = windows.assign(patient=kept[protocol.keep])
    part = np.full(len(grouped), -1)

    def fill(rows: np.ndarray) -> None:
        for number, fold in enumerate(kfold(grouped.iloc[rows], PARTS, seed)):
            part[rows[fold.test]] = number

    evaluated = grouped["evaluated"].to_numpy()
    fill(np.flatnonzero(evaluated))
    placed = dict(zip(grouped["patient"][evaluated], part[evaluated], strict=True))
    part[~evaluated] = grouped["patient"][~evaluated].map(placed).fillna(-1)
    if (part < 0).any():
        fill(np.flatnonzero(part < 0))
    test, val = (part < TEST) & evaluated, (part >= TEST) & (part < TEST + VAL) & evaluated
    return Split(protocol.says, *map(np.flatnonzero, (part >= TEST + VAL, val, test)))


def signals_of(signals: np.ndarray, windows: pd.DataFrame, fs_hz: int) -> np.ndarray:
    """Return the windows (N, 12, 2.5 s) of recordings (R, 12, T), float32 mV."""
    length = round(WINDOW_S * fs_hz)
    starts = np.rint(windows["start_s"].to_numpy() * fs_hz).astype(int)
    at = zip(windows["row"], starts, strict=True)
    return np.stack([signals[row, :, start : start + length] for row, start in at])


def standardise(x: np.ndarray, split: Split, scale_from: str) -> np.ndarray:
    """Give each lead of x (N, 12, T) mean 0 and variance 1, of the training windows or of all."""
    seen = x[split.train] if scale_from == "train" else x
    mean, spread = seen.mean(axis=(0, 2)), seen.std(axis=(0, 2))
    return ((x - mean[:, None]) / np.maximum(spread, 1e-6)[:, None]).astype(np.float32)


def overlap(split: Split, windows: pd.DataFrame) -> dict[str, float]:
    """Return the share of test windows whose patient, recording, or samples are in training.

    "samples": one or more, in a window of the same recording or of a copy of it.
    """
    train, test = windows.iloc[split.train], windows.iloc[split.test]
    starts = {row: times.to_numpy() for row, times in train.groupby("row")["start_s"]}
    touched = [
        row in starts and bool((np.abs(starts[row] - at) < WINDOW_S - 1e-9).any())
        for row, at in zip(test["row"], test["start_s"], strict=True)
    ]
    return {
        "patient": float(test["patient"].isin(train["patient"]).mean()),
        "recording": float(test["row"].isin(train["row"]).mean()),
        "samples": float(np.mean(touched)),
    }


def features(x: np.ndarray, fs_hz: int) -> np.ndarray:
    """Describe windows (N, 12, T) by amplitudes and log-spectra (Welch), (N, 12 * F)."""
    _, power = welch(x, fs_hz, nperseg=round(BAND_S * fs_hz))
    steps = np.abs(np.diff(x, axis=-1))
    amplitudes = [x.mean(-1), x.std(-1), x.min(-1), x.max(-1), steps.mean(-1), steps.max(-1)]
    return np.concatenate([np.log(power + 1e-6), np.stack(amplitudes, -1)], -1).reshape(len(x), -1)


Learner = Callable[[np.ndarray, pd.DataFrame, Split], Callable[[np.ndarray], np.ndarray]]
"""x (N, 12, T), its windows, its split -> a function from windows (M, 12, T) to scores (M, 6)."""


def on_features(classifier: ClassifierMixin, fs_hz: int) -> Learner:
    """Return a learner: a scikit-learn classifier of many outputs on `features`."""

    def learn(x: np.ndarray, windows: pd.DataFrame, split: Split):
        truth = windows[NAMES].to_numpy(int)[split.train]
        fitted = clone(classifier).fit(features(x[split.train], fs_hz), truth)

        def score(part: np.ndarray) -> np.ndarray:
            parts = zip(fitted.predict_proba(features(part, fs_hz)), fitted.classes_, strict=True)
            return np.column_stack([p @ (known == 1) for p, known in parts])

        return score

    return learn


def nearest(x: np.ndarray, split: Split) -> np.ndarray:
    """Return for each test window the position of the training window nearest to it, (M,)."""
    from sklearn.neighbors import NearestNeighbors

    flat = x.reshape(len(x), -1)
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(flat[split.train])
    return split.train[search.kneighbors(flat[split.test], return_distance=False)[:, 0]]


def predictions(
    protocol: Protocol,
    signals: np.ndarray,
    table: pd.DataFrame,
    fs_hz: int,
    learner: Learner,
    seed: int = 0,
) -> pd.DataFrame:
    """Run the pipeline up to the scores; gives one row an evaluated window of val and test.

    signals: (R, 12, T) mV of the recordings in `table`. Columns as in `results.load_predictions`.
    """
    windows = make_windows(table, protocol, signals.shape[-1] / fs_hz)
    split = assign_windows(windows, protocol, seed)
    x = standardise(signals_of(signals, windows, fs_hz), split, protocol.scale_from)
    score = learner(x, windows, split)
    parts = []
    for name in ("val", "test"):
        rows = getattr(split, name)
        part = windows.iloc[rows][["recording", "start_s", "patient", *NAMES]]
        scores = dict(zip(SCORES, score(x[rows]).T, strict=True))
        parts.append(part.assign(set=name, fold=0, **scores))
    return pd.concat(parts)
