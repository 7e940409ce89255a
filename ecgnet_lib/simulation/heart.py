"""One healthy heart: a moving dipole, drawn as Gaussian lobes, seen by twelve leads.

The dipole (in mV, axes x to the left, y to the feet, z to the back) is a sum of Gaussian lobes in
time, the model of McSharry et al. 2003 (doi 10.1109/TBME.2003.808805) in the three-dimensional form
of Sameni et al. 2007 (doi 10.1155/2007/43407) and Clifford et al. 2010
(doi 10.1088/0967-3334/31/5/001): two lobes for P, five for QRS, three for ST-T. Leads are a linear
view of it, by the lead field of Dower et al. 1980 (doi 10.1002/clc.1980.3.2.87).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Dower 1980: what I, II, V1..V6 see of a dipole, of its component to the left, the feet, the back.
DOWER = np.array(
    [
        [0.632, 0.235, -0.515, 0.044, 0.882, 1.213, 1.125, 0.831],
        [-0.235, 1.066, 0.157, 0.164, 0.098, 0.127, 0.127, 0.076],
        [0.059, -0.132, -0.917, -1.387, -1.277, -0.601, -0.086, 0.230],
    ]
).T.copy()

# A lobe starts and ends this many widths from its centre. For P and T it is where the tangent at
# the steepest point meets the baseline, exactly 2 for a Gaussian (tangent method, Lepeschkin and
# Surawicz 1952). QRS lobes are taller, so one sees more of their feet.
EDGE, EDGE_QRS = 2.0, 2.5

# Where the healthy QRS lobes (Q, R, R', S) lie, as fractions of the QRS duration: the first starts
# at 0 and the last ends at 1. A fifth lobe is spare, for late activation in disease.
QRS_AT = np.array([0.22, 0.40, 0.56, 0.74, 0.74])
QRS_WIDTH = np.array([0.088, 0.09, 0.09, 0.104, 0.104])

# The anatomy below was measured, not invented: lobes fitted by least squares to the median beats of
# 349 PTB-XL recordings (500 Hz) whose only diagnosis is NORM, projected to a dipole by the
# pseudo-inverse of DOWER. Four QRS lobes explain 98 % of the energy of such a dipole. Then P, T and
# the spreads were adjusted by hand until the lead amplitudes matched (P up by 0.01-0.02 mV, T by a
# tenth along x, spreads of Q, S and T down by a third): the atria lie elsewhere, and Dower's field,
# made for QRS, sees too little of both in I.
# Rows are lobes, columns x, y, z in uV.
P_MEAN = np.array([[45, 70, -15], [60, 60, 15]]) / 1000
P_SPREAD = np.array([20, 32, 19]) / 1000
QRS_MEAN = np.array([[-29, -46, -260], [1000, 411, 82], [366, 296, 666], [-140, -43, 256]]) / 1000
QRS_PER_DECADE = np.array([[23, 14, 25], [26, -52, -62], [-92, -71, -37], [1, 10, -9]]) / 1000
# Male minus female.
QRS_MALE = np.array([[45, 20, -63], [236, -56, -106], [-182, -87, 102], [-20, 18, 48]]) / 1000
# How healthy hearts differ beyond age and sex: the four leading principal components of the QRS
# lobes (81 % of the variance), each scaled to one standard deviation; SPREAD is what they leave.
QRS_MODES = [
    [[-95, -31, 8], [-91, -1, -71], [537, 237, -40], [36, 23, 28]],
    [[-8, 36, 52], [-109, -176, -323], [-16, -138, -199], [24, -7, 4]],
    [[32, -17, -27], [-194, -83, -58], [-86, 143, 178], [28, 10, 1]],
    [[-49, -22, -44], [182, 44, -189], [-21, 56, 110], [-26, -3, 45]],
]
QRS_MODES = np.array(QRS_MODES) / 1000
QRS_SPREAD = np.array([[90], [70], [80], [90]]) / 1000
T_MEAN = np.array([[-10, -9, -37], [84, 24, -133], [265, 134, -150]]) / 1000
T_MALE = np.array([[14, 9, -13], [31, -6, -77], [47, -16, -100]]) / 1000
T_SPREAD = np.array([70, 45, 70]) / 1000
# What Dower's field leaves unexplained in the same recordings, on average and from one torso to the
# next. It is orthogonal to the columns of DOWER, so the dipoles above stay what they are.
FIELD_OFFSET = np.array(
    [
        [0.100, 0.040, -0.037, -0.026, 0.033, 0.028, -0.078, -0.080],
        [-0.030, -0.045, 0.141, 0.065, -0.104, -0.066, 0.084, 0.213],
        [-0.060, -0.008, 0.171, -0.303, 0.115, 0.130, 0.009, -0.154],
    ]
).T.copy()
FIELD_SPREAD = 0.15


@dataclass
class Hearts:
    """N hearts as arrays; diseases change them in place.

    Lobe vectors `p` (N, 2, 3), `qrs` (N, 5, 3), `t` (N, 3, 3: ST, early T, T) are in mV;
    `qrs_at`, `qrs_width` (N, 5) in ms after the onset of QRS; `field` (N, 8, 3) is the patient's
    own lead field; `stage` goes from a fresh infarction (0) to an old one (1); `focus` is where
    ventricular beats start, the right (1) or the left ventricle (-1). Scalars have shape (N,).
    `fibrillation`, `flutter`, `pac`, `pvc` hold the severity of the rhythm.
    """

    rate_bpm: np.ndarray
    pr_ms: np.ndarray
    p_ms: np.ndarray
    qtc_ms: np.ndarray
    p: np.ndarray
    qrs: np.ndarray
    qrs_at: np.ndarray
    qrs_width: np.ndarray
    t: np.ndarray
    field: np.ndarray
    stage: np.ndarray
    focus: np.ndarray
    fibrillation: np.ndarray
    flutter: np.ndarray
    pac: np.ndarray
    pvc: np.ndarray

    @property
    def qrs_ms(self) -> np.ndarray:
        """Duration of QRS, (N,): where the last of its lobes ends."""
        return (self.qrs_at + EDGE_QRS * self.qrs_width).max(1)

    @property
    def axis_deg(self) -> np.ndarray:
        """Frontal QRS axis, (N,), from the net areas of QRS in I and aVF (Singh and Athar 2003)."""
        area = np.einsum("nlc,nkc,nk->nl", self.field[:, :2], self.qrs, self.qrs_width)
        avf = area[:, 1] - area[:, 0] / 2
        return np.degrees(np.arctan2(2 / np.sqrt(3) * avf, area[:, 0]))

    def size(self) -> np.ndarray:
        """Height of R next to that of the average heart, (N, 1), kept within 0.6 and 1.6."""
        mean = np.linalg.norm(QRS_MEAN[1:3].sum(0))
        return np.clip(np.linalg.norm(self.qrs[:, 1:3].sum(1), axis=1) / mean, 0.6, 1.6)[:, None]

    def turn_axis(self, to_deg: np.ndarray) -> None:
        """Turn the QRS lobes in the frontal plane that I and aVF span, until the axis is `to_deg`.

        x and y change, depth z stays; each heart is turned as its own lead field sees it.
        """
        avf = (self.field[:, 1] - self.field[:, 0] / 2) * 2 / np.sqrt(3)
        frontal = np.stack([self.field[:, 0], avf], axis=1)  # (N, 2, 3)
        seen = np.einsum("nic,nkc->nki", frontal, self.qrs)
        turn = np.radians(to_deg - self.axis_deg)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        change = np.einsum("ijn,nkj->nki", rotation, seen) - seen
        back = np.linalg.inv(frontal[:, :, :2])
        self.qrs[..., :2] += np.einsum("nci,nki->nkc", back, change)

    def qrs_loop(self, step_ms: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Times (S,) in ms after onset and the QRS dipole (N, 3, S) on them."""
        at = np.arange(0.0, self.qrs_ms.max() + step_ms, step_ms)
        z = (at - self.qrs_at[..., None]) / self.qrs_width[..., None]  # (N, 5, S)
        return at, np.einsum("nkc,nks->ncs", self.qrs, np.exp(-0.5 * z**2))


def healthy(age: np.ndarray, male: np.ndarray, rng: np.random.Generator) -> Hearts:
    """Draw one healthy heart for each age (years, (N,)) and sex (`male`, bool (N,)).

    Intervals follow what was measured on the recordings named above (QRS 90 ms in men, 83 in
    women; QTc by Fridericia; rate 64 and 70 bpm), vectors the tables of this module.
    """
    n = len(age)
    decades = np.clip((age - 50) / 10, -3.5, 3.5)
    sign = np.where(male, 0.5, -0.5)

    def normal(*shape: int) -> np.ndarray:
        return np.clip(rng.standard_normal((n, *shape)), -2.5, 2.5)

    old, man = decades[:, None, None], sign[:, None, None]
    p = P_MEAN * (1 + 0.03 * old) + P_SPREAD * normal(2, 3) * 0.7
    qrs = QRS_MEAN + old * QRS_PER_DECADE + man * QRS_MALE
    qrs = qrs + np.einsum("nm,mkc->nkc", normal(4), QRS_MODES) + QRS_SPREAD * normal(4, 3)
    spread = T_SPREAD * normal(1, 3)
    early = np.array([[0.15], [0.45], [1.0]])  # the lobes of one T wave vary together
    height = np.exp(0.22 * normal(1, 1))
    t = (T_MEAN + man * T_MALE) * (1 - 0.03 * old) * height + early * spread
    duration = 86.5 + 7 * sign + 7 * normal()
    beyond_dower = np.eye(8) - DOWER @ np.linalg.pinv(DOWER)
    hearts = Hearts(
        rate_bpm=np.clip((67 - 6 * sign) * np.exp(0.16 * normal()), 48, 99),
        pr_ms=np.clip(160 + 6 * sign + 2.5 * decades + 17 * normal(), 120, 194),
        p_ms=np.clip(104 + 2 * decades + 8 * normal(), 80, 118),
        qtc_ms=np.clip(392 - 12 * sign + 2.5 * decades + 16 * normal(), 345, 445),
        p=p,
        qrs=np.concatenate([qrs, np.zeros((n, 1, 3))], axis=1),
        qrs_at=duration[:, None] * QRS_AT,
        qrs_width=duration[:, None] * QRS_WIDTH,
        t=t,
        field=DOWER + FIELD_OFFSET + beyond_dower @ (FIELD_SPREAD * normal(8, 3)),
        stage=rng.uniform(0.3, 0.7, n),
        focus=np.where(rng.random(n) < 0.5, 1.0, -1.0),
        **{rhythm: np.zeros(n) for rhythm in ("fibrillation", "flutter", "pac", "pvc")},
    )
    # Independent draws reach axes that no healthy heart has: reflect them into -28..92 degrees.
    axis = hearts.axis_deg
    reflected = np.where(axis < -28, -56 - axis, np.where(axis > 92, 184 - axis, axis))
    hearts.turn_axis(np.clip(reflected, -28, 92))
    return hearts


def draw_lobes(
    dipole: np.ndarray, fs_hz: float, at_s: np.ndarray, width_s: np.ndarray, vector: np.ndarray
) -> None:
    """Add one Gaussian lobe per beat to the dipole, in place.

    `dipole` (N, 3, T) mV; `at_s`, `width_s` (N, K) seconds, NaN where there is no beat;
    `vector` (N, K, 3) mV. A lobe is drawn out to four widths, where less than 0.1 % is left.
    """
    n, _, samples = dipole.shape
    row, beat = np.nonzero(np.isfinite(at_s) & (np.abs(vector).sum(2) > 0))
    if not len(row):
        return
    at, width = at_s[row, beat] * fs_hz, width_s[row, beat] * fs_hz
    first = np.floor(at - 4 * width)
    steps = np.arange(int(np.ceil(8 * width.max())) + 1)
    where = first[:, None] + steps
    shape = np.exp(-0.5 * ((where - at[:, None]) / width[:, None]) ** 2)
    inside = (where >= 0) & (where < samples) & (steps <= 8 * width[:, None] + 1)
    lobe = np.broadcast_to(np.arange(len(row))[:, None], where.shape)[inside]
    index = (row[lobe] * samples + where[inside]).astype(np.int64)
    for axis in range(3):
        weight = shape[inside] * vector[row[lobe], beat[lobe], axis]
        dipole[:, axis] += np.bincount(index, weight, n * samples).reshape(n, samples)


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """I, II, V1..V6 (N, 8, T) mV to all twelve leads (N, 12, T), float32.

    III = II - I (Einthoven); aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2 (Goldberger).
    """
    one, two = eight[:, :1], eight[:, 1:2]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([*limb, eight[:, 2:]], axis=1).astype(np.float32)
