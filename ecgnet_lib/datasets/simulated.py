"""The `simulated` data set: a cohort of virtual patients, drawn in about the mix of PTB-XL."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecgnet_lib.datasets.labels import label_columns
from ecgnet_lib.simulation.diseases import SINUS_VARIANTS
from ecgnet_lib.simulation.electrodes import MAINS_FROM_HZ, check_range, electrode_noise, spoil
from ecgnet_lib.simulation.simulator import CHUNK, simulate

# Noise of a resting ECG, mean and spread of the ratio in dB, set so that the spectrum of simulated
# normals is that of PTB-XL's.
SNR_DB = {"baseline": (14, 7), "electrode": (24, 6), "muscle": (24, 5), "mains": (32, 6)}

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
    """Draw the diseases of each patient: n mappings of disease to severity, {} for the healthy."""
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

    Returns signals (N, 12, T) float32 mV and a table with one row per recording ("simulated/00001")
    and the columns of `tables.py`: fold is 1-10, `file` is empty. Raises ConfigError as `simulate`.
    """
    check_range(n_patients=n_patients, seed=seed, fs_hz=fs_hz, seconds=seconds)
    rng = np.random.default_rng([seed, 11])
    patients = draw_patients(n_patients, rng)
    sick = np.array([bool(patient.keys() - SINUS_VARIANTS) for patient in patients])
    draw = rng.standard_normal(n_patients)
    age = np.round(np.clip(np.where(sick, 66 + 13 * draw, 50 + 18 * draw), 18, 89))
    male = rng.random(n_patients) < 0.52
    size = {"fs_hz": fs_hz, "seconds": seconds}
    made = simulate(patients, seed=seed, age=age, male=male, **size)
    signals = made.signals
    for number, (kind, (mean, spread)) in enumerate(SNR_DB.items()):
        if kind == "mains" and fs_hz < MAINS_FROM_HZ:
            continue
        snr_db = np.clip(mean + spread * rng.standard_normal(n_patients), 3, 50)
        for first in range(0, n_patients, CHUNK):
            rows = slice(first, first + CHUNK)
            part = signals[rows]
            extra = electrode_noise(kind, len(part), seed=[seed, number, first], **size)
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
    labels = [label_columns(statements, "scp") for statements in table.statements]
    table = table.join(pd.DataFrame(labels, index=table.index))
    return signals, table.astype({"abnormal": "boolean"})
