"""Explaining: maps against their formulas, tests of maps against closed forms, the record."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluation import explain
from ecgnet_lib.evaluation.explain import FRACTIONS, TERRITORY
from ecgnet_lib.evaluation.results import load_result
from ecgnet_lib.figures.ecg import ecg_heat
from ecgnet_lib.figures.scores import MAP_LOOKS, cascade_curves, deletion_curves
from ecgnet_lib.network.checkpoint import load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig

TOKENS, STRIDE = 25, 10
V2 = LEADS.index("V2")


class Toy(nn.Module):
    """A network whose logits are a function of the signal; it hides leads as ours does."""

    def __init__(self, read) -> None:
        super().__init__()
        self.read, self.config = read, SimpleNamespace(stride=STRIDE, head="sigmoid", fs_hz=100)

    def forward(self, x, present=None):
        if present is not None:
            x = x * present[..., None]
        z = self.read(x)
        return z, torch.stack([-z] * 5, dim=1)


@pytest.fixture(scope="module")
def network() -> FoundationalECGNet:
    torch.manual_seed(0)
    return FoundationalECGNet(ModelConfig(channels=16, tst_layers=2, width=32, d_ff=32)).eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return 0.3 * torch.randn(4, 12, TOKENS * STRIDE, generator=torch.Generator().manual_seed(1))


def bumps(heights: np.ndarray) -> np.ndarray:
    """Draw a bump that ends at zero on every token: (B, L, P) heights, (B, L, T) mV."""
    shape = np.sin(np.pi * np.arange(STRIDE) / (STRIDE - 1)) ** 2
    return (heights[..., None] * shape).reshape(*heights.shape[:2], -1).astype(np.float32)


def test_attention_maps_are_what_they_claim(network, x) -> None:
    maps = explain.attention_maps(network, x)
    with torch.no_grad():
        *_, raw = network(x, return_maps=True)
    assert {name: m.shape for name, m in maps.items()} == dict.fromkeys(
        ("CBAM", "GAT", "TST"), (4, 12, TOKENS)
    )
    np.testing.assert_array_equal(maps["CBAM"], raw["temporal"])
    np.testing.assert_allclose(maps["GAT"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(maps["TST"].sum(2), 1, atol=1e-5)
    # how much V2 is listened to in the graph of token 17, with loops
    graph = 17 // network.config.graph_tokens
    heard = np.mean([[raw["leads"][2, graph, h, i, V2] for i in range(12)] for h in range(4)])
    assert maps["GAT"][2, V2, 17] == pytest.approx(heard, abs=1e-6)
    first, second = (0.5 * a.mean(0) + 0.5 * np.eye(TOKENS) for a in raw["tokens"][1].numpy())
    rollout = np.einsum("ij,jk->k", second, first) / TOKENS
    np.testing.assert_allclose(maps["TST"][1], np.tile(rollout, (12, 1)), atol=1e-6)
    without = FoundationalECGNet(ModelConfig(cbam=False, gat="none", tst=False)).eval()
    assert explain.attention_maps(without, x) == {}


@pytest.mark.parametrize("target", ["abnormal", "MI"])
def test_integrated_gradients_are_complete(network, x, target) -> None:
    given = explain.integrated_gradients(network, x, target, steps=64).sum((1, 2))
    with torch.no_grad():
        rise = explain.logit(network, x, target) - explain.logit(network, 0 * x, target)
    np.testing.assert_allclose(given, rise, atol=0.04 * rise.abs().mean().item())


def test_integrated_gradients_of_a_linear_network_are_weight_times_signal(x) -> None:
    w = torch.randn(12, x.shape[2], generator=torch.Generator().manual_seed(2))
    toy = Toy(lambda v: (v * w).sum((1, 2)))
    np.testing.assert_allclose(explain.integrated_gradients(toy, x, steps=8), x * w, atol=1e-5)
    opposite = explain.integrated_gradients(toy, x, "CD", steps=8)
    np.testing.assert_allclose(opposite, -x * w, atol=1e-5)
    with pytest.raises(ConfigError, match="no such target"):
        explain.integrated_gradients(toy, x, "death")


def test_sums_over_tokens_leads_and_time() -> None:
    values = np.arange(2 * 12 * 40, dtype=float).reshape(2, 12, 40)
    tokens = explain.per_token(values, 10)
    assert tokens.shape == (2, 12, 4) and tokens[1, 3, 2] == values[1, 3, 20:30].sum()
    assert explain.units_of(tokens, "cells").shape == (2, 48)
    np.testing.assert_array_equal(explain.units_of(tokens, "leads"), values.sum(2))
    by_token = explain.units_of(tokens, "tokens")
    np.testing.assert_array_equal(by_token[:, 1], values[..., 10:20].sum((1, 2)))


def test_deleting_draws_straight_lines(x) -> None:
    signal, rng = x.numpy(), np.random.default_rng(3)
    gone = rng.random((4, 12, TOKENS)) < 0.6
    gone[0, 0], gone[0, 1] = True, False
    out, at = explain.delete(signal, gone), np.arange(signal.shape[2])
    for b, lead in np.ndindex(4, 12):
        kept = ~np.repeat(gone[b, lead], STRIDE)
        want = np.interp(at, at[kept], signal[b, lead, kept]) if kept.any() else 0 * at
        np.testing.assert_allclose(out[b, lead], want, atol=1e-6)
    np.testing.assert_array_equal(out[0, 1], signal[0, 1])
    assert out.dtype == np.float32


@pytest.mark.parametrize("form", ["cells", "leads", "tokens"])
def test_deletion_of_a_linear_network_has_a_closed_form(form) -> None:
    """On bumps that end at zero a deleted unit takes its own share of the logit, no more."""
    rng = np.random.default_rng(4)
    heights = rng.uniform(0, 1, (6, 12, 24))  # 24 tokens, so that every fraction is exact
    heights[:, V2] *= -1
    signal = bumps(heights)
    toy = Toy(lambda v: v.sum((1, 2)))
    share = explain.units_of(explain.per_token(signal, STRIDE), form)
    curve = explain.deletion_curve(toy, signal, share, form)
    falling = np.sort(share, axis=1)[:, ::-1]
    number = np.rint(FRACTIONS * share.shape[1]).astype(int)
    taken = np.stack([falling[:, :k].sum(1) for k in number], axis=1)
    total = share.sum(1, keepdims=True)
    np.testing.assert_allclose(curve, total - taken, rtol=1e-4, atol=1e-4)
    # random order takes each unit with the same chance: expected, a straight line
    expected = total * (1 - FRACTIONS)
    gap = explain.area_between(expected, curve)
    closed = np.trapezoid(taken - total * FRACTIONS, FRACTIONS, axis=1) / FRACTIONS[-1]
    np.testing.assert_allclose(gap, closed, rtol=1e-3, atol=1e-3)
    assert (gap > 0).all()
    opposite = explain.deletion_curve(toy, signal, share, form, target="MI")
    np.testing.assert_allclose(opposite, -curve, rtol=1e-6)


def test_a_lead_that_is_gone_is_declared_missing() -> None:
    seen = []

    class Spy(Toy):
        def forward(self, x, present=None):
            seen.append(present.clone())
            return super().forward(x, present)

    units = np.arange(12.0)[None]  # V6 first, then V5
    explain.deletion_curve(Spy(lambda v: v.sum((1, 2))), bumps(np.ones((1, 12, 4))), units, "leads")
    assert [int((~p).sum()) for p in seen] == [0, 1, 2, 3, 4, 5, 6]
    assert not seen[2][0, 10:].any() and seen[2][0, :10].all()


def test_territory_share_counts_what_speaks_for_the_wall() -> None:
    maps = np.zeros((3, 12, 4))
    maps[0, LEADS.index("II"), 0], maps[0, LEADS.index("V1"), 3] = 3, 1
    maps[0, LEADS.index("aVF")] = -5
    maps[1] = 0.7
    np.testing.assert_allclose(explain.territory_share(maps, "IMI"), [0.75, 0.25, 0.25])
    np.testing.assert_allclose(explain.territory_share(maps, "AMI"), [0.25, 1 / 3, 1 / 3])
    assert {lead for leads in TERRITORY.values() for lead in leads} == set(LEADS) - {"aVR"}


def test_cascade_draws_from_the_head_down(network) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    steps = list(explain.cascade(network, seed=3))
    assert [part for part, _ in steps[:2]] == ["head_diseases", "head_abnormal"]
    changed = []
    for part, drawn in steps:
        state = drawn.state_dict()
        changed.append({key for key in state if not torch.equal(state[key], before[key])})
        assert part in {key.partition(".")[0] for key in changed[-1]} and not drawn.training
    assert changed[0] == {"head_diseases.weight", "head_diseases.bias"}
    assert all(a < b for a, b in pairwise(changed))
    weights = {key for key, p in network.named_parameters() if p.dim() > 1}
    assert weights <= changed[-1]
    torch.testing.assert_close(network.state_dict(), before, atol=0, rtol=0)
    again = list(explain.cascade(network, seed=3))[-1][1].state_dict()
    torch.testing.assert_close(again, steps[-1][1].state_dict(), atol=0, rtol=0)


def test_identical_weights_correlate_fully_and_attention_cannot_see_the_head(network, x) -> None:
    def gradients(model) -> np.ndarray:
        return explain.integrated_gradients(model, x, steps=8).reshape(4, -1)

    maps = {n: m.reshape(4, -1) for n, m in explain.attention_maps(network, x).items()}
    ours = gradients(network)
    np.testing.assert_allclose(explain.rank_correlation(ours, gradients(network)), 1)
    steps = dict(explain.cascade(network, seed=3))  # not the seed that made the network
    for name, m in explain.attention_maps(steps["head_abnormal"], x).items():
        np.testing.assert_allclose(explain.rank_correlation(maps[name], m.reshape(4, -1)), 1)
    drawn = explain.rank_correlation(ours, gradients(steps["head_abnormal"]))
    assert (drawn < 0.99).all()
    assert explain.rank_correlation(ours, gradients(list(steps.values())[-1])).mean() < 0.5


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 5, (2, 7, 30))  # with ties
    want = [spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(explain.rank_correlation(a, b), want)
    np.testing.assert_array_equal(explain.rank_correlation(a, 0 * b), 0)


def test_intervals_resample_patients() -> None:
    values = np.random.default_rng(7).standard_normal(300)
    alone = explain.mean_interval(values, np.arange(300))
    assert alone["value"] == pytest.approx(values.mean())
    width = 2 * 1.96 * values.std() / np.sqrt(300)
    assert alone["high"] - alone["low"] == pytest.approx(width, rel=0.1)
    # the same patients recorded twice are no new patients
    twice = explain.mean_interval(np.tile(values, 2), np.tile(np.arange(300), 2))
    assert twice == pytest.approx(alone)


def test_figures_say_what_they_draw() -> None:
    signal, heat = np.zeros((12, 250)), np.zeros((12, 25))
    heat[V2, 14] = 1.0
    text = ecg_heat(signal, 100, heat, heat_name="evidence").get_label()
    assert "highest in V2 at 1.45 s" in text and "holds 100%" in text
    curves = {"cells": {"CBAM": np.linspace(2, -1.5, 7), "random": np.linspace(2, 1, 7)}}
    assert "CBAM -1.5; random 1.0" in deletion_curves(FRACTIONS, curves).get_label()
    last = {"value": 0.31, "low": 0.2, "high": 0.4}
    fig = cascade_curves(["head", "stem"], {"TST": {"head": last, "stem": last}})
    assert "TST 0.31" in fig.get_label()


@pytest.fixture(scope="module")
def result() -> dict:
    return load_result("explanation.json")


def agree(stored: dict, values, patients) -> None:
    again = explain.mean_interval(np.asarray(values, dtype=float), np.asarray(patients))
    assert again == pytest.approx(stored, abs=2e-5)


def test_the_record_is_of_the_weights_of_record(result) -> None:
    _, about = load_checkpoint()
    for key in ("weights_sha256", "data_manifest", "train_config", "n"):
        assert result[key] == about[key], key
    assert len(result["recordings"]) == len(result["patients"]) == result["n"]["test"]


def test_recorded_areas_follow_from_the_recordings(result) -> None:
    patients, deletion = np.array(result["patients"]), result["deletion"]
    abnormal = np.array(deletion["predicted_abnormal"], dtype=bool)
    np.testing.assert_allclose(deletion["fractions"], FRACTIONS, atol=1e-6)
    assert set(deletion["forms"]) == set(explain.FORMS)
    for form in deletion["forms"].values():
        size = np.array(form["per_recording"]["signal size"])
        assert set(form["areas"]) == set(form["curves"]) - {"random"} <= set(MAP_LOOKS)
        for name, stored in form["areas"].items():
            area = np.array(form["per_recording"][name])
            assert len(area) == len(patients)
            agree(stored["all"], area, patients)
            agree(stored["beyond size"], area - size, patients)
            for group, rows in (("abnormal", abnormal), ("normal", ~abnormal)):
                agree(stored[group], area[rows], patients[rows])
            gap = np.array(form["curves"]["random"]) - form["curves"][name]
            between = np.trapezoid(gap, FRACTIONS) / FRACTIONS[-1]
            assert stored["all"]["value"] == pytest.approx(between, abs=1e-4)


def test_recorded_shares_follow_from_the_patients(result) -> None:
    territory = result["territory"]
    walls, chance = np.array(territory["walls"]), np.array(territory["chance"])
    everybody = np.arange(len(walls))
    assert territory["leads"] == {wall: list(leads) for wall, leads in TERRITORY.items()}
    for wall, leads in TERRITORY.items():
        np.testing.assert_allclose(chance[walls == wall], len(leads) / 12, atol=1e-6)
    groups = {wall: walls == wall for wall in TERRITORY} | {"all": everybody >= 0}
    groups["recognised"] = np.array(territory["recognised"], dtype=bool)
    for stored in territory["maps"].values():
        share, twin = (np.array(stored["per_patient"][who]) for who in ("infarct", "twin"))
        assert (share >= 0).all() and (share <= 1).all()
        for group, rows in groups.items():
            for name, less in (("share", 0), ("beyond chance", chance), ("beyond twin", twin)):
                agree(stored[name][group], (share - less)[rows], everybody[rows])


def test_recorded_correlations_follow_from_the_recordings(result) -> None:
    sanity = result["sanity"]
    for name, by_part in sanity["correlation"].items():
        assert list(by_part) == sanity["parts"]
        for part, stored in by_part.items():
            values = sanity["per_recording"][name][part]
            agree(stored, values, result["patients"][: len(values)])
