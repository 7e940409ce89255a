"""The denoiser: against direct sums, against per-lead loops, and against real noise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import pywt

from ecgnet_lib.denoising import daubechies as dn
from ecgnet_lib.denoising import morlet, noise
from ecgnet_lib.errors import SignalError


def ecg_like(fs_hz: float, shape: tuple[int, ...] = (2, 3), seconds: float = 10.0, seed: int = 0):
    """Narrow QRS-like and broad T-like bumps once a second, scaled by lead: float32 mV."""
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    phase = (t + 0.35) % 1
    beat = np.exp(-0.5 * ((phase - 0.4) / 0.012) ** 2)
    beat += 0.25 * np.exp(-0.5 * ((phase - 0.65) / 0.05) ** 2)
    scale = np.random.default_rng(seed).uniform(0.5, 2.0, size=(*shape, 1))
    return (scale * (beat - beat.mean())).astype(np.float32)


def rms(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(x), axis=-1))


@pytest.mark.parametrize(("fs_hz", "length"), [(100, 1000), (100, 257), (360, 1801), (500, 2500)])
@pytest.mark.parametrize("band", [(0.5, 45.0), (0.5, 100.0), (8.0, 9.0)])
def test_collapsed_band_equals_the_explicit_transform(fs_hz, length, band):
    x = np.random.default_rng(length).standard_normal((2, 3, length)).cumsum(-1) + 5
    x /= rms(x)[..., None]
    bank = morlet.morlet_bank(*band)
    explicit = morlet.morlet_icwt(morlet.morlet_cwt(x, fs_hz, bank), fs_hz, bank)
    assert np.abs(morlet.morlet_band(x, fs_hz, *band) - explicit).max() < 1e-6
    single = morlet.morlet_band(x.astype(np.float32), fs_hz, *band)
    assert single.dtype == np.float32
    assert np.abs(single - explicit).max() < 1e-5


def test_transform_equals_the_sum_that_defines_it():
    """W_n(s) = sqrt(dt / s) sum_m x_m conj(psi0((m - n) dt / s)), Torrence and Compo eq. (2)."""
    fs_hz, bank = 100.0, morlet.morlet_bank(4.0, 8.0)
    x = np.random.default_rng(1).standard_normal(600)
    x -= x.mean()
    w = morlet.morlet_cwt(x, fs_hz, bank)
    n, m = 300, np.arange(600)  # far from both ends: padding has no part in it
    for row, s in zip(w, bank.scale_s, strict=True):
        eta = (m - n) / fs_hz / s
        psi = np.pi**-0.25 * np.exp(-6j * eta - eta**2 / 2)
        expected = np.sqrt(1 / fs_hz / s) * (x * psi).sum()
        assert abs(row[n] - expected) < 1e-6


def test_bank_has_four_scales_an_octave_and_exact_ends():
    bank = morlet.morlet_bank(0.5, 45.0)
    assert bank.dj <= 0.25
    assert np.all(np.diff(bank.hz) < 0)
    assert bank.hz[0] * 2 ** (bank.dj / 2) == pytest.approx(45.0)
    assert bank.hz[-1] * 2 ** (-bank.dj / 2) == pytest.approx(0.5)
    assert 1 / (bank.hz * bank.scale_s) == pytest.approx(1.033, abs=5e-4)
    assert bank.coi_s == pytest.approx(np.sqrt(2) * bank.scale_s)


def test_response_is_flat_inside_soft_at_the_ends_and_zero_at_dc():
    n, fs_hz = 100_000, 500.0
    hz = np.fft.rfftfreq(n, 1 / fs_hz)
    gain = morlet.morlet_response(n, fs_hz, morlet.morlet_bank(0.5, 45.0))
    inside = gain[(hz > 0.9) & (hz < 25)]
    assert inside.min() > 0.995 and inside.max() < 1.005
    assert np.interp([0.5, 45.0], hz, gain) == pytest.approx([0.6, 0.4], abs=0.01)
    assert gain[0] == 0 and gain[hz > 80].max() < 1e-3 and gain[hz < 0.2].max() < 1e-3


def test_c_delta_is_the_constant_that_rebuilds_an_impulse():
    x = np.zeros(4001)
    x[2000] = 1.0
    bank = morlet.morlet_bank(0.5, 2000.0)  # nearly all scales that an impulse at 500 Hz needs
    rebuilt = morlet.morlet_icwt(morlet.morlet_cwt(x, 500, bank), 500, bank)
    assert rebuilt[2000] == pytest.approx(1.0, abs=0.01)


def test_band_keeps_its_inside_removes_the_rest_and_shifts_nothing():
    fs_hz = 500.0
    t = np.arange(10_000) / fs_hz
    keep = np.sin(2 * np.pi * 7 * t)
    x = keep + 3 * np.sin(2 * np.pi * 0.1 * t) + np.sin(2 * np.pi * 110 * t) + 4
    y = morlet.morlet_band(x, fs_hz, 0.5, 45.0)
    middle = slice(2000, -2000)
    assert rms(y[middle] - keep[middle]) < 0.01
    noise_in = np.random.default_rng(0).standard_normal(1000)
    forth, back = morlet.morlet_band(noise_in, 100), morlet.morlet_band(noise_in[::-1], 100)[::-1]
    assert np.abs(forth - back).max() < 1e-9


def test_mirrored_ends_bend_the_signal_less_than_point_reflected_ones():
    """Cut 6 s out of a long ECG: the truth beyond the cut is known."""
    from scipy.signal import butter, sosfiltfilt

    fs_hz = 100
    rng = np.random.default_rng(3)
    sos = butter(3, (0.5, 40.0), "bandpass", fs=fs_hz, output="sos")
    mirrored, turned = [], []
    for _ in range(40):
        start = 1000 + rng.integers(100)
        truth = ecg_like(fs_hz, (1,), 30.0)[0]
        truth = sosfiltfilt(sos, truth)[start : start + 600]
        ends = np.r_[0:100, 500:600]
        mirrored.append(rms((dn.denoise(truth, fs_hz, "butterworth") - truth)[ends]))
        turned.append(rms((sosfiltfilt(sos, truth) - truth)[ends]))
    assert np.mean(mirrored) < 0.6 * np.mean(turned)


@pytest.mark.parametrize(("fs_hz", "depth"), [(100, 1), (125, 1), (250, 2), (500, 3), (1000, 4)])
def test_noise_is_measured_in_the_same_octave_at_every_rate(fs_hz, depth):
    """White noise of rms 1: an octave from the top down by `depth` holds 2^-depth of its power."""
    x = np.random.default_rng(0).standard_normal((8, 40 * fs_hz))
    assert dn.noise_mv(x, fs_hz).mean() == pytest.approx(2 ** (-depth / 2), rel=0.03)
    assert 25 <= fs_hz / 2**depth <= 65


@pytest.mark.parametrize("fs_hz", [100, 500])
def test_noise_does_not_take_the_qrs_for_noise(fs_hz):
    ecg = ecg_like(fs_hz, (30,))
    dirt = 0.05 * np.random.default_rng(0).standard_normal(ecg.shape)
    with_ecg = dn.noise_mv(ecg + dirt.astype(np.float32), fs_hz).mean()
    assert with_ecg == pytest.approx(dn.noise_mv(dirt, fs_hz).mean(), rel=0.25)


def test_noise_is_the_same_before_and_after_our_stage_1_but_not_after_the_papers():
    x = ecg_like(500, (20,)) + 0.1 * np.random.default_rng(0).standard_normal((20, 5000))
    raw = dn.noise_mv(x, 500)
    assert dn.noise_mv(morlet.morlet_band(x, 500), 500) == pytest.approx(raw, rel=0.06)
    assert np.all(dn.noise_mv(morlet.morlet_band(x, 500, 0.5, 45.0), 500) < 0.8 * raw)


def test_gate_is_shut_for_clean_open_for_noisy_and_grows_between():
    low, high = dn.GATE[0], sum(dn.GATE)
    assert dn.gate(np.array([0, low])) == pytest.approx([0, 0])
    assert dn.gate(np.array([high, 9.0])) == pytest.approx([1, 1])
    assert dn.gate((low + high) / 2) == pytest.approx(0.5)


@pytest.mark.parametrize("fs_hz", [100, 500])
def test_clean_leads_leave_stage_2_to_the_last_bit_and_noisy_ones_do_not(fs_hz):
    clean = ecg_like(fs_hz, (4,))
    x = clean.copy()
    x[2] += 0.2 * np.random.default_rng(0).standard_normal(x.shape[-1]).astype(np.float32)
    y = dn.daubechies_gated(x, fs_hz)
    assert np.array_equal(y[[0, 1, 3]], x[[0, 1, 3]])
    assert rms(y[2] - clean[2]) < 0.75 * rms(x[2] - clean[2])


def test_garrote_matches_its_formula_coefficient_by_coefficient():
    """At 100 Hz: two levels, d (1 - lambda^2 / mean of three d^2)+, the rest untouched."""
    x = (ecg_like(100, (1,)) + 0.3 * np.random.default_rng(0).standard_normal((1, 1000)))[0]
    assert dn.noise_mv(x, 100)[0] / rms(x) > sum(dn.GATE)  # fully open
    a, d2, d1 = pywt.wavedec(x, "db6", level=2)
    lam2 = (dn.THRESHOLD * np.median(np.abs(d1)) / 0.6745) ** 2
    shrunk = []
    for d in (d2, d1):
        e = np.concatenate([[0], d**2, [0]])
        s = (e[:-2] + e[1:-1] + e[2:]) / 3
        shrunk.append(np.array([v * max(0.0, 1 - lam2 / t) for v, t in zip(d, s, strict=True)]))
    expected = pywt.waverec([a, *shrunk], "db6")[:1000]
    assert np.abs(dn.daubechies_gated(x, 100) - expected).max() < 1e-9


def test_universal_equals_the_usual_loop_over_leads():
    from ecgnet_lib.denoising.compare import pywt_loop

    x = ecg_like(100) + 0.1 * np.random.default_rng(0).standard_normal((2, 3, 1000))
    assert np.abs(dn.daubechies_universal(x) - pywt_loop(x, 100)).max() < 1e-9


@pytest.mark.parametrize("method", dn.METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_lead_is_treated_alone_and_the_input_is_left_alone(method, dtype):
    x = ecg_like(100).astype(dtype)
    x += (0.2 * np.random.default_rng(0).standard_normal(x.shape)).astype(dtype)
    before = x.copy()
    y = dn.denoise(x, 100, method)
    assert y.shape == x.shape and y.dtype == x.dtype and not np.shares_memory(x, y)
    assert np.array_equal(x, before)
    for part in ((0,), (1, 2)):
        assert np.abs(dn.denoise(x[part], 100, method) - y[part]).max() < 1e-5


@pytest.mark.parametrize("method", dn.METHODS)
@pytest.mark.parametrize("fs_hz", [100, 500])
def test_flat_leads_pass_unchanged_beside_others(method, fs_hz):
    x = ecg_like(fs_hz, (3,))
    x += 0.2 * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    x[0], x[2] = 0.0, 0.31
    y = dn.denoise(x, fs_hz, method)
    assert np.array_equal(y[[0, 2]], x[[0, 2]])
    assert np.isfinite(y).all()
    assert method == "none" or not np.array_equal(y[1], x[1])


def test_a_nearly_flat_lead_does_not_become_nan():
    x = np.full((2, 1000), 1e-30, np.float32)
    x[0, 500], x[1, ::2] = 2e-30, -1e-30
    assert np.isfinite(dn.denoise(x, 100)).all()


@pytest.mark.parametrize("fs_hz", [90, 100, 125, 257, 360, 500, 1000, 2000])
def test_the_shortest_recording_is_accepted_at_every_rate(fs_hz):
    x = ecg_like(fs_hz, (12,), 2.5)
    for method in dn.METHODS:
        assert dn.denoise(x, fs_hz, method).shape == x.shape


X = ecg_like(100, (12,))
HOLED = X.copy()
HOLED[3, 7:9] = np.nan


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: dn.denoise(X[:, :150], 100), "too short for the band"),
        (lambda: dn.denoise(np.ascontiguousarray(X.T), 100), "put time on the last axis"),
        (lambda: dn.denoise(HOLED, 100), "2 samples that are NaN"),
        (lambda: dn.denoise(np.where(X > 1, np.inf, X), 100), "infinite"),
        (lambda: dn.denoise((1000 * X).astype(np.int16), 100), "divide the stored integers"),
        (lambda: dn.denoise([["a", "b"]], 100), "float32 or float64"),
        (lambda: dn.denoise(X[None, None], 100), "wrong shape"),
        (lambda: dn.denoise(np.zeros((0, 12, 1000), np.float32), 100), "wrong shape"),
        (lambda: dn.denoise(X, 50), "90 to 2000 Hz"),
        (lambda: dn.denoise(X, float("nan")), "unsupported sampling rate"),
        (lambda: dn.denoise(X, 100, "wavelet"), "none, butterworth, paper, gated"),
        (lambda: morlet.morlet_band(X, 100, 5, 1), "the band is empty"),
        (lambda: morlet.morlet_band(X, 100, 0.01, 40), "raise low_hz"),
        (lambda: morlet.morlet_cwt(X[:, :20], 100, morlet.morlet_bank()), "too short for the band"),
        (lambda: morlet.morlet_icwt(X, 100, morlet.morlet_bank()), "do not fit the bank"),
        (lambda: dn.daubechies_gated(X[:, :30], 100), "levels of db6 do not fit 30 samples"),
        (lambda: dn.noise_mv(X[:, :15], 100), "levels of db6 do not fit 15 samples"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(call, says):
    with pytest.raises(SignalError, match=says.replace("(", r"\(")):
        call()


def test_needs_no_torch():
    code = "import sys; from ecgnet_lib.denoising.daubechies import denoise; "
    code += "assert not {'torch', 'wfdb'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def real(physionet) -> np.ndarray:
    """Eight recordings of PTB-XL fold 10, (8, 12, 5000) at 500 Hz."""
    from ecgnet_lib.datasets.records import in_standard_order, read
    from ecgnet_lib.datasets.tables import ptbxl_table

    root = physionet / "ptb-xl"
    files = ptbxl_table(root).table.query("fold == 10 and fs_hz == 500")["file"].to_numpy()
    some = np.random.default_rng(10).permutation(files)[:8]
    return np.stack([in_standard_order(read(root / file)) for file in some])


@pytest.mark.parametrize("fs_hz", [100, 500])
def test_targets_on_real_recordings_with_real_noise(real, fs_hz):
    clean = noise.reference_ecg(real, 500, fs_hz)
    tracks = noise.nstdb(fs_hz, channel=2)

    def gain(kind: str, level: float, method: str) -> float:
        noisy = noise.add_noise(clean, noise.draw_noise(tracks, kind, clean.shape, 0), level)
        after = noise.snr_db(clean, dn.denoise(noisy, fs_hz, method))
        return float(np.nanmedian(after - noise.snr_db(clean, noisy)))

    def prd(method: str) -> float:
        return float(np.nanmedian(noise.prd_percent(clean, dn.denoise(clean, fs_hz, method))))

    assert gain("muscle", -6, "gated") > 7.5
    assert prd("gated") < (7.5 if fs_hz == 100 else 5.0)
    for kind in (*noise.NOISE_KINDS, "mix"):
        assert gain(kind, 24, "gated") > -1
    if fs_hz == 100:  # the usual recipe does harm here, and the book says so
        assert gain("muscle", 24, "paper") < -3
        assert prd("paper") > 1.5 * prd("gated")
    else:
        levels = noise.SNRS_DB
        assert min(gain("mix", q, "gated") - gain("mix", q, "butterworth") for q in levels) > -0.6
