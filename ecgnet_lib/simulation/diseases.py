"""Diseases as physics: each changes a healthy heart by as much as its severity says.

A disease is named by its SCP-ECG code, the vocabulary of PTB-XL. Severity runs from 0, the healthy
heart untouched, to 1, a picture for a textbook; from 0.5 on most hearts meet the criterion of
the AHA/ACCF/HRS: conduction (Surawicz et al. 2009, doi 10.1016/j.jacc.2008.12.013), ST-T and QT
(Rautaharju et al. 2009, doi 10.1016/j.jacc.2008.12.014), hypertrophy (Hancock et al. 2009, doi
10.1016/j.jacc.2008.12.015); infarction: Thygesen et al. 2018, doi 10.1016/j.jacc.2018.08.1038.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.simulation.heart import EDGE_QRS, Hearts

Change = Callable[[Hearts, np.ndarray], None]  # what a severity (N,) does to N hearts, in place


class Disease(NamedTuple):
    """The change of hearts by a disease, and the statement that is given for it.

    The disease's name is stated from the severity `stated` on; below it `mild`, if there is one.
    """

    title: str
    change: Change
    stated: float = 0.5
    mild: str = ""


def reach(start: np.ndarray, severity: np.ndarray, criterion: float, extreme: float) -> np.ndarray:
    """Move a quantity from where it is: to the criterion at severity 0.5, to the extreme at 1.

    A heart that already meets the criterion goes straight to the extreme.
    """
    up = extreme > criterion
    half = np.maximum(start, criterion) if up else np.minimum(start, criterion)
    end = np.maximum(half, extreme) if up else np.minimum(half, extreme)
    first = start + (half - start) * np.minimum(severity, 0.5) * 2
    return first + (end - half) * np.maximum(severity - 0.5, 0) * 2


def _vectors(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def _blend(now: np.ndarray, then: np.ndarray, share: np.ndarray) -> np.ndarray:
    return now + share.reshape(-1, *[1] * (now.ndim - 1)) * (then - now)


# --- rate, rhythm and intervals; the beats themselves are laid out in timing.py ------------------


def _reaching(quantity: str, criterion: float, extreme: float) -> Change:
    """Make the change of one quantity alone, see `reach`."""

    def change(h: Hearts, s: np.ndarray) -> None:
        setattr(h, quantity, reach(getattr(h, quantity), s, criterion, extreme))

    return change


def _fibrillation(h: Hearts, s: np.ndarray) -> None:
    h.fibrillation, h.rate_bpm = s, h.rate_bpm * (1 + 0.35 * s)
    h.p[s > 0] = 0  # no organised atrial activity, however mild


def _flutter(h: Hearts, s: np.ndarray) -> None:
    h.flutter = s
    h.p[s > 0] = 0


def _left_bundle(h: Hearts, s: np.ndarray) -> None:
    """Septum from right to left, then slowly through the left wall: no q in I and V6, broad
    notched R there, QS or rS in V1, ST-T against the QRS."""
    before, after = h.qrs_ms, reach(h.qrs_ms, s, 138, 168)
    at = np.array([0.17, 0.36, 0.56, 0.73, 0.82])
    width = np.array([0.068, 0.10, 0.10, 0.095, 0.072])
    h.qrs_at = _blend(h.qrs_at / before[:, None], at, s) * after[:, None]
    h.qrs_width = _blend(h.qrs_width / before[:, None], width, s) * after[:, None]
    qrs = _vectors(
        [0.2, 0, 0.1], [0.75, 0.15, 0.75], [0.5, 0.05, 0.85], [0.8, 0.1, 0.75], [0, 0, 0]
    )
    t = _vectors([-0.10, -0.02, -0.13], [-0.13, -0.03, -0.17], [-0.22, -0.04, -0.31])
    size, share = h.size()[..., None], np.minimum(1.4 * s, 1)
    h.qrs, h.t = _blend(h.qrs, qrs * size, share), _blend(h.t, t * size, share)
    h.qtc_ms = h.qtc_ms + 0.5 * (after - before)


def _right_bundle(h: Hearts, s: np.ndarray) -> None:
    """The left ventricle as usual, then the right one, late: a slow terminal force to the right
    and front, so R' in V1, broad S in I and V6, T inverted in V1 and V2."""
    before, after = h.qrs_ms, reach(h.qrs_ms, s, 132, 162)
    share, size = np.minimum(1.4 * s, 1), h.size()
    late = s > 0
    h.qrs_width[:, 4] = np.where(late, 0.115 * after, h.qrs_width[:, 4])
    h.qrs_at[:, 4] = np.where(late, after - EDGE_QRS * h.qrs_width[:, 4], h.qrs_at[:, 4])
    h.qrs[:, 4] += share[:, None] * size * _vectors([-0.55, 0.05, -0.68])
    # The late forces to the back shrink: they are opposed now.
    h.qrs[:, 2:4, 2] *= 1 - 0.35 * share[:, None]
    h.t = h.t + share[:, None, None] * _vectors([0.01, 0, 0.05], [0.03, 0, 0.14], [0.04, 0, 0.24])
    h.qtc_ms = h.qtc_ms + 0.4 * (after - before)


def _fascicle(h: Hearts, s: np.ndarray, lobes: np.ndarray, axis: np.ndarray) -> None:
    """Start away from the blocked fascicle's wall, end towards it; QRS a little longer."""
    sick = s > 0
    h.qrs[:, :3] = _blend(h.qrs[:, :3], lobes * h.size()[..., None], np.minimum(1.6 * s, 1))
    stretch = (1 + 0.10 * s)[:, None]
    h.qrs_at, h.qrs_width = h.qrs_at * stretch, h.qrs_width * stretch
    h.turn_axis(np.where(sick, axis, h.axis_deg))


def _anterior_fascicle(h: Hearts, s: np.ndarray) -> None:
    lobes = _vectors([-0.1, 0.22, -0.2], [0.9, -0.05, 0.1], [0.35, -0.6, 0.6])
    _fascicle(h, s, lobes, reach(h.axis_deg, s, -48, -68))


def _posterior_fascicle(h: Hearts, s: np.ndarray) -> None:
    lobes = _vectors([0.2, -0.16, -0.2], [0.45, 0.75, 0.6], [-0.1, 0.75, 0.8])
    _fascicle(h, s, lobes, reach(h.axis_deg, s, 98, 125))


def _infarction(towards: Sequence[float]) -> Change:
    """Make the change for an infarction in the wall that lies `towards`.

    Dead muscle gives no early forces, so the dipole starts away from it (Q). A fresh infarct
    lifts ST towards it; an older one has T pointing away.
    """
    wall = np.array(towards) / np.linalg.norm(towards)

    def change(h: Hearts, s: np.ndarray) -> None:
        size, s = h.size(), reach(np.zeros(len(s)), s, 0.85, 1.1)
        h.qrs[:, 0] -= (s * (np.clip(h.qrs[:, 0] @ wall, 0, 1) + 0.5 * size[:, 0]))[:, None] * wall
        for lobe, share, beyond in ((1, 0.85, 0.1), (2, 0.85, 0.2), (3, 0.6, 0.0)):
            lost = share * np.clip(h.qrs[:, lobe] @ wall, 0, None) + beyond * size[:, 0]
            h.qrs[:, lobe] -= (s * lost)[:, None] * wall
        stretch = (1 + 0.14 * s)[:, None]  # around dead muscle conduction takes a detour
        h.qrs_at, h.qrs_width = h.qrs_at * stretch, h.qrs_width * stretch
        fresh, old = (s * (1 - h.stage))[:, None, None], (s * h.stage)[:, None, None]
        h.t += fresh * np.array([[0.34], [0.14], [0.03]]) * wall
        toward = np.clip(h.t @ wall, 0, None)[..., None] + np.array([[0], [0.05], [0.28]])
        h.t -= np.minimum(2 * old, 1) * toward * wall * [[0], [1], [1]]

    return change


def _ischaemia(h: Hearts, s: np.ndarray) -> None:
    """Subendocardial: ST down and T inverted in the lateral leads."""
    h.t = _blend(h.t, _vectors([-0.16, -0.05, 0.02], [-0.1, -0.03, 0.03], [-0.2, -0.06, 0.1]), s)


def _flat_t(h: Hearts, s: np.ndarray) -> None:
    h.t = h.t * reach(np.ones(len(s)), s, 0.15, -0.1)[:, None, None]


def sokolow_mv(h: Hearts) -> np.ndarray:
    """S in V1 plus the taller R of V5 and V6, (N,), mV (Sokolow and Lyon 1949)."""
    _, loop = h.qrs_loop(2.0)
    v1, v5, v6 = (np.einsum("nc,ncs->ns", h.field[:, k], loop) for k in (2, 6, 7))
    return np.maximum(v5.max(1), v6.max(1)) - v1.min(1)


def _left_hypertrophy(h: Hearts, s: np.ndarray) -> None:
    """More muscle, more voltage to the left and back; then strain, ST-T against it."""
    more = (0.25 * s * (s > 0))[:, None, None]
    h.qrs[:, 1:3] += more * h.size()[..., None] * _vectors([0.5, 0, 0.7])
    now = sokolow_mv(h)
    h.qrs[:, 1:4] *= (reach(now, s, 3.9, 5.6) / now)[:, None, None]
    stretch = (1 + 0.12 * s)[:, None]
    h.qrs_at, h.qrs_width = h.qrs_at * stretch, h.qrs_width * stretch
    strain = np.clip((s - 0.3) / 0.6, 0, 1)
    t = _vectors([-0.1, -0.02, -0.09], [-0.17, -0.03, -0.15], [-0.3, -0.06, -0.24])
    h.t = _blend(h.t, t, strain)


def _right_hypertrophy(h: Hearts, s: np.ndarray) -> None:
    """The right wall wins: forces to the right and front, axis to the right, strain in V1-V3."""
    share = reach(np.zeros(len(s)), s, 0.8, 1.0)
    qrs = _vectors(
        [0.1, 0.05, -0.2], [0.3, 0.45, -0.75], [-0.55, 0.4, -0.45], [-0.45, 0.1, 0.1], [0, 0, 0]
    )
    h.qrs = _blend(h.qrs, qrs * (h.size() * (0.9 + 0.4 * s)[:, None])[..., None], share)
    h.t = _blend(h.t, _vectors([0.03, -0.02, 0.1], [0.06, 0.0, 0.12], [0.16, 0.02, 0.24]), share)


SIMULATED: dict[str, Disease] = {
    # The order is that of application: rate, infarction, wall thickness, conduction, QT.
    "SBRAD": Disease("sinus bradycardia", _reaching("rate_bpm", 56, 38)),
    "STACH": Disease("sinus tachycardia", _reaching("rate_bpm", 104, 150)),
    "AFIB": Disease("atrial fibrillation", _fibrillation, stated=0.0),
    "AFLT": Disease("atrial flutter", _flutter, stated=0.0),
    "PAC": Disease("atrial premature complexes", lambda h, s: setattr(h, "pac", s), stated=0.0),
    "PVC": Disease(
        "ventricular premature complexes", lambda h, s: setattr(h, "pvc", s), stated=0.0
    ),
    "1AVB": Disease("first-degree AV block", _reaching("pr_ms", 212, 340)),
    "IMI": Disease("inferior infarction", _infarction([0.1, 1.0, 0.15])),
    "ASMI": Disease("anteroseptal infarction", _infarction([-0.1, 0.0, -1.0])),
    "AMI": Disease("anterior infarction", _infarction([0.55, 0.0, -0.85])),
    "LMI": Disease("lateral infarction", _infarction([1.0, -0.3, 0.4])),
    "PMI": Disease("posterior infarction", _infarction([-0.1, 0.15, 1.0])),
    "LVH": Disease("left ventricular hypertrophy", _left_hypertrophy, mild="VCLVH"),
    "RVH": Disease("right ventricular hypertrophy", _right_hypertrophy),
    "LAFB": Disease("left anterior fascicular block", _anterior_fascicle),
    "LPFB": Disease("left posterior fascicular block", _posterior_fascicle),
    "CRBBB": Disease("right bundle branch block", _right_bundle, mild="IRBBB"),
    "CLBBB": Disease("left bundle branch block", _left_bundle, mild="ILBBB"),
    "ISC_": Disease("ischaemic ST-T changes", _ischaemia),
    "NDT": Disease("flat T waves", _flat_t),
    "LNGQT": Disease("long QT", _reaching("qtc_ms", 485, 590)),
}
SINUS_VARIANTS = frozenset({"SBRAD", "STACH"})  # a normal ECG may have them


def severities(patients: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Turn one mapping of disease to severity per patient into one array (N,) per disease.

    Raises ConfigError for a disease that is not in SIMULATED and a severity outside [0, 1].
    """
    table = {name: np.zeros(len(patients)) for name in SIMULATED}
    for row, patient in enumerate(patients):
        for name, severity in patient.items():
            if name not in SIMULATED:
                what, known = "there is no such disease", ", ".join(SIMULATED)
                raise ConfigError(what, expected=known, found=repr(name))
            if not 0 <= severity <= 1:
                what, expected = f"{name} is out of range", "0 (healthy) to 1 (textbook picture)"
                raise ConfigError(what, expected=expected, found=severity)
            table[name][row] = severity
    return table


def statements_of(severity: Mapping[str, float], qtc_ms: float) -> tuple[str, ...]:
    """Return the SCP-ECG statements of one patient, rhythm included."""
    found = []
    for name, disease in SIMULATED.items():
        s = severity.get(name, 0)
        if s > 0 and s >= disease.stated:
            found.append(name)
        elif s >= 0.2 and disease.mild:
            found.append(disease.mild)
    if qtc_ms >= 480 and "LNGQT" not in found:
        found.append("LNGQT")
    if not set(found) - SINUS_VARIANTS:
        found.insert(0, "NORM")
    if not set(found) & {*SINUS_VARIANTS, "AFIB", "AFLT"}:
        found.append("SR")
    return tuple(found)
