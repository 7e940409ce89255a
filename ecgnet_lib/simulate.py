"""Virtual patients: 12-lead ECGs whose truth is known, in seconds and without a file.

`simulate` gives noise-free signals with every onset and offset; `cohort` is the `simulated` data
set. The healthy heart is in `heart.py`, what diseases do to it in `diseases.py`, its beats in time
in `beats.py`, what spoils its recording in `electrodes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.beats import breathe, draw_atria, draw_beats, lay_beats, mark_beats
from ecgnet_lib.diseases import DISEASES, SINUS_VARIANTS, severities, statements_of
from ecgnet_lib.electrodes import MAINS_FROM_HZ, check_range, electrode_noise, spoil
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.heart import Hearts, healthy, twelve_leads
from ecgnet_lib.labels import judge

# Noise of a resting ECG, mean and spread of the ratio in dB, set so that the spectrum of simulated
# normals is that of PTB-XL's.
SNR_DB = {"baseline": (14, 7), "electrode": (24, 6), "muscle": (24, 5), "mains": (32, 6)}
CHUNK = 500  # recordings drawn at a time; keeps the work in the processor's cache


@dataclass(frozen=True)
class Simulation:
    """N noise-free recordings and their truth.

    `signals` (N, 12, T) float32 mV. `truth`: one row per recording, with `heart_rate` (of the beats
    drawn, bpm), `rr_ms`, `pr_ms` (NaN without P), `qrs_ms`, `qt_ms`, `qtc_ms` (Fridericia),
    `axis_deg`, `age`, `male`, `statements`. `beats`: one row per beat whose QRS begins within the
    recording, with `recording` (row number), `origin` (normal, atrial, ventricular) and the times
    `p_on p_off qrs_on r_peak qrs_off t_on t_off` in seconds, NaN for a wave that does not exist.
    """

    signals: np.ndarray
    fs_hz: float
    truth: pd.DataFrame
    beats: pd.DataFrame


def simulate(
    patients: Sequence[Mapping[str, float]],
    *,
    fs_hz: float = 500,
    seconds: float = 10.0,
    seed: int = 0,
    age: float | np.ndarray = 55.0,
    male: bool | np.ndarray = True,
    heart_rate: float | None = None,
    qtc_ms: float | None = None,
) -> Simulation:
    """Record one ECG of each patient, given as a mapping of disease to severity; {} is healthy.

    The same seed and the same number of patients give the same anatomies, whatever their diseases:
    `simulate([{"CLBBB": s}], seed=7)` turns one knob on one heart. `heart_rate` (bpm) and `qtc_ms`
    override what age, sex and disease would give. See DISEASES for the names.

    Raises ConfigError for an unknown disease, a severity outside [0, 1], `fs_hz` outside 100-2000,
    `seconds` outside 2.5-3600, a rate outside 25-220 bpm, a QTc outside 300-700 ms.
    """
    check_range(fs_hz=fs_hz, seconds=seconds, heart_rate=heart_rate, qtc_ms=qtc_ms, seed=seed)
    if not len(patients):
        raise ConfigError("there is no patient", remedy='give at least one, e.g. [{"LVH": 0.8}]')
    n = len(patients)
    severity = severities(patients)
    anatomy, timing, atria = (np.random.default_rng([seed, k]) for k in range(3))
    for name, values in (("age", age), ("male", male)):
        if np.shape(values) not in ((), (n,)):
            raise ConfigError(
                f"{name} does not fit the patients",
                expected=f"one number, or one for each of {n} patients",
                found=f"shape {np.shape(values)}",
                remedy=f"give one {name} per patient",
            )
    check_range(age=float(np.min(age)))
    check_range(age=float(np.max(age)))
    ages, males = np.broadcast_to(age, n).astype(float), np.broadcast_to(male, n).astype(bool)
    hearts = healthy(ages, males, anatomy)
    for name, disease in DISEASES.items():
        if severity[name].any():
            disease.change(hearts, severity[name])
    if heart_rate is not None:
        hearts.rate_bpm = np.full(n, float(heart_rate))
    if qtc_ms is not None:
        hearts.qtc_ms = np.full(n, float(qtc_ms))
    onset, origin, flutter_s = lay_beats(hearts, seconds, timing)
    rr_s = np.nanmedian(np.diff(onset, axis=1), axis=1)
    # Cube root of RR (Fridericia 1920). One QT per recording: it follows the rate over minutes,
    # not from beat to beat.
    qt_ms = hearts.qtc_ms * np.cbrt(rr_s)
    samples = round(seconds * fs_hz)
    signals = np.empty((n, 12, samples), np.float32)
    breath = timing.uniform([0.17, 0, 0.01, 0.01], [0.33, 2 * np.pi, 0.06, 0.05], (n, 4))
    for first in range(0, n, CHUNK):
        rows = slice(first, first + CHUNK)
        part = Hearts(**{key: value[rows] for key, value in vars(hearts).items()})
        dipole = draw_beats(part, onset[rows], origin[rows], qt_ms[rows], fs_hz, samples)
        draw_atria(dipole, part, flutter_s[rows], fs_hz, atria)
        breathe(dipole, breath[rows], fs_hz)
        signals[rows] = twelve_leads(part.field.astype(np.float32) @ dipole.astype(np.float32))
    beats = mark_beats(hearts, onset, origin, qt_ms, seconds)
    sinus = np.abs(hearts.p).sum((1, 2)) > 0
    truth = pd.DataFrame(
        {
            "heart_rate": 60 / rr_s,
            "rr_ms": 1000 * rr_s,
            "pr_ms": np.where(sinus, hearts.pr_ms, np.nan),
            "qrs_ms": hearts.qrs_ms,
            "qt_ms": qt_ms,
            "qtc_ms": hearts.qtc_ms,
            "axis_deg": hearts.axis_deg,
            "age": ages,
            "male": males,
            "statements": [
                statements_of({k: v[i] for k, v in severity.items()}, hearts.qtc_ms[i])
                for i in range(n)
            ],
        }
    )
    return Simulation(signals, fs_hz, truth, beats)


# The cohort's mix: classes among the abnormal, and what stands for each, about as in PTB-XL. Long
# QT is the exception: 0.5 % there, raised here until it can be estimated.
MIX = {
    "ARR": (0.19, {"AFIB": 0.55, "PVC": 0.25, "PAC": 0.13, "AFLT": 0.07}),
    "CD": (0.28, {"CRBBB": 0.38, "LAFB": 0.27, "CLBBB": 0.15, "1AVB": 0.16, "LPFB": 0.04}),
    "MI": (0.29, {"IMI": 0.42, "ASMI": 0.36, "AMI": 0.10, "LMI": 0.08, "PMI": 0.04}),
    "QT": (0.07, {"LNGQT": 1.0}),
    "HYP": (0.15, {"LVH": 0.88, "RVH": 0.12}),
    "other": (0.24, {"ISC_": 0.5, "NDT": 0.5}),
}
ABNORMAL, SECOND, INCOMPLETE = 0.53, 0.40, 0.55


def draw_patients(n: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw who has what: n mappings of disease to severity, {} for the healthy."""
    shares = np.array([share for share, _ in MIX.values()])
    patients = []
    for _ in range(n):
        patient: dict[str, float] = {}
        if rng.random() < ABNORMAL:
            count = 1 + (rng.random() < SECOND)
            for pick in rng.choice(len(MIX), count, replace=False, p=shares / shares.sum()):
                names = list(MIX.values())[pick][1]
                name = str(rng.choice(list(names), p=list(names.values())))
                # Most disease just meets its criterion; few are a picture for a textbook.
                patient[name] = 0.5 + 0.5 * rng.beta(1.0, 1.6)
            if rng.random() < INCOMPLETE and "CRBBB" in patient:
                patient["CRBBB"] = rng.uniform(0.25, 0.48)  # incomplete, as are most in PTB-XL
        if patient.keys() & {"AFIB", "AFLT"}:
            patient.pop("1AVB", None)  # no P, no PR
        elif rng.random() < 0.08:
            patient[str(rng.choice(["SBRAD", "STACH"]))] = 0.5 + 0.3 * rng.random()
        patients.append(patient)
    return patients


def cohort(
    n_patients: int = 600, fs_hz: float = 100, seconds: float = 10.0, seed: int = 0
) -> tuple[np.ndarray, pd.DataFrame]:
    """The `simulated` data set: one noisy recording per virtual patient, and its table.

    Returns signals (N, 12, T) float32 mV and a table with one row per recording, index
    `recording` ("simulated/00001"), and the columns of `tables.py`: fold is 1-10, `file` is
    empty. Raises ConfigError for fewer than one patient and as `simulate` does.
    """
    check_range(n_patients=n_patients, seed=seed, fs_hz=fs_hz, seconds=seconds)
    rng = np.random.default_rng([seed, 11])
    patients = draw_patients(n_patients, rng)
    sick = np.array([bool(patient.keys() - SINUS_VARIANTS) for patient in patients])
    draw = rng.standard_normal(n_patients)
    age = np.round(np.clip(np.where(sick, 66 + 13 * draw, 50 + 18 * draw), 18, 89))
    male = rng.random(n_patients) < 0.52
    made = simulate(patients, fs_hz=fs_hz, seconds=seconds, seed=seed, age=age, male=male)
    signals = made.signals
    for number, (kind, (mean, spread)) in enumerate(SNR_DB.items()):
        if kind == "mains" and fs_hz < MAINS_FROM_HZ:
            continue
        snr_db = np.clip(mean + spread * rng.standard_normal(n_patients), 3, 50)
        for first in range(0, n_patients, CHUNK):
            rows = slice(first, first + CHUNK)
            part = signals[rows]
            extra = electrode_noise(
                kind, len(part), fs_hz=fs_hz, seconds=seconds, seed=[seed, number, first]
            )
            signals[rows] = spoil(part, extra, snr_db[rows])
    # Recorders are AC-coupled: no lead keeps an offset.
    signals -= signals.mean(axis=2, keepdims=True)
    numbers = range(1, n_patients + 1)
    table = pd.DataFrame(
        {
            "source": "simulated",
            "patient": [f"simulated/p{i:04d}" for i in numbers],
            "fold": pd.array(rng.permutation(n_patients) % 10 + 1, dtype="Int64"),
            "age": age,
            "sex": np.where(male, "M", "F"),
            "statements": list(made.truth.statements),
            "file": "",
            "fs_hz": fs_hz,
        },
        index=pd.Index([f"simulated/{i:05d}" for i in numbers], name="recording"),
    )
    verdicts = [judge(statements, "scp") for statements in table.statements]
    table = table.join(pd.DataFrame(verdicts, index=table.index))
    return signals, table.astype({"abnormal": "boolean"})
