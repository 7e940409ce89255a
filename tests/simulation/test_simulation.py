"""Virtual patients: true to physics, to the textbook and to their own marks."""

from __future__ import annotations

import numpy as np
import pytest

from ecgnet_lib.datasets.records import LEADS, in_standard_order, read
from ecgnet_lib.datasets.simulated import cohort
from ecgnet_lib.datasets.tables import COLUMNS, ludb_table, ptbxl_table
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.measurements.callipers import CRITERIA, measure_beat
from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.measurements.ludb_marks import ludb_qtc
from ecgnet_lib.simulation.diseases import SIMULATED
from ecgnet_lib.simulation.electrodes import NOISES, electrode_noise, spoil
from ecgnet_lib.simulation.simulator import simulate

FS_HZ, N = 500, 24
ROW = {lead: row for row, lead in enumerate(LEADS)}


def people(patient, n=N, seed=6):
    rng = np.random.default_rng(seed)
    return simulate([patient] * n, seed=seed, age=rng.uniform(20, 85, n), male=rng.random(n) < 0.5)


def measured(made):
    onsets = [group.to_numpy() for _, group in made.beats.groupby("recording").qrs_on]
    return [measure_beat(x, made.fs_hz, on) for x, on in zip(made.signals, onsets, strict=True)]


@pytest.fixture(scope="module")
def healthy():
    return people({}, 60)


@pytest.fixture(scope="module")
def healthy_measured(healthy):
    return measured(healthy)


def assert_limb_leads_agree(signals):
    one, two, three, right, left, foot = np.moveaxis(signals[:, :6].astype(float), 1, 0)
    goldberger = (right + (one + two) / 2, left - one + two / 2, foot - two + one / 2)
    assert np.abs([one + three - two, *goldberger]).max() < 1e-3  # mV: 1 uV


def test_limb_leads_obey_einthoven_and_goldberger_clean_and_noisy(healthy):
    assert_limb_leads_agree(healthy.signals)
    assert_limb_leads_agree(cohort(30, seed=3)[0])


def test_normal_looks_normal(healthy, healthy_measured):
    assert healthy.signals.dtype == np.float32 and healthy.signals.shape == (60, 12, 5000)
    assert np.isfinite(healthy.signals).all()
    r = np.array([[m.r[x] for x in LEADS] for m in healthy_measured])
    s = np.array([[m.s[x] for x in LEADS] for m in healthy_measured])
    ratio = np.median(r / (r + s), axis=0)[6:]
    assert (np.diff(ratio) > 0).all() and ratio[0] < 0.3 and ratio[5] > 0.8  # R grows, S shrinks
    down = [healthy.signals[:, ROW["aVR"]].min(1) < -healthy.signals[:, ROW["aVR"]].max(1)]
    assert np.mean(down) > 0.95
    t = np.array([[m.t[x] for x in ("I", "II", "V3", "V5", "aVR")] for m in healthy_measured])
    assert ((t[:, :4] > 0).mean(0) > 0.9).all() and (t[:, 4] < 0).mean() > 0.9
    assert healthy.truth.axis_deg.between(-30, 95).all()
    assert set(healthy.truth.statements) == {("NORM", "SR")}


def test_truth_agrees_with_callipers(healthy, healthy_measured):
    for name, limit in (("qrs_ms", 10), ("qtc_ms", 12), ("pr_ms", 15), ("axis_deg", 4)):
        other = [getattr(m, name.split("_")[0]) for m in healthy_measured]
        error = np.abs(other - healthy.truth[name])
        assert np.median(error) < limit, name


def test_waves_come_in_order(healthy):
    for made in (healthy, people({"CLBBB": 0.9, "1AVB": 0.8, "PVC": 0.6}), people({"LNGQT": 1.0})):
        marks = made.beats[["p_on", "p_off", "qrs_on", "r_peak", "qrs_off", "t_on", "t_off"]]
        steps = np.diff(marks.to_numpy(), axis=1)
        assert (steps[np.isfinite(steps)] >= 0).all()
        assert marks.qrs_on.between(0, 10).all()


@pytest.mark.parametrize("name", SIMULATED)
def test_textbook_criterion_tells_disease_from_health(name, healthy_measured):
    found = np.mean([CRITERIA[name](m) for m in measured(people({name: 0.75}))])
    false = np.mean([CRITERIA[name](m) for m in healthy_measured])
    assert found >= 0.9
    # Slow healthy hearts exist; everything else is rare among the healthy.
    assert false <= (0.4 if name == "SBRAD" else 0.15)


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("SBRAD", lambda m: -m.rate),
        ("STACH", lambda m: m.rate),
        ("AFIB", lambda m: m.flat),
        ("1AVB", lambda m: m.pr),
        ("IMI", lambda m: m.q["aVF"] - m.r["aVF"]),
        ("ASMI", lambda m: m.q["V2"] - m.r["V2"]),
        ("AMI", lambda m: m.q["V3"] - m.r["V3"]),
        ("LMI", lambda m: m.q["V6"] - m.r["V6"]),
        ("PMI", lambda m: m.r["V2"] - m.s["V2"]),
        ("LVH", lambda m: max(m.s["V1"], m.q["V1"]) + m.r["V5"]),
        ("RVH", lambda m: m.r["V1"] - m.s["V1"]),
        ("LAFB", lambda m: -m.axis),
        ("LPFB", lambda m: m.axis),
        ("CRBBB", lambda m: m.qrs),
        ("CLBBB", lambda m: m.qrs),
        ("ISC_", lambda m: -m.st["V5"]),
        ("NDT", lambda m: -m.t["V5"]),
        ("LNGQT", lambda m: m.qtc),
    ],
)
def test_severity_is_a_knob(name, quantity):
    """On one heart each, more severity never takes the measured sign of the disease back."""
    curve = [[quantity(m) for m in measured(people({name: s}, 8))] for s in (0, 0.3, 0.6, 1.0)]
    assert (np.diff(np.median(curve, axis=1)) > 0).all()


def test_severity_zero_is_the_healthy_heart_untouched():
    plain = simulate([{}], seed=4)
    for name in SIMULATED:
        assert np.array_equal(simulate([{name: 0.0}], seed=4).signals, plain.signals), name


def test_fibrillation_has_no_p_and_independent_intervals(healthy):
    made = simulate([{"AFIB": 0.8}] * 10, seconds=60, seed=2)
    assert made.beats[["p_on", "p_off"]].isna().all(axis=None)
    for _, beats in made.beats.groupby("recording"):
        rr = np.diff(beats.qrs_on)
        assert rr.std() / rr.mean() > 0.12
        assert abs(np.corrcoef(rr[:-1], rr[1:])[0, 1]) < 0.5
    assert healthy.beats.p_on.notna().all()


def test_ventricular_beat_is_followed_by_a_compensatory_pause():
    made = simulate([{"PVC": 0.1}] * 12, seed=1, heart_rate=70)
    ratios = []
    for _, beats in made.beats.groupby("recording"):
        origin, on = beats.origin.to_numpy(), beats.qrs_on.to_numpy()
        usual = np.median(np.diff(on)[origin[1:] == "normal"])
        early = np.flatnonzero(origin == "ventricular")
        ratios += [(on[k + 1] - on[k - 1]) / usual for k in early if 1 < k < len(on) - 1]
    assert len(ratios) >= 8 and np.median(ratios) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("qtc_ms", [350, 480, 560])
def test_qtc_is_what_was_asked_for(qtc_ms):
    made = simulate([{}] * 8, seed=1, qtc_ms=qtc_ms, heart_rate=60)
    beats = made.beats
    qt = 1000 * (beats.t_off - beats.qrs_on).groupby(beats.recording).mean()
    corrected = qt / np.cbrt(made.truth.rr_ms / 1000)
    assert corrected.to_numpy() == pytest.approx(qtc_ms, abs=1)
    assert np.median([m.qtc for m in measured(made)]) == pytest.approx(qtc_ms, abs=15)
    assert all(("LNGQT" in s) == (qtc_ms >= 480) for s in made.truth.statements)


def test_two_diseases_at_once_meet_both_criteria():
    both = measured(people({"LVH": 0.8, "CRBBB": 0.8, "1AVB": 0.8}))
    for name in ("CRBBB", "1AVB"):
        assert np.mean([CRITERIA[name](m) for m in both]) > 0.9
    made = simulate([{"LVH": 0.8, "CRBBB": 0.3}], seed=1)
    assert set(made.truth.statements[0]) == {"LVH", "IRBBB", "SR"}


def test_same_seed_same_signal_other_seed_other():
    first, again, other = (cohort(20, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first[0], again[0]) and first[1].equals(again[1])
    assert not np.array_equal(first[0], other[0])


def test_same_signal_at_every_rate():
    """A sample is the dipole at its time: 500 Hz holds the 100 Hz signal."""
    fast, slow = (simulate([{"LVH": 0.6}], fs_hz=fs, seed=3).signals for fs in (500, 100))
    assert np.abs(fast[..., ::5] - slow).max() < 2e-3


def test_cohort_is_a_table_like_any_other():
    signals, table = cohort(600)
    assert signals.shape == (600, 12, 1000) and signals.dtype == np.float32
    assert tuple(table.columns) == COLUMNS and table.index.name == "recording"
    assert table.index[0] == "simulated/00001" and table.patient.iloc[0] == "simulated/p0001"
    assert table.patient.is_unique and table.index.is_unique
    assert table.fold.value_counts().to_dict() == dict.fromkeys(range(1, 11), 60)
    shares = table[["NORM", "ARR", "CD", "MI", "QT", "HYP", "other"]].mean()
    low = [0.40, 0.08, 0.12, 0.12, 0.03, 0.06, 0.03]
    assert (shares > low).all() and (shares < [0.56, 0.2, 0.26, 0.28, 0.07, 0.16, 0.14]).all()
    diseases = table[["ARR", "CD", "MI", "QT", "HYP"]].sum(axis=1)
    assert 0.15 < (diseases >= 2).sum() / (diseases >= 1).sum() < 0.45
    assert (table.abnormal == ~table.NORM).all()
    assert not (table.NORM & (diseases > 0)).any()


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("snr_db", [-6, 0, 24])
def test_noise_is_added_at_exactly_the_ratio_asked_for(kind, snr_db, healthy):
    clean = healthy.signals[:4]
    noisy = spoil(clean, electrode_noise(kind, 4, seed=2), snr_db)
    signal, noise = (np.var(x.astype(float), axis=2).mean(1) for x in (clean, noisy - clean))
    assert 10 * np.log10(signal / noise) == pytest.approx(snr_db, abs=0.01)
    assert_limb_leads_agree(noisy)


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("baseline", 0, 1.5), ("electrode", 0.8, 8.5), ("muscle", 7.5, 250)]
)
def test_noise_keeps_to_its_band(kind, low, high):
    noise = electrode_noise(kind, 5, seed=1)
    power = np.abs(np.fft.rfft(noise, axis=2)) ** 2
    hz = np.fft.rfftfreq(noise.shape[2], 1 / 500)
    assert power[..., (hz >= low) & (hz <= high)].sum() > 0.98 * power.sum()


def test_neurokit_finds_the_r_peaks_and_the_end_of_t():
    neurokit2 = pytest.importorskip("neurokit2")
    made = people({}, 8, seed=9)
    noisy = spoil(made.signals, electrode_noise("muscle", 8, seed=9), 20)
    found, errors = [], []
    for i in range(8):
        lead = neurokit2.ecg_clean(noisy[i, 1], sampling_rate=FS_HZ)
        peaks = neurokit2.ecg_peaks(lead, sampling_rate=FS_HZ)[1]["ECG_R_Peaks"]
        beats = made.beats[(made.beats.recording == i) & made.beats.r_peak.between(0.3, 9.7)]
        found += list(np.abs(beats.r_peak.to_numpy()[:, None] - peaks / FS_HZ).min(1) < 0.05)
        waves = neurokit2.ecg_delineate(lead, peaks, sampling_rate=FS_HZ, method="dwt")[1]
        ends = np.array(waves["ECG_T_Offsets"], float) / FS_HZ
        gap = np.abs(beats.t_off.to_numpy()[:-1, None] - ends[np.isfinite(ends)])
        errors += list(gap.min(1))
    assert np.mean(found) >= 0.97
    assert np.median(errors) < 0.0181  # the delineator's own error on real beats


def test_normals_lie_where_real_normals_lie(physionet, healthy):
    """Amplitudes of 40 real recordings labelled normal and nothing else, at 100 Hz."""
    table = ptbxl_table(physionet / "ptb-xl").table
    plain = table[table.NORM & table.only_sinus_rhythm][:40]
    real = np.stack([in_standard_order(read(physionet / "ptb-xl" / file)) for file in plain.file])
    centred = [x - np.median(x, 2, keepdims=True) for x in (real, healthy.signals)]
    for quantile in (0.005, 0.995):
        medians = [np.median(np.quantile(x, quantile, axis=2), axis=0) for x in centred]
        assert np.abs(medians[0] - medians[1]).max() < 0.3
        assert np.corrcoef(*medians)[0, 1] > 0.95


def overlap(a, b):
    """Share that two distributions have in common: 12 bins over their joint 1-99 % range."""
    a, b = np.asarray(a.dropna(), float), np.asarray(b.dropna(), float)
    edges = np.linspace(*np.quantile(np.concatenate([a, b]), [0.01, 0.99]), 13)
    counts = (np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (a, b))
    return np.minimum(*counts).sum()


@pytest.fixture(scope="module")
def normals_beside_ptbxl(physionet):
    """Features of 200 simulated and of 200 real normals, denoised alike, at 500 Hz."""
    made, labels = cohort(450, fs_hz=FS_HZ, seed=12)
    table = ptbxl_table(physionet / "ptb-xl").table
    plain = table[table.statements.map(set) == {"NORM", "SR"}].drop_duplicates("patient")
    files = plain.file.sample(200, random_state=0)
    real = np.stack([in_standard_order(read(physionet / "ptb-xl" / file)) for file in files])
    simulated = made[(labels.statements.map(set) == {"NORM", "SR"}).to_numpy()][:200]
    return [features_of(denoise(x, FS_HZ), FS_HZ) for x in (simulated, real)]


@pytest.mark.parametrize("name", ["rate", "qrs", "qtc", "axis", "r I", "r V5", "s V2"])
def test_normals_spread_as_real_normals_do(name, normals_beside_ptbxl):
    assert overlap(*(features[name] for features in normals_beside_ptbxl)) >= 0.7


def test_normals_have_the_qt_that_cardiologists_marked_in_ludb(physionet):
    table = ludb_table(physionet / "ludb").table
    marked = ludb_qtc(physionet / "ludb", table[table.only_sinus_rhythm])
    fridericia = marked.qt_ms / np.cbrt(marked.rr_ms / 1000)
    assert overlap(fridericia, people({}, 400, seed=14).truth.qtc_ms) >= 0.5


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: simulate([{"LBBB": 0.5}]), "'LBBB'"),
        (lambda: simulate([{"LVH": 1.2}]), "LVH"),
        (lambda: simulate([{"LVH": float("nan")}]), "LVH"),
        (lambda: simulate([]), "patient"),
        (lambda: simulate([{}], fs_hz=50), "fs_hz"),
        (lambda: simulate([{}], seconds=1), "seconds"),
        (lambda: simulate([{}], heart_rate=900), "heart_rate"),
        (lambda: simulate([{}], qtc_ms=float("nan")), "qtc_ms"),
        (lambda: simulate([{}], seed=-1), "seed"),
        (lambda: simulate([{}] * 2, age=np.array([40.0, 3.0])), "age"),
        (lambda: cohort(0), "n_patients"),
        (lambda: electrode_noise("hum", 2), "hum"),
        (lambda: electrode_noise("mains", 2, fs_hz=100), "mains"),
    ],
)
def test_bad_parameters_are_refused(call, says):
    with pytest.raises(ConfigError, match=says) as caught:
        call()
    assert caught.value.expected


WHITE = np.random.default_rng(0).normal(size=(12, 100))


@pytest.mark.parametrize(
    ("signal", "noise"),
    [(WHITE * 0, WHITE), (WHITE * np.nan, WHITE), (WHITE, WHITE * 0), (WHITE, WHITE[:, :90])],
)
def test_noise_is_not_added_to_what_is_no_signal(signal, noise):
    with pytest.raises(SignalError):
        spoil(signal, noise, 6)


def test_callipers_refuse_beats_that_leave_no_room_for_t(healthy):
    onset = healthy.beats[healthy.beats.recording == 0].qrs_on.to_numpy()
    twice = np.sort(np.concatenate([onset, onset + 0.2]))  # each T taken for another beat
    with pytest.raises(SignalError, match="no room is left for a T wave"):
        measure_beat(healthy.signals[0], healthy.fs_hz, twice)
