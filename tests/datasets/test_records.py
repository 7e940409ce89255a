"""The reader against wfdb, and against every way in which a recording can be broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgnet_lib.datasets.records import (
    LEADS,
    crop_or_pad,
    find,
    in_standard_order,
    problems,
    read,
    read_many,
    resample,
)
from ecgnet_lib.errors import RecordingError, SignalError

DIGITAL = np.random.default_rng(5).integers(-3000, 3000, (12, 2000)).astype(np.int16)


def write(
    folder: Path,
    name: str = "rec",
    digital: np.ndarray = DIGITAL,
    *,
    leads: tuple[str, ...] = LEADS,
    gain: str = "1000.0(0)/mV",
    kind: str = "16",
    suffix: str = "dat",
    first: str = "{name} {leads} 500 {samples}",
    sums: str = "{initial} {checksum} 0 {lead}",
    encoding: str = "ascii",
) -> Path:
    """A WFDB recording, every field of its header under the test's control."""
    rows = [first.format(name=name, leads=len(leads), samples=digital.shape[1])]
    for lead, x in zip(leads, digital, strict=True):
        checksum = int(x.sum(dtype=np.int64)) % 65536
        end = sums.format(initial=x[0], checksum=checksum, lead=lead)
        rows.append(f"{name}.{suffix} {kind} {gain} 16 0 {end}".rstrip())
    (folder / f"{name}.hea").write_bytes("\n".join([*rows, "#Age: 60", ""]).encode(encoding))
    offset = int(kind.partition("+")[2] or 0)
    (folder / f"{name}.{suffix}").write_bytes(bytes(offset) + digital.T.astype("<i2").tobytes())
    return folder / f"{name}.hea"


def edit(header: Path, old: str, new: str) -> Path:
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    return header


def by_wfdb(header: Path) -> np.ndarray:
    return wfdb.rdsamp(str(header)[:-4])[0].T


def same(header: Path) -> bool:
    recording, (signal, facts) = read(header), wfdb.rdsamp(str(header)[:-4])
    named = [lead.lower() for lead in facts["sig_name"]]
    assert [lead.lower() for lead in recording.leads] == named
    assert (recording.fs_hz, list(recording.comments)) == (facts["fs"], facts["comments"])
    assert recording.signal.dtype == np.float32
    return np.array_equal(recording.signal, signal.T.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("source", "at_least"),
    [
        ("ptb-xl/records100", 500),
        ("ptb-xl/records500", 500),
        ("ludb", 200),
        ("challenge-2021", 109),
        ("mitdb", 1),
    ],
)
def test_every_recording_equals_wfdb_to_the_last_bit(physionet, source, at_least):
    headers = find(physionet / source)
    assert len(headers) >= at_least
    assert [header.name for header in headers if not same(header)] == []


def test_flat_leads_are_the_known_ones(physionet):
    recordings = [read(header) for header in find(physionet / "challenge-2021")]
    known = {"JS11438": 6, "JS45542": 6, "JS45544": 5, "JS20004": 3, "JS20008": 3, "JS45551": 3}
    flat = {one.name: len(one.problems) for one in recordings if one.problems}
    assert flat == known


def test_resampled_follows_the_official_100_hz(physionet):
    # The official version takes its samples one 500 Hz sample later than ours.
    for number in ("00001", "00123", "00400"):
        low = read(physionet / "ptb-xl/records100/00000" / f"{number}_lr").signal
        high = read(physionet / "ptb-xl/records500/00000" / f"{number}_hr").signal
        ours = resample(np.roll(high, -1, axis=1), 500, 100)
        assert ours.shape == low.shape
        assert np.corrcoef(ours[:, 5:-20].ravel(), low[:, 5:-20].ravel())[0, 1] > 0.997


@pytest.mark.parametrize(("kind", "suffix"), [("16", "dat"), ("16+24", "mat"), ("16+7", "dat")])
def test_integers_become_millivolts(tmp_path, kind, suffix):
    recording = read(write(tmp_path, kind=kind, suffix=suffix))
    np.testing.assert_array_equal(recording.signal, np.float32(DIGITAL / 1000.0))
    assert recording.signal.flags.c_contiguous and recording.signal.flags.writeable
    assert (recording.name, recording.fs_hz, recording.leads) == ("rec", 500, LEADS)
    assert recording.comments == ("Age: 60",) and recording.gain == (1000.0,) * 12


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_any_of_its_files_names_a_recording(tmp_path, suffix):
    write(tmp_path, "00001.v2")
    assert read(f"{tmp_path}/00001.v2{suffix}").name == "00001.v2"


@pytest.mark.parametrize("gain", ["1716(6)/mV", "1000.1(-7)/mV", "-250", "4e2(12)/mV", "200/mv"])
def test_gain_and_baseline_as_wfdb_has_them(tmp_path, gain):
    header = write(tmp_path, gain=gain)
    np.testing.assert_array_equal(read(header).signal, by_wfdb(header).astype(np.float32))


def test_baseline_defaults_to_the_adc_zero(tmp_path):
    header = edit(write(tmp_path, gain="1000/mV"), "mV 16 0 ", "mV 16 37 ")
    np.testing.assert_array_equal(read(header).signal, np.float32((DIGITAL - 37) / 1000.0))


@pytest.mark.parametrize(
    ("unit", "encoding", "mv"),
    [
        ("uV", "ascii", 1e-3),
        ("\N{MICRO SIGN}V", "utf-8", 1e-3),
        ("\N{MICRO SIGN}V", "latin-1", 1e-3),
        ("\u03bcV", "utf-8", 1e-3),
        ("V", "ascii", 1e3),
        ("mv", "ascii", 1.0),
    ],
)
def test_units(tmp_path, unit, encoding, mv):
    recording = read(write(tmp_path, gain=f"4/{unit}", encoding=encoding))
    np.testing.assert_array_equal(recording.signal, np.float32(DIGITAL / 4 * mv))
    np.testing.assert_allclose(recording.gain, 4 / mv)


def test_a_mark_of_a_missing_sample_is_nan_as_in_wfdb(tmp_path):
    digital = DIGITAL.copy()
    digital[2, 100:110] = -32768
    header = write(tmp_path, digital=digital)
    recording = read(header)
    np.testing.assert_array_equal(recording.signal, by_wfdb(header).astype(np.float32))
    assert np.isnan(recording.signal).sum() == 10
    assert recording.problems == ("III misses 10 of 2000 samples",)
    with pytest.raises(RecordingError, match="10 missing in III"):
        in_standard_order(recording)


@pytest.mark.parametrize("end", ["{initial}", "", "{initial} {checksum}"])
def test_fields_may_be_left_out_from_the_right(tmp_path, end):
    recording = read(write(tmp_path, sums=end))
    np.testing.assert_array_equal(recording.signal, np.float32(DIGITAL / 1000.0))
    with pytest.raises(RecordingError, match="12 of the 12 leads are missing"):
        in_standard_order(recording)


def test_a_checksum_may_be_signed(tmp_path):
    header = write(tmp_path)
    for x in DIGITAL:
        unsigned = int(x.sum()) % 65536
        if unsigned >= 32768:
            edit(header, f" {unsigned} 0 ", f" {unsigned - 65536} 0 ")
    assert "-" in header.read_text() and read(header).name == "rec"


@pytest.mark.parametrize("fmt", ["212", "16", "24", "80"])
def test_other_formats_go_through_wfdb(tmp_path, fmt):
    digital = np.random.default_rng(1).integers(-100, 100, (500, 3))
    wfdb.wrsamp(
        "other",
        fs=360,
        units=["mV", "uV", "V"],
        sig_name=["II", "V1", "MCL"],
        d_signal=digital,
        fmt=[fmt, "16", fmt],  # two signal files: format 16, yet not one block
        adc_gain=[200.0, 3.0, 1e4],
        baseline=[5, 0, -2],
        write_dir=str(tmp_path),
    )
    recording = read(tmp_path / "other")
    assert recording.leads == ("II", "V1", "MCL")
    mv = by_wfdb(tmp_path / "other.hea") * np.array([[1], [1e-3], [1e3]])
    np.testing.assert_array_equal(recording.signal, mv.astype(np.float32))
    edit(tmp_path / "other.hea", f" {int(digital[:, 0].sum()) % 65536} ", " 77 ")
    with pytest.raises(RecordingError, match=r"checksum of lead II .* expected 77"):
        read(tmp_path / "other")


def test_length_may_be_left_to_the_file(tmp_path):
    recording = read(write(tmp_path, first="{name} {leads} 500"))
    np.testing.assert_array_equal(recording.signal, np.float32(DIGITAL / 1000.0))


def spoiled(header: Path, data: bytes | None, suffix: str = ".dat") -> Path:
    """The recording with other bytes in a file, or without it."""
    file = header.with_suffix(suffix)
    file.unlink() if data is None else file.write_bytes(data)
    return header


def flipped(header: Path) -> Path:
    data = bytearray(header.with_suffix(".dat").read_bytes())
    data[2 * (12 * 50 + 6)] ^= 1  # lead V1
    return spoiled(header, bytes(data))


BROKEN = {
    "no signal file": (lambda h: spoiled(h, None), r"rec\.dat: the signal file cannot be read"),
    "no header": (lambda h: spoiled(h, None, ".hea"), r"rec\.hea: the header cannot be read"),
    "cut short": (
        lambda h: spoiled(h, bytes(47999)),
        "cut short; expected 48000 bytes .* found 47999 bytes",
    ),
    "empty signal file": (lambda h: spoiled(h, b""), "cut short; .* found 0 bytes"),
    "empty header": (lambda h: spoiled(h, b"", ".hea"), "the header is empty"),
    "checksum": (flipped, "checksum of lead V1 does not match"),
    "unknown unit": (lambda h: edit(h, "/mV", "/mmHg"), "unknown unit; expected uV, .* found mmHg"),
    "no gain": (lambda h: edit(h, "1000.0(0)/mV", "0"), "not calibrated"),
    "rate 0": (lambda h: edit(h, " 500 ", " 0 "), "sampling rate; .* found 0 Hz"),
    "rate absurd": (lambda h: edit(h, " 500 ", " 5e9 "), "sampling rate"),
    "rate not a number": (lambda h: edit(h, " 500 ", " nan "), "sampling rate"),
    "rate a word": (lambda h: edit(h, " 500 ", " fast "), "cannot be understood"),
    "no leads": (lambda h: edit(h, "rec 12 ", "rec 0 "), "does not list what it announces"),
    "a lead line lost": (lambda h: edit(h, "rec 12 ", "rec 13 "), "expected 13 leads"),
    "segments": (lambda h: edit(h, "rec 12 ", "rec/3 12 "), "one segment"),
    "a bare record line": (lambda h: edit(h, " 12 500 2000", ""), "record line"),
    "signals elsewhere": (lambda h: edit(h, "rec.dat", "../rec.dat"), "beside its header"),
    "more than a file can hold": (lambda h: edit(h, " 2000", f" {10**15}"), "cut short"),
    "format unknown": (lambda h: edit(h, " 16 1000", " 17 1000"), "wfdb cannot read"),
    "several per frame": (lambda h: edit(h, " 16 1000", " 16x2 1000"), "wfdb cannot read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_recording_says_what_where_and_what_to_do(tmp_path, case):
    spoil, message = BROKEN[case]
    path = spoil(write(tmp_path))
    with pytest.raises(RecordingError, match=message) as caught:
        read(path)
    error = caught.value
    assert str(tmp_path) in str(error.file) and str(error.file) in str(error)
    assert error.remedy and f"To fix: {error.remedy}" in str(error)
    assert error.found is not None


def test_no_damaged_header_gives_a_bare_error(tmp_path):
    header = write(tmp_path)
    text, rng = header.read_bytes(), np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(600):
        damaged = bytearray(text)
        for place in rng.integers(0, len(text), rng.integers(1, 4)):
            damaged[place] = rng.choice(list(b"\0 /()+-x:.09e#~\n\xff"))
        header.write_bytes(bytes(damaged))
        try:
            read(header)
            outcomes["read"] += 1
        except RecordingError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_leads_are_put_in_order_and_spelled_alike(tmp_path):
    order = np.random.default_rng(3).permutation(12)
    leads = ("vx", *(LEADS[i].upper() for i in order))  # a further lead is left out
    recording = read(write(tmp_path, digital=DIGITAL[[0, *order]], leads=leads))
    np.testing.assert_array_equal(in_standard_order(recording), np.float32(DIGITAL / 1000.0))


def test_missing_leads_are_named(tmp_path):
    recording = read(write(tmp_path, digital=DIGITAL[:10], leads=LEADS[:10]))
    with pytest.raises(RecordingError, match=r"2 of the 12 leads are missing: V5, V6;"):
        in_standard_order(recording)


def test_a_name_that_occurs_twice(tmp_path):
    recording = read(write(tmp_path, digital=DIGITAL[[*range(12), 0]], leads=(*LEADS, "I")))
    with pytest.raises(RecordingError, match=r"same name; found I\."):
        in_standard_order(recording)


def test_too_short(tmp_path):
    with pytest.raises(RecordingError, match=r"too short; expected at least 2.5 s; found 2.00 s"):
        in_standard_order(read(write(tmp_path, digital=DIGITAL[:, :1000])))
    assert in_standard_order(read(write(tmp_path, digital=DIGITAL[:, :1250]))).shape == (12, 1250)


def test_problems_name_flat_and_saturated_leads():
    t = np.arange(5000) / 500
    signal = np.tile(np.float32(2 * np.sin(2 * np.pi * t)), (12, 1))
    assert problems(signal, 500) == ()
    signal[3] = 0.25
    signal[7] = np.minimum(signal[7], 1.5)
    signal[8] = np.maximum(signal[8], -1.5)
    expected = ("aVR is flat", "V2 is saturated at 1.500 mV", "V3 is saturated at -1.500 mV")
    assert problems(signal, 500) == expected
    # The last value held once for a third of a second, and a small plateau, are normal.
    signal[3], signal[7:9] = signal[0], signal[0]
    signal[5, 4850:] = 3.0
    signal[6] = np.minimum(0.3 * signal[6], 0.5)
    assert problems(signal, 500) == ()
    signal[5, 4500:] = 3.0
    assert problems(signal, 500) == ("aVF is saturated at 3.000 mV",)


@pytest.mark.parametrize("fs_hz", [250, 257, 360, 500, 1000])
def test_resample_keeps_a_sine(fs_hz):
    x = np.float32(np.sin(2 * np.pi * 5 * np.arange(10 * fs_hz) / fs_hz + 0.3))
    y = resample(np.tile(x, (12, 1)), fs_hz, 100)
    assert y.shape == (12, 1000) and y.dtype == np.float32
    wanted = np.sin(2 * np.pi * 5 * np.arange(1000) / 100 + 0.3)
    assert np.abs(y - wanted)[:, 20:-20].max() < 5e-3


def test_resample_removes_what_100_hz_cannot_hold_and_keeps_the_ends():
    t = np.arange(5000) / 500
    alias = np.float32(np.sin(2 * np.pi * 90 * t))
    assert np.abs(resample(alias, 500, 100)[20:-20]).max() < 0.01
    np.testing.assert_allclose(resample(np.full((12, 5000), 1.5), 500, 100), 1.5, atol=2e-3)


def test_resample_refuses():
    with pytest.raises(SignalError, match="missing samples"):
        resample(np.full((12, 100), np.nan), 500, 100)


def test_crop_or_pad_takes_the_middle_or_pads_both_sides():
    x = np.arange(7)[None]
    assert crop_or_pad(x, 7).tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert crop_or_pad(x, 4).tolist() == [[1, 2, 3, 4]]
    assert crop_or_pad(x + 1, 10).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 0, 0]]


def test_a_bad_one_is_set_aside_and_listed(tmp_path):
    good = [write(tmp_path, name) for name in ("a", "c")]
    bad = flipped(write(tmp_path, "b"))
    gone = tmp_path / "d.hea"  # a row of metadata without its file
    recordings, refused = read_many({"x/a": good[0], "x/b": bad, "x/c": good[1], "x/d": gone})
    assert [one.name for one in recordings] == ["x/a", "x/c"]
    assert [one.name for one in refused] == ["x/b", "x/d"]
    assert "checksum of lead V1" in refused[0].reason and "take its row out" in refused[1].reason


def test_a_refusal_of_what_follows_counts(tmp_path):
    files = {"short": write(tmp_path, "short", DIGITAL[:, :100]), "rec": write(tmp_path)}
    kept, refused = read_many(files, in_standard_order)
    assert [one.shape for one in kept] == [(12, 2000)] and refused[0].name == "short"
    assert "too short" in refused[0].reason
    with pytest.raises(ZeroDivisionError):  # a mistake of the program is not a bad recording
        read_many(files, lambda recording: 1 / 0)


def test_find(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    one, two = write(tmp_path / "deep" / "er"), write(tmp_path, "zz")
    assert find(tmp_path, two) == [one, two, two]
    (tmp_path / "void").mkdir()
    with pytest.raises(RecordingError, match="void: no recording in this folder"):
        find(tmp_path / "void")
