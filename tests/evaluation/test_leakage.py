"""The leakage lab: each protocol leaks exactly what its name says, and the audit sees it or not."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier

from ecgnet_lib.datasets.labels import CLASSES, DISEASES
from ecgnet_lib.datasets.splits import Split, audit
from ecgnet_lib.errors import SplitError
from ecgnet_lib.evaluation import leakage, methods, results
from ecgnet_lib.evaluation.leakage import NAMES, PROTOCOLS, SCORES, Protocol
from ecgnet_lib.evaluation.methods import evaluate_run
from ecgnet_lib.evaluation.results import load_predictions, load_result
from ecgnet_lib.experiments import common
from ecgnet_lib.figures.scores import f1_by_protocol
from ecgnet_lib.press.recompute import check_predictions

# its package offers the function of the same name
experiment = importlib.import_module("ecgnet_lib.experiments.leakage")
FS_HZ = 100
SOUND = ["patient", "over-sampled after the split", "overlapping windows, by patient"]
OTHERWISE = ["normalised with the test set", "threshold from the test set"]  # audit cannot see
SEEN = ["record", "windows", "overlapping windows", "over-sampled before the split"]


def recordings(n: int = 120, seed: int = 0, rare: float = 0.25) -> pd.DataFrame:
    """Return a table of n recordings of 0.75 n patients; labels are chance, half are abnormal."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(False, index=[f"x/{i:03d}" for i in range(n)], columns=list(CLASSES))
    sick = rng.permutation(n) < n // 2
    for name in ("ARR", "CD", "MI", "HYP"):
        table[name] = sick & (rng.random(n) < 2 * rare)
    table["NORM"] = ~sick
    table["abnormal"] = pd.array(sick, dtype="boolean")
    table["other"] = sick & ~table[list(DISEASES)].any(axis=1)
    table["patient"] = [f"p{i % round(0.75 * n)}" for i in range(n)]
    return table.assign(source="x", only_sinus_rhythm=False).rename_axis("recording")


def assigned(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, Split]:
    windows = leakage.make_windows(table, PROTOCOLS[name])
    return windows, leakage.assign_windows(windows, PROTOCOLS[name])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_unsound_protocol_changes_one_thing(name: str) -> None:
    """Against `patient`, or against the sound protocol with the same windows and copies."""
    mine, plain = PROTOCOLS[name], Protocol("")
    fields = ("keep", "scale_from", "threshold_from")
    leaks = sum(getattr(mine, field) != getattr(plain, field) for field in fields)
    assert (leaks, mine.sound) == ((0, True) if name in SOUND else (1, False))
    assert (mine.hop_s, mine.copies) in [(PROTOCOLS[n].hop_s, PROTOCOLS[n].copies) for n in SOUND]


def test_windows_cover_the_recording_and_only_the_plain_ones_are_evaluated() -> None:
    table = recordings(40)
    plain = leakage.make_windows(table, PROTOCOLS["windows"])
    assert len(plain) == 4 * 40 and plain["evaluated"].all()
    assert sorted(plain["start_s"].unique()) == [0, 2.5, 5, 7.5]
    closer = leakage.make_windows(table, PROTOCOLS["overlapping windows"])
    assert len(closer) == 13 * 40 and closer["start_s"].max() == 7.5
    copied = leakage.make_windows(table, PROTOCOLS["over-sampled before the split"])
    assert len(copied) == 4 * leakage.oversampling_factors(table).sum()
    for windows in (plain, closer, copied):
        assert windows.index.is_unique and windows["evaluated"].sum() == 160
        assert (windows["recording"] == table.index[windows["row"]]).all()
        assert (windows.loc[windows["evaluated"], "copy"] == 0).all()


def test_copies_make_each_disease_as_common_as_normal() -> None:
    table = recordings(200, rare=0.15)
    table["QT"] = np.arange(200) < 3
    copies = leakage.oversampling_factors(table)
    assert (copies[table["NORM"] & ~table["QT"]] == 1).all()
    for name in ("ARR", "CD", "MI", "HYP"):
        held = table[name].to_numpy()
        assert (copies[held] >= round(table["NORM"].sum() / held.sum())).all()
    assert copies.max() <= max(round(100 / table[n].sum()) for n in ("ARR", "CD", "MI", "HYP"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_sets_are_disjoint_and_the_evaluated_windows_are_those_of_the_plain_protocol(name) -> None:
    table = recordings()
    windows, split = assigned(name, table)
    sets = [set(part) for part in (split.train, split.val, split.test)]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert len(split.test) == pytest.approx(480 * leakage.TEST / leakage.PARTS, rel=0.1)
    plain = {"recording": "record", "window": "windows"}.get(PROTOCOLS[name].keep, "patient")
    others, theirs = assigned(plain, table)
    for part in ("val", "test"):
        mine = windows.index[getattr(split, part)]
        assert set(mine) == set(others.index[getattr(theirs, part)])
    assert set(others.index[theirs.train]) <= set(windows.index[split.train])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_overlaps_as_its_name_says(name: str) -> None:
    windows, split = assigned(name, recordings(200, rare=0.12))
    found = leakage.overlap(split, windows)
    train, test = windows.iloc[split.train], windows.iloc[split.test]
    assert found["patient"] == test["patient"].isin(train["patient"]).mean()
    if name in SOUND + OTHERWISE:
        assert found == {"patient": 0, "recording": 0, "samples": 0}
    elif name == "record":
        assert found["patient"] > 0.1
        assert found["recording"] == found["samples"] == 0
    elif name == "windows":
        assert found["recording"] > 0.8
        assert found["samples"] == 0
    elif name == "overlapping windows":
        assert found["samples"] > 0.9
    else:  # whole copies, of recordings with a disease only, never the tested window itself
        shared = test["recording"].isin(train["recording"])
        assert found["samples"] == found["recording"] == shared.mean() > 0.2
        assert test.loc[shared, list(DISEASES)].any(axis=1).all()
        again = train[train["recording"].isin(test["recording"])]
        assert (again["copy"] > 0).all()


def test_overlap_counts_shared_samples() -> None:
    windows = pd.DataFrame({"patient": list("aaab"), "row": [0, 0, 1, 2]})
    for second, train, test, shared in (
        (2.4, [0], [1], (1, 1, 1)),
        (2.4, [0], [2], (1, 0, 0)),
        (2.4, [0, 2], [1, 3], (0.5, 0.5, 0.5)),
        (2.5, [0], [1], (1, 1, 0)),
    ):
        split = Split("", np.array(train), np.array([]), np.array(test))
        found = leakage.overlap(split, windows.assign(start_s=[0, second, 0, 0]))
        assert tuple(found[of] for of in ("patient", "recording", "samples")) == shared


@pytest.mark.parametrize("name", PROTOCOLS)
def test_audit_passes_what_is_split_by_patient_and_refuses_the_rest(name: str) -> None:
    windows, split = assigned(name, recordings())
    if name in SEEN:
        with pytest.raises(SplitError, match="patient stands in two sets"):
            audit(split, windows)
    else:
        assert audit(split, windows) is None


def test_the_scale_of_training_does_not_know_the_test_set() -> None:
    x = np.random.default_rng(0).normal(3, 5, (30, 12, 250)).astype(np.float32)
    split = Split("", np.arange(20), np.arange(20, 25), np.arange(25, 30))
    scaled = leakage.standardise(x, split, "train")
    np.testing.assert_allclose(scaled[:20].mean((0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(scaled[:20].std((0, 2)), 1, atol=1e-4)
    spoiled = x.copy()
    spoiled[split.test] = np.nan
    np.testing.assert_array_equal(leakage.standardise(spoiled, split, "train")[:25], scaled[:25])
    assert np.isnan(leakage.standardise(spoiled, split, "all")[:25]).all()
    np.testing.assert_allclose(leakage.standardise(x, split, "all").mean((0, 2)), 0, atol=1e-4)


def test_windows_are_cut_where_they_say() -> None:
    table = recordings(20)
    signals = np.arange(20 * 12 * 1000, dtype=np.float32).reshape(20, 12, 1000)
    windows = leakage.make_windows(table, PROTOCOLS["overlapping windows"])
    x = leakage.signals_of(signals, windows, FS_HZ)
    at = windows.index.get_loc("x/003 at 1.25 s")
    np.testing.assert_array_equal(x[at], signals[3, :, 125:375])
    assert x.shape == (260, 12, 250)


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Return white noise with a loudness of its own in each lead of each recording."""
    rng = np.random.default_rng(seed)
    loud = rng.uniform(0.3, 3, (n, 12, 1))
    return (loud * rng.standard_normal((n, 12, 1000))).astype(np.float32)


def f1_on_noise(name: str, table: pd.DataFrame, label: str, learner: object) -> tuple[float, float]:
    """Return F1 of a learner by heart on noise with chance labels, and the best without a clue."""
    scored = leakage.predictions(
        PROTOCOLS[name], noise(len(table)), table, FS_HZ, leakage.on_features(learner, FS_HZ)
    )
    _, result = evaluate_run(scored, PROTOCOLS[name].threshold_from, resamples=2)
    share = scored.loc[scored["set"] == "test", label].mean()
    return result.loc[label, "f1"], 2 * share / (1 + share)


def test_noise_with_chance_labels_stays_at_chance_by_patient_and_nears_one_by_leak() -> None:
    table, nearest = recordings(120), KNeighborsClassifier(1)
    for name in ("patient", "overlapping windows, by patient"):
        got, chance = f1_on_noise(name, table, "abnormal", nearest)
        assert got < chance + 0.06, name
    assert f1_on_noise("windows", table, "abnormal", nearest)[0] > 0.9
    assert f1_on_noise("overlapping windows", table, "abnormal", nearest)[0] > 0.97


def test_copies_before_the_split_make_noise_learnable_and_copies_after_it_do_not() -> None:
    table, forest = recordings(200, rare=0.12), ExtraTreesClassifier(40, random_state=0)
    got, chance = f1_on_noise("over-sampled after the split", table, "HYP", forest)
    assert got < chance + 0.1
    assert f1_on_noise("over-sampled before the split", table, "HYP", forest)[0] > 0.85


def test_a_cohort_has_enough_of_each_disease_and_half_normal() -> None:
    table = recordings(400)
    table.iloc[:7, table.columns.get_loc("abnormal")] = pd.NA
    table["patient"] = [f"p{i}" for i in range(400)]
    table.iloc[[10, 20], table.columns.get_loc("patient")] = "twice"
    rows = leakage.cohort(table, 30)
    chosen = table.iloc[rows]
    assert (np.diff(rows) > 0).all()
    assert {10, 20} <= set(rows) and not set(range(7)) & set(rows)
    assert (chosen[["ARR", "CD", "MI", "HYP"]].sum() >= 30).all()
    assert chosen["abnormal"].mean() == 0.5
    assert len(rows) < 250
    assert not np.array_equal(rows, leakage.cohort(table, 30, seed=1))


def test_the_nearest_window_is_found_in_training_only() -> None:
    x = np.arange(10.0)[:, None]
    split = Split("", np.array([0, 5, 9]), np.array([1]), np.array([4, 8, 2]))
    assert leakage.nearest(x, split).tolist() == [5, 9, 0]


def test_the_figure_of_protocols_draws_each_and_says_what_it_draws() -> None:
    table, rng = recordings(480).reset_index(), np.random.default_rng(0)
    for name, p in zip(NAMES, SCORES, strict=True):
        table[p] = table[name].to_numpy(float) * 0.3 + rng.random(480)
    table = table.assign(fold=0, set=np.where(np.arange(480) % 2, "val", "test"))
    result = evaluate_run(table, resamples=20)[1]
    metrics = {"trees": {"patient": result, "windows": result}}
    fig = f1_by_protocol(metrics, ["patient"], ["abnormal", "QT"], {"abnormal": 0.99}, title="T")
    first, second = fig.axes
    line = result.loc["abnormal"]
    dots = [a.get_xdata()[0] for a in first.lines if a.get_marker() == "o"]
    assert dots == [line["f1"]] * 2
    assert 0.99 in [a.get_xdata()[0] for a in first.lines if a.get_linestyle() == "--"]
    assert [a.get_text() for a in second.texts] == ["not estimable"] * 2
    assert not [a for a in second.lines if a.get_linestyle() == "--"]
    assert f"windows: abnormal trees {line['f1']:.2f}" in fig.get_label()
    assert fig.get_label().startswith("T: F1")


def test_the_experiment_runs_and_its_metrics_follow_from_its_predictions(
    tmp_path, monkeypatch
) -> None:
    table, signals = recordings(200), SimpleNamespace(batch=noise(200).__getitem__)
    data = SimpleNamespace(signals=signals, note="n", manifest="m")
    few = {name: PROTOCOLS[name] for name in ("patient", "threshold from the test set", "windows")}
    monkeypatch.setattr(common, "official_folds", lambda: (data, table, None))
    monkeypatch.setattr(experiment, "CONFIG", replace(experiment.CONFIG, crops=32))
    monkeypatch.setattr(leakage, "PROTOCOLS", few)
    monkeypatch.setattr(methods, "RESAMPLES", 5)
    monkeypatch.setattr(common, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    with parallel_config("sequential"):
        first = experiment.leakage()
        monkeypatch.setattr(leakage, "predictions", lambda *_: pytest.fail("trained twice"))
        assert experiment.leakage() == first
    (tmp_path / "leakage.json").write_text(json.dumps(first))
    assert list(first["protocols"]) == list(few)
    assert [f for f in check_predictions("leakage") if not f.good] == []
    plain, leaky = (
        load_predictions("leakage.csv.gz", protocol=name).drop(columns="protocol")
        for name in list(few)[:2]
    )
    pd.testing.assert_frame_equal(plain, leaky)  # they differ in the threshold alone
    found = first["protocols"]["threshold from the test set"]
    assert found["threshold_from"] == "test" and not found["sound"]
    assert len(plain) == 2 * (found["n_windows"]["val"] + found["n_windows"]["test"])


def test_the_stored_result_holds_every_protocol_and_enough_recordings_of_each_class() -> None:
    result = load_result("leakage.json")
    assert list(result["protocols"]) == list(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        found = result["protocols"][name]
        assert (found["sound"], found["says"]) == (protocol.sound, protocol.says)
    for method in result["protocols"]["patient"]["methods"].values():
        for name in ("abnormal", "ARR", "CD", "MI", "HYP"):
            assert method["metrics"][name]["estimable"], name
