"""The predict command's library side: real recordings, and everything it must refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.evaluation.predict import predict_files
from ecgnet_lib.network.checkpoint import save_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig

TINY = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.json"
    save_checkpoint(FoundationalECGNet(TINY), path, {"denoise": "gated", "triage_cuts": [0.2, 0.8]})
    return path


def write(folder: Path, name: str, fs_hz: int, seconds: float, leads=LEADS, flat=False) -> Path:
    import wfdb

    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.standard_normal((round(seconds * fs_hz), len(leads))), axis=0) * 0.01
    each = {"fmt": ["16"], "adc_gain": [1000.0], "baseline": [0], "units": ["mV"]}
    each = {name: value * len(leads) for name, value in each.items()}
    signal = signal * (not flat)
    wfdb.wrsamp(name, fs_hz, sig_name=list(leads), p_signal=signal, write_dir=str(folder), **each)
    return folder / f"{name}.hea"


def test_any_rate_and_length_is_answered_in_order(tmp_path: Path, weights: Path) -> None:
    files = [write(tmp_path, f"r{fs}", fs, s) for fs, s in ((100, 2.5), (257, 31), (1000, 10))]
    answers = predict_files(files, weights)
    assert [a["file"] for a in answers] == [str(f) for f in files]
    for answer in answers:
        assert set(answer) == {"file", "abnormal", "classes", "triage"}
        assert list(answer["classes"]) == list(DISEASES)
        assert 0 <= max(answer["classes"].values()) <= answer["abnormal"] <= 1
        assert answer["triage"] in ("low", "medium", "high")
    assert json.loads(json.dumps(answers)) == answers


def test_platt_parameters_of_the_checkpoint_are_applied(tmp_path: Path, weights: Path) -> None:
    file = write(tmp_path, "r", 100, 10)
    (raw,) = predict_files([file], weights)
    about = json.loads(weights.read_text())
    scaled = weights.with_name("scaled.json")
    fits = {"abnormal": [2.0, -1.0], "MI": [0.5, 0.25], "HYP": [1.0, 9.0]}
    cut = 1 / (1 + np.exp(1 - 2 * np.log(raw["abnormal"] / (1 - raw["abnormal"]))))
    scaled.write_text(json.dumps(about | {"platt": fits, "triage_cuts": [0.0, cut - 1e-6]}))
    scaled.with_suffix(".safetensors").write_bytes(weights.with_suffix(".safetensors").read_bytes())
    (got,) = predict_files([file], scaled)
    assert got["abnormal"] == pytest.approx(cut, abs=1e-9)
    assert got["triage"] == "high"  # the cuts meet the calibrated probability
    mi = raw["classes"]["MI"]
    want = 1 / (1 + np.exp(-0.25) * ((1 - mi) / mi) ** 0.5)
    assert got["classes"]["MI"] == pytest.approx(min(want, cut), abs=1e-9)
    assert got["classes"]["HYP"] == pytest.approx(got["abnormal"])  # joint: never above abnormal
    assert got["classes"]["CD"] == pytest.approx(min(raw["classes"]["CD"], cut), abs=1e-9)


def test_a_folder_gives_all_its_recordings(tmp_path: Path, weights: Path) -> None:
    files = [write(tmp_path, name, 100, 10) for name in ("b", "a")]
    answers = predict_files([tmp_path], weights)
    assert [a["file"] for a in answers] == sorted(str(f) for f in files)


def test_resampling_hardly_changes_the_answer(physionet: Path, weights: Path) -> None:
    folders = ("records100/00000/00001_lr", "records500/00000/00001_hr")
    pair = [physionet / f"ptb-xl/{file}.hea" for file in folders]
    low, high = predict_files(pair, weights)
    assert low["abnormal"] == pytest.approx(high["abnormal"], abs=0.02)


def test_refusals_say_why_and_leave_the_rest(tmp_path: Path, weights: Path) -> None:
    good = write(tmp_path, "good", 500, 10)
    (tmp_path / "empty").mkdir()
    lost = write(tmp_path, "lost", 500, 10)
    lost.with_suffix(".dat").unlink()
    cases = {
        write(tmp_path, "short", 500, 2): "2.5 s",
        write(tmp_path, "two", 360, 10, ("II", "V5")): "V1",
        write(tmp_path, "slow", 60, 10): "100 to 1000 Hz",
        write(tmp_path, "flat", 500, 10, flat=True): "flat",
        lost: "lost",
        tmp_path / "empty": "no recording",
        tmp_path / "nowhere.hea": "nowhere",
    }
    *refused, answered = predict_files([*cases, good], weights)
    assert answered["abnormal"] > 0
    for answer, (path, word) in zip(refused, cases.items(), strict=True):
        assert set(answer) == {"file", "refused"}, path
        assert word in answer["refused"], answer


def test_other_hospitals(physionet: Path) -> None:
    """The weights of record read LUDB and a Challenge recording."""
    challenge = next((physionet / "challenge-2021").rglob("JS*.hea"))
    answers = predict_files([physionet / "ludb/data/1.hea", challenge])
    assert all(0 <= a["abnormal"] <= 1 for a in answers)
