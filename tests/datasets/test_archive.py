"""The archive: equal to the reader, keyed by content, and never half written."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets.test_records import write as write_recording

from ecgnet_lib.datasets import archive as module
from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.datasets.records import crop_or_pad, find, in_standard_order, read, resample
from ecgnet_lib.errors import RecordingError


def write(
    folder: Path, name: str, seed: int, *, samples: int = 5000, scale: float = 1.0, **header
) -> Path:
    """A slow random walk at 500 Hz; header: gain and baseline, see `write_recording`."""
    steps = np.random.default_rng(seed).normal(0, 15, (12, samples))
    digital = np.clip(np.rint(scale * np.cumsum(steps, axis=1)), -32000, 32000).astype("<i2")
    folder.mkdir(exist_ok=True)
    return write_recording(folder, name, digital, **header)


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    return {f"src/{i:05d}": write(tmp_path / "src", f"{i:05d}", i) for i in range(6)}


def folders(cache: Path) -> list[str]:
    return sorted(entry.name for entry in cache.iterdir() if entry.is_dir())


def test_at_its_own_rate_a_recording_comes_back_to_the_last_bit(tmp_path):
    files = {
        "plain": write(tmp_path / "a", "1", 1),
        "ludb-like": write(tmp_path / "a", "2", 2, gain="1717.5(-7)/mV"),
        "coarse": write(tmp_path / "a", "3", 3, gain="200/mV"),
    }
    header = files["ludb-like"]  # leads differ in gain
    header.write_text(header.read_text().replace("1717.5", "700", 1))
    archive = Archive.of(files, 500, tmp_path / "cache")
    for i, file in enumerate(files.values()):
        np.testing.assert_array_equal(archive.batch([i])[0], in_standard_order(read(file)))
    np.testing.assert_array_equal(
        archive.batch([0, 2])[1], in_standard_order(read(files["coarse"]))
    )
    assert archive.signals.dtype == np.int16 and archive.gains[1].tolist() == [700] + 11 * [1717.5]


def test_real_recordings_come_back_to_the_last_bit(physionet, tmp_path):
    files = {file.stem: file for file in find(physionet / "ludb")[:20]}
    files |= {file.stem: file for file in find(physionet / "ptb-xl/records500/00000")[:20]}
    archive = Archive.of(files, 500, tmp_path)
    wanted = np.stack([in_standard_order(read(file)) for file in files.values()])
    np.testing.assert_array_equal(archive.batch(slice(None)), wanted)
    assert archive.refused == []


def test_at_another_rate_it_is_resampled_and_rounded_to_1_uv(files, tmp_path):
    archive = Archive.of(files, 100, tmp_path / "cache")
    wanted = np.stack(
        [resample(in_standard_order(read(file)), 500, 100) for file in files.values()]
    )
    got = archive.batch(range(6))
    assert got.shape == (6, 12, 1000) and got.dtype == np.float32
    assert np.abs(got - wanted).max() <= 0.0005 + 1e-6
    np.testing.assert_array_equal(got, np.float32(np.rint(wanted * 1000) / 1000.0))
    assert (archive.fs_hz, len(archive), list(archive.table.index)) == (100, 6, list(files))
    assert (archive.table.fs_hz == 500).all() and (archive.table.seconds == 10).all()


def test_length_is_fixed(tmp_path):
    files = {
        "long": write(tmp_path / "a", "1", 1, samples=7000),
        "short": write(tmp_path / "a", "2", 2, samples=3000),
    }
    archive = Archive.of(files, 500, tmp_path / "cache")
    long, short = (in_standard_order(read(file)) for file in files.values())
    np.testing.assert_array_equal(archive.batch([0])[0], long[:, 1000:6000])
    np.testing.assert_array_equal(archive.batch([1])[0, :, 1000:4000], short)
    assert not archive.batch([1])[0, :, :1000].any() and not archive.batch([1])[0, :, 4000:].any()
    assert archive.table.seconds.tolist() == [14.0, 6.0]
    two = Archive.of(files, 500, tmp_path / "cache", seconds=2)
    np.testing.assert_array_equal(two.batch([0])[0], crop_or_pad(long, 1000))


def test_beyond_the_range_it_is_clipped(tmp_path):
    files = {"huge": write(tmp_path / "a", "1", 1, gain="100/mV", scale=9.0)}
    signal = in_standard_order(read(files["huge"]))
    own = Archive.of(files, 500, tmp_path / "cache")
    np.testing.assert_array_equal(own.batch([0])[0], signal)  # its own gain holds it
    low = Archive.of(files, 100, tmp_path / "cache")
    wanted = resample(signal, 500, 100)
    assert (np.abs(wanted) > 32.7675).sum() > 100
    np.testing.assert_allclose(low.batch([0])[0], np.clip(wanted, -32.767, 32.767), atol=6e-4)


def test_a_baseline_far_from_zero_falls_back_to_1_uv(tmp_path):
    files = {"far": write(tmp_path / "a", "1", 1, gain="4000(-66000)/mV")}
    archive = Archive.of(files, 500, tmp_path / "cache")
    assert set(archive.gains.ravel()) == {1000.0}
    assert (
        np.abs(archive.batch([0])[0] - in_standard_order(read(files["far"]))).max() <= 0.0005 + 3e-6
    )


def test_problems_stand_in_the_table(files, tmp_path):
    flat = write(tmp_path / "src", "flat", 0, scale=0.0)
    archive = Archive.of({**files, "flat": flat}, 100, tmp_path / "cache")
    assert archive.table.problems["flat"].startswith("I is flat; II is flat; ")
    assert archive.table.problems["src/00000"] == ""


def test_batch_takes_any_order_and_gives_a_copy(files, tmp_path):
    archive = Archive.of(files, 100, tmp_path / "cache")
    every = archive.batch(range(6))
    np.testing.assert_array_equal(archive.batch([4, 0, 4, -1]), every[[4, 0, 4, 5]])
    np.testing.assert_array_equal(archive.batch(np.arange(6) % 2 == 1), every[1::2])
    assert archive.batch([]).shape == (0, 12, 1000)
    archive.batch([0])[:] = 9.0
    np.testing.assert_array_equal(archive.batch([0]), every[:1])


def test_it_is_made_once(files, tmp_path, monkeypatch):
    first = Archive.of(files, 100, tmp_path / "cache")
    monkeypatch.setattr(module, "tempfile", None)
    again = Archive.of(files, 100, tmp_path / "cache")
    assert again.folder == first.folder and folders(tmp_path / "cache") == [first.folder.name]
    np.testing.assert_array_equal(again.batch(range(6)), first.batch(range(6)))
    shutil.move(tmp_path / "src", tmp_path / "elsewhere")
    moved = {name: tmp_path / "elsewhere" / file.name for name, file in files.items()}
    assert Archive.of(moved, 100, tmp_path / "cache").folder == first.folder


def test_a_changed_recording_gives_another_archive(files, tmp_path):
    first = Archive.of(files, 100, tmp_path / "cache")
    write(tmp_path / "src", "00003", 99)  # of the same size
    second = Archive.of(files, 100, tmp_path / "cache")
    assert second.manifest != first.manifest and second.folder != first.folder
    assert not np.array_equal(second.batch([3]), first.batch([3]))
    np.testing.assert_array_equal(second.batch([2]), first.batch([2]))


def test_the_manifest_is_that_of_names_headers_and_signals(files, tmp_path):
    rows = ""
    for name, file in files.items():
        parts = [file.read_bytes(), file.with_suffix(".dat").read_bytes()]
        content = b"".join(f"{len(part)}:".encode() + part for part in parts)
        rows += f"{name} {hashlib.sha256(content).hexdigest()}\n"
    wanted = hashlib.sha256(rows.encode()).hexdigest()
    assert Archive.of(files, 100, tmp_path / "cache").manifest == wanted


def test_rate_length_names_and_order_are_part_of_the_key(files, tmp_path):
    cache, some = tmp_path / "cache", dict(list(files.items())[:2])
    keys = {
        Archive.of(some, 100, cache).folder,
        Archive.of(some, 250, cache).folder,
        Archive.of(some, 100, cache, seconds=5).folder,
        Archive.of(dict(reversed(some.items())), 100, cache).folder,
        Archive.of({f"x{name}": file for name, file in some.items()}, 100, cache).folder,
    }
    assert len(keys) == 5


def test_refusals_are_listed_and_taken_in_once_they_can_be_read(files, tmp_path, monkeypatch):
    data = files["src/00001"].with_suffix(".dat")
    whole = data.read_bytes()
    data.write_bytes(b"")
    files["src/gone"] = tmp_path / "gone"
    for _ in range(2):
        archive = Archive.of(files, 100, tmp_path / "cache")
        assert list(archive.table.index) == [f"src/0000{i}" for i in (0, 2, 3, 4, 5)]
        assert [one.name for one in archive.refused] == ["src/00001", "src/gone"]
        assert "cut short" in archive.refused[0].reason
        assert archive.signals.shape == (5, 12, 1000)
        monkeypatch.setattr(module, "tempfile", None)  # not built again
    monkeypatch.undo()
    data.write_bytes(whole)
    archive = Archive.of(files, 100, tmp_path / "cache")
    assert len(archive) == 6 and [one.name for one in archive.refused] == ["src/gone"]


def test_nothing_left(files, tmp_path):
    with pytest.raises(RecordingError, match=r"no recording is left .* cannot be read"):
        Archive.of({"a": tmp_path / "a"}, 100, tmp_path / "cache")
    with pytest.raises(RecordingError, match=r"no recording is left .* none named"):
        Archive.of({}, 100, tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_an_interrupted_build_leaves_nothing_behind(files, tmp_path, monkeypatch):
    real, calls = module.resample, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, "resample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Archive.of(files, 100, tmp_path / "cache")
    assert folders(tmp_path / "cache") == []
    assert len(Archive.of(files, 100, tmp_path / "cache")) == 6


def test_two_builders_at_once(files, tmp_path, monkeypatch):
    real = module.resample
    other = Archive.of(files, 100, tmp_path / "other")

    def meanwhile(*args):
        target = tmp_path / "cache" / other.folder.name
        shutil.copytree(other.folder, target, dirs_exist_ok=True)
        return real(*args)

    monkeypatch.setattr(module, "resample", meanwhile)
    archive = Archive.of(files, 100, tmp_path / "cache")
    assert len(archive) == 6 and folders(tmp_path / "cache") == [archive.folder.name]


@pytest.mark.parametrize("name", ["signals.i16", "archive.json"])
@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_a_damaged_archive_is_refused(files, tmp_path, name, damage):
    folder = Archive.of(files, 100, tmp_path / "cache").folder
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "cut":
        (folder / name).write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(RecordingError, match="the archive is damaged") as caught:
        Archive.of(files, 100, tmp_path / "cache")
    assert "delete this folder" in caught.value.remedy


def test_signals_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    signals = {f"{i:05d}": rng.normal(0, 1, (12, 1000)).astype(np.float32) for i in range(5)}
    archive = Archive.of_signals(signals, 100, tmp_path)
    assert list(archive.table.index) == list(signals)
    got = archive.batch(range(5))
    assert np.abs(got - np.stack(list(signals.values()))).max() <= 0.0005 + 1e-6
    assert Archive.of_signals(signals, 100, tmp_path).folder == archive.folder
    assert Archive.open(archive.folder).manifest == archive.manifest
    signals["00002"] = signals["00002"] + np.float32(1e-3)
    assert Archive.of_signals(signals, 100, tmp_path).folder != archive.folder
