"""Hand-made features against virtual patients and signals whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from ecgnet_lib.errors import SignalError
from ecgnet_lib.measurements.features import bands, calliper, features_of, rhythm, shape
from ecgnet_lib.measurements.r_peaks import find_r_peaks
from ecgnet_lib.simulation.simulator import simulate


def test_rhythm_by_hand() -> None:
    r = rhythm(np.array([0.0, 1.0, 2.0, 2.5, 4.0]))  # intervals 1, 1, 0.5, 1.5 s
    assert (r["beats"], r["rate"], r["earliest"], r["latest"]) == (5, 60, 0.5, 1.5)
    assert r["rr_cv"] == pytest.approx(np.sqrt(0.125))
    assert r["rmssd"] == pytest.approx(np.sqrt(1.25 / 3))
    assert r["jumps"] == pytest.approx(2 / 3)
    assert np.isnan(rhythm(np.array([1.0, 2.0]))["rate"])


def test_bands_hold_the_power_of_a_sine() -> None:
    t = np.arange(1000) / 100
    signals = np.zeros((1, 12, 1000))
    signals[0, 1] = 0.4 * np.sin(2 * np.pi * 8 * t) + 3  # the offset is in no band
    power = bands(signals, 100)
    assert power["6-10 Hz II"][0] == pytest.approx(np.log10(0.4**2 / 2), abs=1e-5)
    assert power["10-20 Hz II"][0] == pytest.approx(-8) == power["6-10 Hz I"][0]


@pytest.fixture(scope="module")
def virtual():
    patients = [{}] * 4 + [{"CLBBB": 1.0}] * 4 + [{"AFIB": 1.0}] * 4 + [{"PVC": 1.0}] * 4
    made = simulate(patients, fs_hz=100, seed=3)
    return made, features_of(made.signals, 100)


def test_virtual_patients_are_measured_right(virtual) -> None:
    made, found = virtual
    normal, block, wild, ectopic = (found.iloc[i : i + 4] for i in range(0, 16, 4))
    onsets = made.beats.groupby("recording").qrs_on
    rate = 60 / onsets.apply(lambda at: np.median(np.diff(at)))
    np.testing.assert_allclose(found.rate[:12], rate[:12], rtol=0.03)
    assert (
        block.qrs.min() > 120 > normal.qrs.max() and block.CLBBB.mean() >= 0.75 > normal.CLBBB.max()
    )
    assert (
        wild.rr_cv.min() > 0.1 > normal.rr_cv.max()
        and (wild.AFIB == 1).all()
        and normal.AFIB.max() == 0
    )
    assert ectopic.latest.min() > 1.3 > normal.latest.max()  # the pause
    assert block.alike.min() > 0.99 > wild.alike.max()  # fibrillation between the beats
    assert (normal.filter(like="p II").iloc[:, 0] > 0.02).all()  # P is upright in II


def test_every_row_stands_alone_and_missing_beats_give_nan(virtual) -> None:
    made, found = virtual
    one = features_of(made.signals[5:6], 100)
    np.testing.assert_array_equal(one.to_numpy()[0], found.to_numpy()[5])
    flat = features_of(np.zeros((1, 12, 1000), np.float32), 100)
    assert list(flat.columns) == list(found.columns) and flat.shape[1] <= 220
    assert flat.beats[0] == 0 and np.isnan(flat.qrs[0]) and np.isnan(flat["st V1"][0])
    assert np.isfinite(found.to_numpy()).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_described_not_dropped(seed) -> None:
    noise = np.random.default_rng(seed).standard_normal((2, 12, 300)).astype(np.float32)
    assert len(features_of(noise, 100)) == 2
    at = find_r_peaks(noise[0], 100)
    assert shape(noise[0], 100, at[:1]).keys() == shape(noise[0], 100, at).keys()
    assert calliper(noise[0], 100, at[:0]).keys() == calliper(noise[0], 100, at).keys()


@pytest.mark.parametrize("bad", [np.zeros((12, 1000)), np.zeros((1, 3, 1000)),
                                 np.full((1, 12, 1000), np.nan)])  # fmt: skip
def test_bad_recordings_are_refused(bad) -> None:
    with pytest.raises(SignalError, match="whole recordings"):
        features_of(bad)
