"""Beats in time: when the chambers fire, what they draw, and how breathing moves the heart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecgnet_lib.simulation.heart import Hearts, draw_lobes

NORMAL, ATRIAL, VENTRICULAR = 0, 1, 2  # where a beat comes from


def lay_beats(
    hearts: Hearts, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place the beats: onsets of QRS (N, K) in s, NaN beyond the end; origins (N, K); flutter cycle
    (N,) in s.

    Sinus rhythm varies with breathing and with the slow waves of blood pressure near 0.1 Hz, the
    two peaks of McSharry et al. 2003. In fibrillation intervals are independent of each other; in
    flutter every second to fourth atrial wave is conducted. A ventricular premature beat is
    followed by a fully compensatory pause, an atrial one by less.
    """
    n, count = len(hearts.rate_bpm), int((seconds + 3) * 3.7) + 4
    base = (60 / hearts.rate_bpm)[:, None]
    white, phase = rng.standard_normal((n, count)), rng.uniform(0, 2 * np.pi, (n, 2, 1))
    depth = 0.018 * np.exp(0.6 * rng.standard_normal((n, 2, 1)))
    speed = np.concatenate([rng.uniform(0.17, 0.33, (n, 1)), rng.uniform(0.08, 0.12, (n, 1))], 1)
    angle = 2 * np.pi * speed[..., None] * (np.arange(count) * base)[:, None] + phase
    rr = base * (1 + (depth * np.sin(angle)).sum(1) + 0.006 * white)
    fibrillating = hearts.fibrillation[:, None]
    wild = base * np.exp((0.14 + 0.16 * fibrillating) * white)
    rr = np.where(fibrillating > 0, np.maximum(wild, 0.33), rr)
    cycle = rng.uniform(0.19, 0.23, n)
    ratio = np.clip(np.rint(base[:, 0] / cycle), 2, 4)
    rr = np.where(hearts.flutter[:, None] > 0, (ratio * cycle)[:, None], rr)

    origin = np.zeros((n, count), np.int8)
    dice = rng.random((n, count))
    for kind, severity, before, after in (
        (ATRIAL, hearts.pac, 0.68, 1.08),
        (VENTRICULAR, hearts.pvc, 0.62, 1.38),
    ):
        early = (dice < (0.02 + 0.28 * severity)[:, None]) & (severity[:, None] > 0)
        sick = np.flatnonzero(severity > 0)
        middle = (0.45 * seconds / base[sick, 0]).astype(int) + 2 * kind - 1
        early[sick, middle] = True  # at least one shows
        dice = 1 - dice
        early &= origin == NORMAL
        for k in range(1, count):
            early[:, k] &= (origin[:, k - 1] == NORMAL) & ~early[:, k - 1]
        early[:, 0] = False
        origin[early] = kind
        rr[early] *= before
        rr[:, 1:][early[:, :-1]] *= after
    start = -rng.uniform(0.1, 1.0, (n, 1)) * base
    onset = start + np.cumsum(rr, axis=1) - rr[:, :1]
    onset[onset > seconds + 1] = np.nan  # beyond the end only a P wave could still be seen
    return onset, origin, cycle


def draw_beats(
    hearts: Hearts,
    onset: np.ndarray,
    origin: np.ndarray,
    qt_ms: np.ndarray,
    fs_hz: float,
    samples: int,
) -> np.ndarray:
    """Draw every wave of every beat: the dipole (N, 3, T) in mV."""
    n, count = onset.shape
    dipole = np.zeros((n, 3, samples))

    def draw(
        which: np.ndarray, at_ms: np.ndarray, width_ms: np.ndarray, vector: np.ndarray
    ) -> None:
        at = np.where(which, onset + at_ms[:, None] / 1000, np.nan)
        width = np.broadcast_to(width_ms[:, None] / 1000, at.shape)
        draw_lobes(dipole, fs_hz, at, width, np.broadcast_to(vector[:, None], (n, count, 3)))

    conducted, ectopic = origin != VENTRICULAR, origin == VENTRICULAR
    for k in range(2):
        at, width = -hearts.pr_ms + hearts.p_ms * (k + 1) / 3, hearts.p_ms / 6
        draw(origin == NORMAL, at, width, hearts.p[:, k])
        # An atrial premature beat starts elsewhere, so its P points elsewhere.
        draw(origin == ATRIAL, at, width, hearts.p[:, k] * [0.5, -0.8, 1.2])
    for k in range(hearts.qrs.shape[1]):
        draw(conducted, hearts.qrs_at[:, k], hearts.qrs_width[:, k], hearts.qrs[:, k])
    scale = qt_ms / 400
    st_ms = qt_ms - hearts.qrs_ms
    draw(conducted, hearts.qrs_ms + 0.3 * st_ms, 0.14 * st_ms, hearts.t[:, 0])
    draw(conducted, qt_ms - 140 * scale, 50 * scale, hearts.t[:, 1])
    draw(conducted, qt_ms - 72 * scale, 36 * scale, hearts.t[:, 2])
    # Ventricular premature beats: cell to cell, so broad and large, T against QRS. From a
    # focus in the right ventricle they run left and back, from the left one right and front.
    way = hearts.focus[:, None] * [0.7, 0.35, 0.9] + [0.0, 0.25, 0.0]
    width = np.full(n, 21.0)
    draw(ectopic, 2.5 * width, width, 1.1 * way)
    draw(ectopic, 5.0 * width, 1.1 * width, way * [0.8, 1.1, 0.9])
    draw(ectopic, qt_ms + 40 - 86 * scale, 43 * scale, -0.42 * way)
    return dipole


def draw_atria(
    dipole: np.ndarray, hearts: Hearts, cycle_s: np.ndarray, fs_hz: float, rng: np.random.Generator
) -> None:
    """Add fibrillatory or flutter waves to the dipole, in place.

    Fibrillation: a sawtooth of three harmonics whose rate and amplitude wander (Stridh and Sornmo
    2001, doi 10.1109/10.900266), best seen in V1. Flutter: regular, downwards in II, III and aVF.
    """
    at = np.arange(dipole.shape[2]) / fs_hz
    for row in np.flatnonzero(hearts.fibrillation > 0):
        rate, wander = rng.uniform(4.5, 8.0), rng.uniform(0.1, 0.4)
        phases = rng.uniform(0, 2 * np.pi, 5)
        theta = 2 * np.pi * rate * at + 2.5 * np.sin(2 * np.pi * wander * at + phases[0])
        swell = 1 + 0.5 * np.sin(2 * np.pi * 0.7 * wander * at + phases[1])
        wave = sum(np.sin(m * theta + phases[2]) / m for m in (1, 2, 3)) * swell
        other = np.sin(1.13 * theta + phases[3]) * swell
        first, second = np.outer([-0.2, 0.5, -0.8], wave), np.outer([0.3, 0.5, 0.1], other)
        dipole[row] += (0.02 + 0.03 * hearts.fibrillation[row]) * (first + second)
    for row in np.flatnonzero(hearts.flutter > 0):
        theta = 2 * np.pi * (at / cycle_s[row] + rng.uniform())
        wave = sum(np.sin(m * theta) / m for m in (1, 2, 3, 4))
        dipole[row] += (0.03 + 0.09 * hearts.flutter[row]) * np.outer([-0.05, -0.8, -0.35], wave)


def breathe(dipole: np.ndarray, breath: np.ndarray, fs_hz: float) -> None:
    """Turn and stretch the dipole with breathing, in place (Sameni et al. 2007).

    `breath` (N, 4): rate in Hz, phase, swing of the axis in rad, swing of the amplitude.
    """
    rate, phase, swing, gain = (breath[:, k, None] for k in range(4))
    lungs = np.sin(2 * np.pi * rate * np.arange(dipole.shape[2]) / fs_hz + phase)  # (N, T)
    cos, sin = np.cos(swing * lungs), np.sin(swing * lungs)
    x, y = dipole[:, 0].copy(), dipole[:, 1].copy()
    dipole[:, 0], dipole[:, 1] = cos * x - sin * y, sin * x + cos * y
    dipole *= (1 + gain * lungs)[:, None]


def mark_beats(
    hearts: Hearts, onset: np.ndarray, origin: np.ndarray, qt_ms: np.ndarray, seconds: float
) -> pd.DataFrame:
    """Tabulate the waves of every beat whose QRS begins within the recording; see Simulation."""
    row, beat = np.nonzero((onset >= 0) & (onset < seconds))
    start, kind = onset[row, beat], origin[row, beat]
    times, loop = hearts.qrs_loop()
    peak = times[np.linalg.norm(loop, axis=1).argmax(1)]
    ectopic = kind == VENTRICULAR
    no_p = ectopic | (np.abs(hearts.p).sum((1, 2)) == 0)[row]
    qrs = np.where(ectopic, 160.0, hearts.qrs_ms[row])
    qt = qt_ms[row] + 40 * ectopic
    t_on = np.maximum(qrs, np.where(ectopic, qt - 172 * qt_ms[row] / 400, qt * (1 - 240 / 400)))
    offsets_ms = {
        "p_on": np.where(no_p, np.nan, -hearts.pr_ms[row]),
        "p_off": np.where(no_p, np.nan, (hearts.p_ms - hearts.pr_ms)[row]),
        "qrs_on": np.zeros(len(row)),
        "r_peak": np.where(ectopic, 70.0, peak[row]),
        "qrs_off": qrs,
        "t_on": t_on,
        "t_off": qt,
    }
    names = np.array(["normal", "atrial", "ventricular"])
    return pd.DataFrame(
        {"recording": row, "origin": names[kind]}
        | {name: start + ms / 1000 for name, ms in offsets_ms.items()}
    )
