"""Virtual patients: 12-lead ECGs whose truth is known, in seconds and without a file.

`simulate` gives noise-free signals with every onset and offset. The healthy heart is in `heart.py`,
what diseases do to it in `diseases.py`, its beats in time in `timing.py`, noise in `electrodes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.simulation.diseases import SIMULATED, severities, statements_of
from ecgnet_lib.simulation.electrodes import check_range
from ecgnet_lib.simulation.heart import Hearts, healthy, twelve_leads
from ecgnet_lib.simulation.timing import breathe, draw_atria, draw_beats, lay_beats, mark_beats

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

    The same seed and number of patients give the same anatomies, whatever their diseases:
    `simulate([{"CLBBB": s}], seed=7)` turns one knob on one heart. `heart_rate` (bpm) and `qtc_ms`
    override what age, sex and disease would give. ConfigError for a disease not in SIMULATED, a
    severity outside [0, 1] and a value outside its range in `electrodes.RANGES`.
    """
    check_range(fs_hz=fs_hz, seconds=seconds, heart_rate=heart_rate, qtc_ms=qtc_ms, seed=seed)
    if not len(patients):
        raise ConfigError("there is no patient", expected='at least one, such as {"LVH": 0.8}')
    n = len(patients)
    severity = severities(patients)
    anatomy, timing, atria = (np.random.default_rng([seed, k]) for k in range(3))
    check_range(age=np.min(age))
    check_range(age=np.max(age))
    ages, males = np.broadcast_to(age, n).astype(float), np.broadcast_to(male, n).astype(bool)
    hearts = healthy(ages, males, anatomy)
    for name, disease in SIMULATED.items():
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
    truth = {
        "heart_rate": 60 / rr_s,
        "rr_ms": 1000 * rr_s,
        "pr_ms": np.where(sinus, hearts.pr_ms, np.nan),
        "qrs_ms": hearts.qrs_ms,
        "qt_ms": qt_ms,
        "qtc_ms": hearts.qtc_ms,
        "axis_deg": hearts.axis_deg,
        "age": ages,
        "male": males,
        "statements": list(map(statements_of, patients, hearts.qtc_ms)),
    }
    return Simulation(signals, fs_hz, pd.DataFrame(truth), beats)
