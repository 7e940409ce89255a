"""Noise at a known level, and measures whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecgnet_lib.datasets import sources
from ecgnet_lib.denoising import noise
from ecgnet_lib.denoising.compare import harm_table, quality_table
from ecgnet_lib.errors import SignalError, SourceError
from ecgnet_lib.measurements.r_peaks import find_r_peaks

FS = 100
TRACKS = noise.simulated_noise(FS)


def beats_at(times_s: list[float], fs_hz: float = 500, seconds: float = 10.0) -> np.ndarray:
    """(2, T): a 1 mV Gaussian QRS at each time, and the same upside down at half the height."""
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    qrs = sum(np.exp(-0.5 * ((t - at) / 0.012) ** 2) for at in times_s)
    return np.stack([qrs, -0.5 * qrs]).astype(np.float32)


@pytest.fixture
def excerpt(tmp_path, monkeypatch):
    """A copy that holds a noise excerpt whose values are known: steps of a ramp, gain 200."""
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "DATA", tmp_path / "none")
    file = tmp_path / noise.EXCERPT
    file.parent.mkdir()
    t = np.arange(10_800) / 360
    wave = np.round(100 * np.sin(2 * np.pi * 3 * t)).astype(np.int16)
    both = np.stack([wave, 2 * wave], axis=1)
    np.savez(file, fs=360, gain_adu_per_mV=200, bw=both, em=both, ma=both)
    return file


@pytest.mark.parametrize("fs_hz", [100, 360, 500])
def test_excerpt_is_read_in_mv_by_channel_at_the_rate(excerpt, fs_hz):
    for channel, amplitude in ((1, 0.5), (2, 1.0)):
        tracks = noise.nstdb(fs_hz, channel)
        assert tuple(tracks) == noise.NOISE_KINDS
        muscle = tracks["muscle"]
        expected = amplitude * np.sin(2 * np.pi * 3 * np.arange(30 * fs_hz) / fs_hz)
        inner = slice(fs_hz, -fs_hz)
        assert muscle.shape == (30 * fs_hz,)
        assert np.abs(muscle - expected)[inner].max() < 0.01 * amplitude + 0.003
    found, note = noise.choose_noise(fs_hz)
    assert np.array_equal(found["muscle"], muscle) and "channel 2, 30 s" in note


def test_without_nstdb_noise_is_simulated_and_the_note_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "DATA", tmp_path / "none")
    with pytest.raises(SourceError, match="nstdb"):
        noise.nstdb(FS, 1)
    tracks, note = noise.choose_noise(FS)
    assert "simulated noise" in note and set(tracks) == set(noise.NOISE_KINDS)


def test_a_broken_excerpt_is_refused(excerpt):
    for content in (b"", b"PK\x03\x04 cut off", b"not an archive"):
        excerpt.write_bytes(content)
        with pytest.raises(SourceError, match="the noise excerpt cannot be read"):
            noise.nstdb(FS, 1)
    np.savez(excerpt, fs=360, bw=np.zeros((5, 2)))
    with pytest.raises(SourceError, match="arrays fs, gain_adu_per_mV"):
        noise.nstdb(FS, 1)


def test_real_excerpt_has_the_character_of_each_kind(physionet):
    """From the database's description: baseline is slow, muscle has most of the fast power."""
    for channel in (1, 2):
        share = {}
        for kind, track in noise.nstdb(360, channel).items():
            power = np.abs(np.fft.rfft(track)) ** 2
            hz = np.fft.rfftfreq(track.size, 1 / 360)
            share[kind] = power[hz > 12].sum() / power.sum()
            assert 0.05 < track.std() < 1 and track.size == 10_800
        assert share["muscle"] > 0.15 > 0.1 > share["electrode"] > 2 * share["baseline"]


def test_drawn_noise_is_standard_seeded_and_another_stretch_for_each_lead():
    for kind in (*noise.NOISE_KINDS, "mix"):
        drawn = noise.draw_noise(TRACKS, kind, (3, 12, 1000), seed=5)
        assert drawn.shape == (3, 12, 1000)
        assert np.abs(drawn.mean(-1)).max() < 1e-6
        assert drawn.std(-1) == pytest.approx(1, rel=1e-5)
        assert np.array_equal(drawn, noise.draw_noise(TRACKS, kind, (3, 12, 1000), seed=5))
        assert not np.array_equal(drawn, noise.draw_noise(TRACKS, kind, (3, 12, 1000), seed=6))
        alike = np.corrcoef(drawn.reshape(36, -1))
        assert np.abs(alike[~np.eye(36, dtype=bool)]).max() < 0.9999


def test_noise_longer_than_its_track_goes_on_without_a_jump():
    tracks = {"muscle": np.linspace(0, 1, 500)}
    drawn = noise.draw_noise(tracks, "muscle", (4, 1500), seed=0)
    assert np.abs(np.diff(drawn)).max() < 4 / 500 / 0.28


@pytest.mark.parametrize("level", [-6, 0, 24])
def test_noise_is_added_at_the_level_asked_for_in_every_lead(level):
    clean = np.stack([3 * beats_at([1.0, 2.0])[0], 0.2 * beats_at([3.3])[0], np.full(5000, 0.4)])
    dirt = noise.draw_noise(noise.simulated_noise(500), "mix", clean.shape, 0)
    added = noise.add_noise(clean, dirt, level)
    assert noise.snr_db(clean, added)[:2] == pytest.approx(level, abs=1e-3)
    assert np.array_equal(added[2], clean[2].astype(np.float32))
    assert added.dtype == np.float32


def test_reference_keeps_the_band_drops_the_rest_and_both_ends():
    t = np.arange(5000) / 500
    inside = np.sin(2 * np.pi * 8 * t)
    x = inside + 2 * np.sin(2 * np.pi * 0.1 * t) + np.sin(2 * np.pi * 90 * t)
    for to_hz in (500, 100):
        got = noise.reference_ecg(np.stack([x, x]), 500, to_hz)
        expected = inside[:: 500 // to_hz][to_hz:-to_hz]
        assert got.shape == (2, 8 * to_hz) and got.dtype == np.float32
        assert np.abs(got - expected)[:, to_hz:-to_hz].max() < 0.03


def test_measures_of_an_estimate_a_tenth_too_tall():
    clean = beats_at([0.5, 1.5, 2.5, 3.5])
    assert noise.snr_db(clean, 1.1 * clean) == pytest.approx(20, abs=1e-4)
    assert noise.prd_percent(clean, 1.1 * clean + 7) == pytest.approx(10, abs=1e-3)
    assert np.all(noise.snr_db(clean, clean) == np.inf)
    assert np.all(noise.prd_percent(clean, clean) == 0)
    qrs, st = noise.wave_errors(clean[None], 1.1 * clean[None], 500)
    assert qrs[0] == pytest.approx([10, 10], abs=1e-3) and np.abs(st).max() < 1e-3


def test_st_level_error_is_the_shift_of_the_st_segment():
    times = [1.0, 2.1, 3.0, 4.4]
    clean = beats_at(times)
    shifted = clean.copy()
    for at in times:
        shifted[1, round((at + 0.09) * 500) : round((at + 0.3) * 500)] += 0.15
    qrs, st = noise.wave_errors(clean[None], shifted[None] - 3, 500)
    assert st[0] == pytest.approx([0, 0.15], abs=1e-4)
    assert qrs[0] == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("fs_hz", [100, 500])
def test_beats_are_found_where_they_are(fs_hz):
    times = [0.6, 1.3, 2.4, 2.9, 4.0, 5.5, 7.25, 9.0]
    found = find_r_peaks(beats_at(times, fs_hz), fs_hz)
    assert found / fs_hz == pytest.approx(times, abs=0.011)
    assert find_r_peaks(np.zeros((12, 1000)), fs_hz).size == 0


def test_small_or_absent_qrs_has_no_amplitude_error():
    clean = np.stack([beats_at([1.0, 2.0])[0], 0.1 * beats_at([1.0, 2.0])[0]])[None]
    qrs, _ = noise.wave_errors(clean, clean, 500)
    assert qrs[0, 0] == 0 and np.isnan(qrs[0, 1])
    qrs, st = noise.wave_errors(np.zeros((1, 2, 1000)), np.zeros((1, 2, 1000)), 500)
    assert np.isnan(qrs).all() and np.isnan(st).all()


def test_tables_say_what_erasing_and_doing_nothing_are_worth():
    clean = np.stack([beats_at([1.0, 2.0, 3.1], FS, 5.0), beats_at([0.7, 2.2], FS, 5.0)])
    clean[1, 1] = 0  # a flat lead counts for nothing
    chosen = {"do nothing": lambda x, fs: x, "erase": lambda x, fs: np.zeros_like(x)}
    quality = quality_table(clean, FS, TRACKS, chosen)
    assert len(quality) == 2 * (1 + 4 * 6)
    rows = quality.set_index(["method", "noise", "snr_db"])
    assert rows.loc[("erase", "muscle", 24), "gain_db"] == pytest.approx(-24, abs=1e-3)
    assert rows.loc[("erase", "mix", -6), "gain_db"] == pytest.approx(6, abs=1e-3)
    assert rows.loc[("erase", "none", math.inf), "prd_percent"] == pytest.approx(100)
    assert rows.loc[("erase", "none", math.inf), "qrs_percent"] == pytest.approx(-100)
    harm = harm_table(quality)
    assert harm.loc["do nothing", ["prd_percent", "worst_gain_db"]].tolist() == [0, 0]
    assert harm.loc["erase", "worst_gain_db"] == pytest.approx(-24, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: noise.nstdb(FS, 0), "two channels"),
        (lambda: noise.draw_noise(TRACKS, "thunder", (2, 100), 0), "unknown noise"),
        (lambda: noise.add_noise(np.zeros((2, 100)), np.zeros((2, 99)), 6), "another shape"),
        (lambda: noise.reference_ecg(np.zeros((12, 1500)), 500, 100), "too short"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(SignalError, match=says):
        call()
