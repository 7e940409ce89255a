"""The machinery of the benches. No times are tested: only what is made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecgnet_lib import bench
from ecgnet_lib.bench import model, records


def test_a_row_is_the_median_with_its_range():
    row = bench.row("reader", [16.0, 40.0, 14.0], "times", at_least=15)
    assert (row.value, row.range, row.target, row.met) == (16.0, (14.0, 40.0), 15, True)
    assert bench.row("reader", [14.0, 40.0, 14.5], "times", at_least=15).met is False
    assert bench.row("reader", [14.0], "us").met is None
    small = [bench.row("size", [3.0, 9.0, 4.0], "MB", at_most=limit) for limit in (4, 3.9)]
    assert [(one.target, one.met) for one in small] == [(4, True), (3.9, False)]


def test_peers_take_turns(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(bench.time, "process_time", lambda: clock[0])

    def peer(name, seconds):
        def call():
            order.append(name)
            clock[0] += seconds

        return call

    peers = {"slow": peer("slow", 0.5), "fast": peer("fast", 0.125)}
    taken = bench.interleaved(peers, rounds=3, seconds=0.5)
    assert taken == {"slow": [0.5] * 3, "fast": [0.125] * 3}
    assert order[4:] == (["slow"] + ["fast"] * 4) * 3  # after two calls each to warm up
    assert bench.ratios(taken, "slow", "fast") == [4.0] * 3


def test_written_rows_have_exactly_the_agreed_keys(tmp_path):
    rows = [bench.row("a", [2.0], "times", 1), bench.row("b", [3.0], "us")]
    bench.write(rows, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {"name": "a", "value": 2.0, "unit": "times", "target": 1, "met": True},
        {"name": "b", "value": 3.0, "unit": "us", "target": None, "met": None},
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.json"]


def test_numpys_numbers_and_truths_are_written(tmp_path):
    row = bench.Row("a", np.float32(0.5), "dB", np.int64(1), np.bool_(False), (0.0, 1.0))
    bench.write([row], tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {"name": "a", "value": 0.5, "unit": "dB", "target": 1.0, "met": False}
    ]


def test_an_interrupted_write_keeps_the_old_rows(tmp_path):
    bench.write([bench.row("a", [2.0], "times")], tmp_path / "rows.json")
    before = (tmp_path / "rows.json").read_text()
    with pytest.raises(TypeError):
        bench.write([bench.row("a", [2.0], object())], tmp_path / "rows.json")
    assert (tmp_path / "rows.json").read_text() == before


def test_the_table_says_what_was_missed():
    text = bench.table([bench.row("a", [2.0], "times", 3), bench.row("bcd", [5.0], "us")])
    assert "MISSED" in text.splitlines()[0] and "target" not in text.splitlines()[1]


@pytest.mark.parametrize("data", ["real", "none"])
def test_records_bench(monkeypatch, request, tmp_path, data):
    if data == "none":
        monkeypatch.delenv("ECGNET_DATA", raising=False)
    else:
        request.getfixturevalue("physionet")
    seconds = {"rdsamp": 3.0, "reader": 0.1, "archive": 0.006}

    def once(peers):
        results = {name: call() for name, call in peers.items()}
        assert results["archive"].shape[:2] == (3, 12)
        return {name: [seconds[name]] * 2 for name in peers}

    monkeypatch.setattr(records, "COUNT", 3)
    monkeypatch.setattr(records, "interleaved", once)
    rows = {row.name: row for row in records.run()}
    for size in ("12x1000", "12x5000"):
        assert (rows[f"reader {size}"].value, rows[f"reader {size}"].target) == (30.0, 15.0)
        assert rows[f"archive {size}"].value == pytest.approx(500)
        assert rows[f"rdsamp {size}, CPU time per recording"].value == pytest.approx(1e6)
    assert rows["archive 12x1000"].target == 300.0 and rows["archive 12x1000"].met


def test_model_bench(monkeypatch):
    """Each call runs once on little; the times are given, so the ratios and targets are known."""
    seconds = {
        **{"ours 1000": 1.0, "xresnet1d101 1000": 2.5, "resnet1d_wang 1000": 1.5},
        **{"ours 250": 0.25, "xresnet1d101 250": 0.75, "resnet1d_wang 250": 0.5},
        **{"ours": 0.01, "xresnet1d101": 0.04, "resnet1d_wang": 0.02},
        **{"torch-geometric": 0.02, "ours, crops": 0.02, "usual": 0.07},
    }

    def once(peers, rounds=9):
        for call in peers.values():
            call()
        return {name: [seconds[name]] * 2 for name in peers}

    monkeypatch.setattr(model, "interleaved", once)
    monkeypatch.setattr(model, "BATCH", 2)
    monkeypatch.setattr(model, "GRAPHS", 3)
    rows = {row.name: (row.value, row.target, row.met) for row in model.run()}
    assert rows["training, 12x1000, times xresnet1d101"] == (2.5, 2, True)
    assert rows["training, 12x1000, times resnet1d_wang"] == (1.5, 2, False)
    assert rows["training, 12x250, times resnet1d_wang"] == (2.0, 2, True)
    assert rows["training on 2.5 s crops, times xresnet1d101 on 10 s"] == (10, 5, True)
    assert rows["training, 12x250, per CPU second: ours"] == (8, None, None)
    assert rows["latency, xresnet1d101 over ours"] == (4, 3, True)
    assert rows["parameters (at most): ours, with the rhythm branch"][1] == 650_000
    assert rows["parameters: xresnet1d101"] == (1_872_390, None, None)
    for edges in (44, 144):
        name = f"GATv2, 8,000 graphs of {edges} edges, times torch-geometric"
        assert rows[name] == (2, 3, False)
    name = "read, denoise, infer: times wfdb, neurokit2 and xresnet1d101"
    assert rows[name] == (pytest.approx(7), 6.5, True)
    assert rows[f"{name}, crops averaged"] == (pytest.approx(3.5), None, None)
