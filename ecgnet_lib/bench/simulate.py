"""Are virtual patients true to themselves, to the textbook, and to real ones?

Real recordings are compared where ECGNET_DATA or `data/` holds them; without any those rows are
left out. Both sides pass the same filter and the same callipers.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecgnet_lib.bench import Row
from ecgnet_lib.datasets.records import LEADS, read, standard
from ecgnet_lib.datasets.simulated import cohort
from ecgnet_lib.datasets.sources import locate
from ecgnet_lib.datasets.tables import ludb_table, ptbxl_table
from ecgnet_lib.errors import SignalError, SourceError
from ecgnet_lib.measurements.callipers import CRITERIA, measure
from ecgnet_lib.simulation.diseases import DISEASES
from ecgnet_lib.simulation.electrodes import electrode_noise, spoil
from ecgnet_lib.simulation.simulator import Simulation, simulate

PER_DISEASE, NORMALS, FS_HZ = 60, 240, 500
# What a healthy heart may have too: its rate alone says nothing against it.
SHARED_WITH_HEALTH = ("SBRAD", "STACH")


def run() -> list[Row]:
    """All figures, in about three minutes."""
    rows = [*_speed(), *_exact(), *_textbook(), *_neurokit()]
    for source, beside in (("ptbxl", _beside_ptbxl), ("ludb", _beside_ludb)):
        with contextlib.suppress(SourceError):
            rows += beside(locate(source))
    return rows


def _row(name: str, values: Sequence[float] | float, unit: str, goal: str = "") -> Row:
    """A row whose value is the mean; `goal` is ">= x", "<= x" or empty."""
    values = np.atleast_1d(np.asarray(values, float))
    value, target, met = float(values.mean()), None, None
    if goal:
        sign, limit = goal.split()
        target = float(limit)
        met = value >= target if sign == ">=" else value <= target
    return Row(name, value, unit, target, met, (float(values.min()), float(values.max())))


def _speed() -> list[Row]:
    taken = {}
    for count in (600, 10_000):
        start = time.process_time()
        cohort(count)
        taken[count] = time.process_time() - start
    return [
        _row("600 patients at 100 Hz, CPU", taken[600], "s", "<= 4"),
        _row("10,000 patients at 100 Hz, CPU", taken[10_000], "s", "<= 60"),
    ]


def _people(count: int, seed: int, patient: dict[str, float]) -> Simulation:
    rng = np.random.default_rng([seed, 99])
    age, male = rng.uniform(20, 85, count), rng.random(count) < 0.5
    return simulate([patient] * count, fs_hz=FS_HZ, seed=seed, age=age, male=male)


def _onsets(made: Simulation, number: int) -> np.ndarray:
    return made.beats.qrs_on[made.beats.recording == number].to_numpy()


def _exact() -> list[Row]:
    made, _ = cohort(200, seed=1)
    one, two, three, right, left, foot = np.moveaxis(made[:, :6].astype(float), 1, 0)
    broken = [
        one + three - two,
        right + (one + two) / 2,
        left - one + two / 2,
        foot - two + one / 2,
    ]
    worst = 1000 * max(np.abs(x).max() for x in broken)
    clean = _people(20, 2, {}).signals
    off = []
    for snr_db in (-6, 6, 24):
        noisy = spoil(clean, electrode_noise("muscle", 20, fs_hz=FS_HZ, seed=3), snr_db)
        power = [np.var(x.astype(float), axis=2).mean(1) for x in (clean, noisy - clean)]
        off.append(np.abs(10 * np.log10(power[0] / power[1]) - snr_db).max())
    return [
        _row("Einthoven and Goldberger, largest error", worst, "uV", "<= 1"),
        _row("signal-to-noise ratio, largest error", max(off), "dB", "<= 0.01"),
    ]


def _textbook() -> list[Row]:
    """Criteria on noise-free output: who meets them with the disease, who without."""
    healthy = _people(NORMALS, 5, {})
    well = [measure(x, FS_HZ, _onsets(healthy, i)) for i, x in enumerate(healthy.signals)]
    truth, rows = healthy.truth, []
    for name, unit in (("qrs", "ms"), ("qtc", "ms"), ("pr", "ms"), ("axis", "degrees")):
        column = truth["axis_deg" if name == "axis" else f"{name}_ms"]
        off = np.array([getattr(m, name) for m in well]) - column.to_numpy()
        rows.append(_row(f"{name} measured less {name} claimed, healthy", np.median(off), unit))
    for name, disease in tqdm(DISEASES.items(), "criteria", disable=None):
        made = _people(PER_DISEASE, 6, {name: 0.75})
        met = [
            CRITERIA[name](measure(x, FS_HZ, _onsets(made, i))) for i, x in enumerate(made.signals)
        ]
        rows.append(
            _row(f"{name} meets its criterion ({disease.title})", np.mean(met), "share", ">= 0.9")
        )
        spared = 1 - np.mean([CRITERIA[name](m) for m in well])
        goal = "" if name in SHARED_WITH_HEALTH else ">= 0.9"
        rows.append(_row(f"{name} spares the healthy", spared, "share", goal))
    return rows


def _neurokit() -> list[Row]:
    """neurokit2 on lead II at 20 dB: R peaks within 50 ms of the truth, T end, QT."""
    import neurokit2

    made = _people(30, 8, {})
    noise = electrode_noise("muscle", 30, fs_hz=FS_HZ, seed=8)
    noisy = spoil(made.signals, noise, 20)
    found = true = hits = 0
    errors = []
    for i in tqdm(range(30), "neurokit2", disable=None):
        lead = neurokit2.ecg_clean(noisy[i, 1], sampling_rate=FS_HZ)
        peaks = neurokit2.ecg_peaks(lead, sampling_rate=FS_HZ)[1]["ECG_R_Peaks"]
        beats = made.beats[made.beats.recording == i]
        inner = beats[(beats.r_peak > 0.3) & (beats.r_peak < 9.7)]
        near = np.abs(inner.r_peak.to_numpy()[:, None] - peaks / FS_HZ) < 0.05
        hits, true = hits + near.any(1).sum(), true + len(inner)
        found += ((peaks > 0.3 * FS_HZ) & (peaks < 9.7 * FS_HZ)).sum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every wave that it does not find
            waves = neurokit2.ecg_delineate(lead, peaks, sampling_rate=FS_HZ, method="dwt")[1]
        ends = np.array(waves["ECG_T_Offsets"], float) / FS_HZ
        ends = ends[np.isfinite(ends)]
        if len(ends):
            gap = ends - inner.t_off.to_numpy()[:-1, None]
            errors += list(1000 * gap[np.arange(len(gap)), np.abs(gap).argmin(1)])
    return [
        _row("neurokit2 finds R peaks", hits / true, "share", ">= 0.99"),
        _row("neurokit2's R peaks that are true", hits / found, "share", ">= 0.99"),
        # Its wavelet delineator is that of Martinez et al. 2004, who report 18 ms for the end of T.
        _row("neurokit2's T end less the truth, median", np.median(errors), "ms"),
        _row(
            "neurokit2's T end, median absolute error", np.median(np.abs(errors)), "ms", "<= 18.1"
        ),
    ]


def _callipers(signals: np.ndarray) -> pd.DataFrame:
    """Measure recordings of unknown truth (N, 12, T) at 500 Hz, real or not, alike."""
    import neurokit2
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, (0.5, 40), "bandpass", fs=FS_HZ, output="sos")
    rows = []
    filtered = sosfiltfilt(band, signals, axis=-1)
    filtered -= np.median(filtered, axis=-1, keepdims=True)  # the filter left no zero between beats
    for signal in tqdm(filtered, "callipers", disable=None):
        peaks = neurokit2.ecg_peaks(signal[1], sampling_rate=FS_HZ)[1]["ECG_R_Peaks"]
        on = peaks / FS_HZ - 0.035
        if ((on > 0.45) & (on < 9.2)).sum() < 4:
            continue
        try:
            m = measure(signal, FS_HZ, on)
        except SignalError:  # neurokit2 took T for R
            continue
        voltages = {f"R {x}": m.r[x] for x in ("I", "II", "V1", "V5")} | {"S V2": m.s["V2"]}
        rows.append({"rate": m.rate, "QRS": m.qrs, "QTc": m.qtc, "axis": m.axis} | voltages)
    return pd.DataFrame(rows)


def _overlap(a: pd.Series, b: pd.Series) -> float:
    """Share that two distributions have in common, 12 bins over their joint 1-99 % range."""
    edges = np.quantile(np.concatenate([a, b]), [0.01, 0.99])
    bins = np.linspace(*edges, 13)
    shares = [np.histogram(np.clip(x, *edges), bins)[0] / len(x) for x in (a, b)]
    return float(np.minimum(*shares).sum())


def _beside_ptbxl(folder: Path) -> list[Row]:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    table = ptbxl_table(folder).table
    plain = table[table.statements.map(set) == {"NORM", "SR"}].drop_duplicates("patient")
    plain = plain.sample(min(300, len(plain)), random_state=0)
    real = np.stack(
        [standard(read(folder / file)) for file in tqdm(plain.file, "real", disable=None)]
    )
    made, labels = cohort(900, fs_hz=FS_HZ, seed=12)
    mine = made[(labels.statements.map(set) == {"NORM", "SR"}).to_numpy()][: len(real)]
    theirs, ours = _callipers(real), _callipers(mine)
    rows = []
    for name in theirs:
        for who, frame in (("real", theirs), ("simulated", ours)):
            rows.append(_row(f"{name}, median of {who} normals", frame[name].median(), ""))
        shared = _overlap(theirs[name], ours[name])
        rows.append(_row(f"{name}, overlap of simulated and real", shared, "share", ">= 0.7"))
    x = np.concatenate([_features(real), _features(mine)])
    y = np.repeat([0, 1], [len(real), len(mine)])
    forest = ExtraTreesClassifier(300, min_samples_leaf=3, random_state=0)
    chance = cross_val_predict(forest, x, y, cv=5, method="predict_proba")[:, 1]
    rows.append(_row("AUC, simulated told from real normals", roc_auc_score(y, chance), ""))
    return rows


def _beside_ludb(folder: Path) -> list[Row]:
    """Intervals marked by hand in LUDB's healthy, median over leads, beside claimed ones."""
    import wfdb

    table = ludb_table(folder).table
    marked = []
    for file in tqdm(table.file[table.only_sinus_rhythm], "LUDB", disable=None):
        starts, ends = {"p": [], "N": [], "t": []}, {"p": [], "N": [], "t": []}
        for lead in LEADS:
            marks = wfdb.rdann(str(folder / file), lead.lower())
            at, symbols = marks.sample, "".join(marks.symbol)
            for wave in re.finditer(r"\(([pNt])\)", symbols):
                starts[wave[1]].append(at[wave.start()])
                ends[wave[1]].append(at[wave.end() - 1])
        onsets = np.sort(starts["N"])
        groups = np.split(onsets, np.flatnonzero(np.diff(onsets) > 60) + 1)
        beats = np.array([np.median(group) for group in groups if len(group) >= 6])
        rows = []
        for beat in beats:
            p_on = _within(starts["p"], beat - 150, beat - 20)
            qrs_off, t_off = (
                _within(ends["N"], beat + 15, beat + 90),
                _within(ends["t"], beat + 100, beat + 320),
            )
            rows.append({"PR": beat - p_on, "QRS": qrs_off - beat, "QT": t_off - beat})
        one = pd.DataFrame(rows).median() / FS_HZ * 1000
        one["QTc"] = one.QT / np.cbrt(np.median(np.diff(beats)) / FS_HZ)
        marked.append(one)
    theirs, ours = pd.DataFrame(marked), _people(400, 14, {}).truth
    rows = []
    for name in ("PR", "QRS", "QTc"):
        claimed = ours[f"{name.lower()}_ms"]
        rows.append(_row(f"{name}, median marked in LUDB's healthy", theirs[name].median(), "ms"))
        rows.append(_row(f"{name}, median of simulated, claimed", claimed.median(), "ms"))
        shared = _overlap(theirs[name].dropna(), claimed)
        rows.append(_row(f"{name}, overlap with LUDB's healthy", shared, "share", ">= 0.5"))
    return rows


def _within(marks: list[int], low: float, high: float) -> float:
    """The median of the marks between two samples, NaN without any."""
    inside = [at for at in marks if low < at < high]
    return float(np.median(inside)) if inside else np.nan


def _features(signals: np.ndarray) -> np.ndarray:
    """Log spectra below 45 Hz in twelve bands and amplitude quantiles of each lead, (N, F)."""
    power = np.abs(np.fft.rfft(signals - signals.mean(2, keepdims=True), axis=2)) ** 2
    hz = np.fft.rfftfreq(signals.shape[2], 1 / FS_HZ)
    edges = np.array([0.1, 0.5, 1, 2, 3, 5, 8, 12, 17, 23, 30, 37, 45])
    bands = [
        np.log(power[..., (hz >= a) & (hz < b)].mean(2) + 1e-9)
        for a, b in itertools.pairwise(edges)
    ]
    heights = np.quantile(signals, [0.01, 0.05, 0.5, 0.95, 0.99], axis=2)
    return np.concatenate([np.stack(bands), heights]).transpose(1, 0, 2).reshape(len(signals), -1)
