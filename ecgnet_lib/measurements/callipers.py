"""Textbook criteria, measured from a signal as a reader with callipers would.

Only the onset of each beat is taken as given; intervals and voltages are measured, so that they can
disagree with the truth of the simulator. Criteria as in `simulation.diseases`; leads by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError

BEFORE_S, AFTER_S = 0.42, 0.72


def _run(active: np.ndarray, start: int, step: int, gap: int) -> int:
    """Walk from `start` until `gap` samples in a row are quiet; the last active one."""
    last, at = start, start
    while 0 <= at < len(active) and abs(at - last) <= gap:
        last = at if active[at] else last
        at += step
    return last


def qrs_edges(beat: np.ndarray, fs_hz: float, onset: int) -> tuple[int, int]:
    """First and last sample of QRS in (12, S): all leads together steep, or far from the baseline.

    Steep is 14 uV per ms; far is 40 % of the height of QRS, for the plateau of a broad one.
    """
    slope = np.sqrt((np.gradient(beat, axis=1) ** 2).sum(0)) * fs_hz / 1000
    height = np.sqrt((beat**2).sum(0))
    near = slice(max(onset - round(0.04 * fs_hz), 0), onset + round(0.18 * fs_hz))
    active, gap = (slope > 0.014) | (height > 0.4 * height[near].max()), round(0.012 * fs_hz)
    peak = near.start + int(slope[near].argmax())
    return _run(active, peak, -1, gap), _run(active, peak, 1, gap)


def measure_beat(signal: np.ndarray, fs_hz: float, qrs_on_s: np.ndarray) -> SimpleNamespace:
    """Measure one noise-free recording (12, T): intervals in ms, voltages in mV by lead.

    `q`, `r`, `s` are depths and heights of the first negative, the positive and the last negative
    deflection, `r_ms` is how long R lasts, `late` the mean of the last 40 ms of QRS, `st` the level
    60 ms after it, `t` the extreme of T; `flat` is how much the stillest 50 ms
    between T and QRS still move. Raises SignalError where the beats leave no room for a T wave.
    """
    before, after = round(BEFORE_S * fs_hz), round(AFTER_S * fs_hz)
    starts = np.round(qrs_on_s * fs_hz).astype(int)
    rr = np.diff(qrs_on_s)
    whole = [s for s in starts if s >= before and s + after <= signal.shape[1]]
    beat = np.median(np.stack([signal[:, s - before : s + after] for s in whole]), axis=0)
    on, off = qrs_edges(beat, fs_hz, before)
    off = max(off, on + 4)
    qrs = beat[:, on : off + 1]
    short, long = round(0.1 * fs_hz), round(0.25 * fs_hz)
    widths = [
        np.diff(qrs_edges(signal[:, s - short : s + long], fs_hz, short))[0] / fs_hz * 1000
        for s in starts
        if s >= short and s + long <= signal.shape[1]
    ]
    m = SimpleNamespace(
        rate=60 / np.median(rr),
        rr_cv=rr.std() / rr.mean(),
        earliest=rr.min() / np.median(rr),
        widest=max(widths),
        qrs=(off - on) / fs_hz * 1000,
    )
    m.q, m.r, m.r_ms, m.s, m.late = ({} for _ in range(5))  # by lead
    for lead, x in zip(LEADS, qrs, strict=True):
        top = int(x.argmax())
        m.r[lead] = max(float(x[top]), 0)
        # Without a noticeable R, all that is negative is Q: a QS complex.
        whole_qs = m.r[lead] < 0.08
        m.q[lead] = max(-float(x.min() if whole_qs else x[: top + 1].min()), 0)
        m.s[lead] = m.q[lead] if whole_qs else max(-float(x[top:].min()), 0)
        m.r_ms[lead] = (_run(x > 0, top, 1, 1) - _run(x > 0, top, -1, 1)) / fs_hz * 1000
        m.late[lead] = float(x[-round(0.04 * fs_hz) :].mean())
    area = dict(zip(LEADS, qrs.sum(1), strict=True))
    m.axis = np.degrees(np.arctan2(2 / np.sqrt(3) * area["aVF"], area["I"]))
    room = on + round(min(0.62 * np.sqrt(np.median(rr)), np.median(rr) - 0.08) * fs_hz)
    wave = beat[:, off + round(0.02 * fs_hz) : room]
    if wave.shape[1] < round(0.06 * fs_hz):
        expected = "60 ms or more between the end of QRS and the next beat"
        found = f"{1000 * wave.shape[1] / fs_hz:.0f} ms"
        remedy = "give the true onsets of QRS: some of these stand too close together"
        what = "no room is left for a T wave"
        raise SignalError(what, expected=expected, found=found, remedy=remedy)
    m.st = dict(zip(LEADS, beat[:, off + round(0.06 * fs_hz)], strict=True))
    m.t = dict(zip(LEADS, wave[range(12), np.abs(wave).argmax(1)], strict=True))
    # The end of T by the tangent, on the direction in which T is largest.
    trace = np.linalg.svd(wave, full_matrices=False)[0][:, 0] @ wave
    trace *= np.sign(trace[np.abs(trace).argmax()])
    top = int(trace.argmax())
    slope = np.gradient(trace)
    steep = top + int(slope[top:].argmin())
    end = off + round(0.02 * fs_hz) + steep - trace[steep] / min(slope[steep], -1e-9)
    m.qtc = (end - on) / fs_hz * 1000 / np.cbrt(np.median(rr))
    offset = max(0, on - round(0.38 * fs_hz))
    p = np.sqrt((beat[:, offset : on - round(0.02 * fs_hz)] ** 2).sum(0))
    start = _run(p > 0.15 * p.max(), int(p.argmax()), -1, round(0.01 * fs_hz)) + offset
    m.pr = (on - start) / fs_hz * 1000
    still = []
    seen = [LEADS.index(lead) for lead in ("II", "III", "aVF", "V1")]
    for a, b in itertools.pairwise(starts):
        gap = signal[seen, int(min(a + end - on, b - 0.12 * fs_hz)) : b - round(0.01 * fs_hz)]
        if (size := round(0.05 * fs_hz)) < gap.shape[1]:
            windows = np.lib.stride_tricks.sliding_window_view(gap, size, axis=1)
            still.append(np.ptp(windows, axis=2).max(0).min())
    m.flat = float(np.median(still)) if still else 0.0
    return m


def _q_waves(m: SimpleNamespace, *leads: str) -> bool:
    """Pathological Q in two of the leads: at least 0.1 mV deep and a quarter of R, or QS."""
    return sum(m.q[x] >= 0.1 and m.q[x] >= 0.25 * m.r[x] for x in leads) >= 2


CRITERIA: dict[str, Callable[[SimpleNamespace], bool]] = {
    "SBRAD": lambda m: m.rate < 60 and m.rr_cv < 0.1,
    "STACH": lambda m: m.rate > 100 and m.rr_cv < 0.1,
    "AFIB": lambda m: m.rr_cv > 0.1 and m.flat > 0.005,
    "AFLT": lambda m: m.rr_cv < 0.03 and m.flat > 0.005,
    "PAC": lambda m: m.earliest < 0.8 and m.widest < 120,
    "PVC": lambda m: m.earliest < 0.8 and m.widest >= 120,
    "1AVB": lambda m: m.pr > 200,
    "IMI": lambda m: _q_waves(m, "II", "III", "aVF"),
    "ASMI": lambda m: _q_waves(m, "V1", "V2", "V3"),
    "AMI": lambda m: _q_waves(m, "V2", "V3", "V4", "V5"),
    "LMI": lambda m: _q_waves(m, "I", "aVL", "V5", "V6"),
    "PMI": lambda m: m.r["V2"] >= m.s["V2"] and m.r_ms["V2"] >= 40 and m.t["V2"] > 0,
    "LVH": lambda m: max(m.q["V1"], m.s["V1"]) + max(m.r["V5"], m.r["V6"]) >= 3.5,
    "RVH": lambda m: m.r["V1"] > m.s["V1"] and m.axis > 90,
    "LAFB": lambda m: -90 < m.axis <= -45 and m.qrs < 120 and m.s["III"] > m.r["III"],
    "LPFB": lambda m: 90 < m.axis < 180 and m.qrs < 120 and m.r["V1"] < 0.7,
    "CRBBB": lambda m: m.qrs >= 120 and m.late["V1"] > 0.05 and m.late["V6"] < 0,
    "CLBBB": lambda m: m.qrs >= 120 and m.late["V1"] < 0 and m.q["V6"] < 0.05 and m.r["V6"] > 0.3,
    "ISC_": lambda m: sum(m.st[x] <= -0.05 for x in ("I", "V4", "V5", "V6")) >= 2,
    "NDT": lambda m: all(abs(m.t[x]) < 0.1 * max(m.r[x], 0.8) for x in ("I", "II", "V5", "V6")),
    "LNGQT": lambda m: m.qtc >= 460,
}
