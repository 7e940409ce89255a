"""Data sets as pages load them: rows, signals and labels belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgnet_lib import datasets
from ecgnet_lib.datasets import dataset
from ecgnet_lib.datasets.records import in_standard_order, read, resample
from ecgnet_lib.denoising.apply import denoised, denoised_archive, middle_crops
from ecgnet_lib.errors import LabelError, SourceError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CACHE", tmp_path)


def test_row_and_signal_belong_together(physionet: Path) -> None:
    data = datasets.load("ptbxl-500")
    assert len(data.table) == len(data.signals) == 500
    assert data.table[["NORM", "CD"]].sum().tolist() == [297, 78]
    for i in (0, 123, 499):
        file = data.table["file"].iloc[i]
        recording = read(physionet / "ptb-xl" / f"{file}.hea")
        want = resample(in_standard_order(recording), recording.fs_hz, 100)
        np.testing.assert_allclose(data.signals.batch([i])[0], want, atol=0.00051)


def test_a_recording_that_cannot_be_read_is_listed_and_its_row_left_out(
    physionet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy" / "ludb" / "data"
    copy.mkdir(parents=True)
    for file in (f"{name}.{suffix}" for name in "123" for suffix in ("hea", "dat")):
        data = (physionet / "ludb" / "data" / file).read_bytes()
        (copy / file).write_bytes(data[:-100] if file == "2.dat" else data)
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path / "copy"))
    data = datasets.load("ludb")
    assert list(data.table.index) == ["ludb/1", "ludb/3"] == list(data.signals.table.index)
    [(name, reason)] = data.refused
    assert name == "ludb/2"
    assert str(tmp_path) not in reason


def test_without_data_or_network_patients_are_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGNET_DATA", raising=False)
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    monkeypatch.setattr("ecgnet_lib.datasets.sources.DATA", Path("nowhere"))
    data = datasets.load()
    assert data.name == "simulated"
    assert "SIMULATED" in data.note
    assert data.table.patient.nunique() == len(data.table) == 600
    assert denoised(data, "none").shape == (600, 12, 1000)
    middle = middle_crops(data, [3, 0], 2.5, "none")
    assert np.array_equal(middle, data.signals.batch([3, 0])[..., 375:625])
    row, name = data.example("MI")
    assert (data.table.MI.iloc[row], data.table.MI[:row].any()) == (True, False)
    assert name == data.table.index[row]
    nobody = replace(data, table=data.table.assign(MI=False))
    with pytest.raises(LabelError, match="no recording is labelled MI"):
        nobody.example("MI")
    assert datasets.load("simulated").manifest == data.manifest
    on_disk = denoised_archive(data, "butterworth")
    np.testing.assert_allclose(
        on_disk.batch(slice(None)), denoised(data, "butterworth"), atol=0.00051
    )
    assert on_disk.table.index.equals(data.signals.table.index)
    assert on_disk.folder == denoised_archive(data, "butterworth").folder
    assert on_disk.folder not in (data.signals.folder, denoised_archive(data, "none").folder)


@pytest.mark.parametrize("name", ["nstdb", "challenge-2021/georgia"])
def test_a_source_without_labels_is_refused(name: str) -> None:
    with pytest.raises(
        SourceError, match=f"'{name}' has no table of labels; expected one of .*ludb"
    ):
        datasets.load(name)


def test_a_dataset_says_what_it_is_and_warns_of_simulated_data() -> None:
    data = datasets.load("simulated")
    assert repr(data) == f"Simulated data. {data.note} No ECG of a real person was used."
    assert data._repr_html_().startswith('<div class="admonition warning">')
    real = replace(data, name="ptbxl", note="PTB-XL, <part>")
    assert repr(real) == "Data of this page. PTB-XL, <part>"
    assert real._repr_html_().endswith("<p>PTB-XL, &lt;part&gt;</p></div>")
