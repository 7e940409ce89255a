"""Pre-training: the spans against their chain, the error on hidden values, and that it learns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.network.tst import MaskedValueHead
from ecgnet_lib.training.config import TrainConfig
from ecgnet_lib.training.pretraining import (
    GROUPS,
    SHARE,
    SPAN_TOKENS,
    hidden_error,
    pretrain,
    spans,
)

TINY = ModelConfig(channels=8, width=32, d_ff=32, tst_layers=1, stem_layers=1, dropout=0.0)


def tiny(**more: object) -> FoundationalECGNet:
    return FoundationalECGNet(dataclasses.replace(TINY, **more))


def periodic(n: int = 64, seed: int = 0) -> np.ndarray:
    """A wave of its own rate, phase and sizes of leads in each recording."""
    rng = np.random.default_rng(seed)
    rate_hz, phase = rng.uniform(1, 2, (n, 1, 1)), rng.uniform(0, 1, (n, 1, 1))
    wave = np.sin(2 * np.pi * (rate_hz * np.arange(400) / 100 + phase))
    return (wave * rng.uniform(-1, 1, (1, 12, 1))).astype(np.float32)


def test_spans_have_the_wanted_share_and_geometric_lengths() -> None:
    hidden = spans((4000, 100), torch.Generator().manual_seed(0)).numpy()
    assert hidden.mean() == pytest.approx(SHARE, abs=0.005)
    assert hidden[:, 0].mean() == pytest.approx(SHARE, abs=0.03)  # the chain starts as it goes on
    lengths = []
    for row in hidden:
        runs = np.flatnonzero(np.diff(np.r_[0, row, 0])).reshape(-1, 2)
        inside = (runs[:, 0] > 0) & (runs[:, 0] < 60)  # whole, and not only if short
        lengths += np.diff(runs[inside]).ravel().tolist()
    lengths = np.array(lengths)
    assert lengths.mean() == pytest.approx(SPAN_TOKENS, rel=0.03)
    for k in (1, 2, 3, 6):  # P(k) = 1/3 (2/3)^(k-1)
        want = (1 - 1 / SPAN_TOKENS) ** (k - 1) / SPAN_TOKENS
        assert (lengths == k).mean() == pytest.approx(want, abs=0.012)


def test_limb_leads_share_their_spans_and_chest_leads_do_not() -> None:
    limb = [LEADS[i] for i, group in enumerate(GROUPS) if group == 0]
    assert limb == ["I", "II", "III", "aVR", "aVL", "aVF"]
    assert sorted(GROUPS[6:]) == [1, 2, 3, 4, 5, 6]


def test_error_counts_hidden_values_only() -> None:
    generator = torch.Generator().manual_seed(0)
    said, truth = torch.randn(2, 3, 12, 50, generator=generator)
    hidden = torch.rand(3, 12, 50, generator=generator) < 0.3
    want = np.mean((said - truth).numpy()[hidden.numpy()] ** 2)
    assert hidden_error(said, truth, hidden).item() == pytest.approx(want, rel=1e-5)
    other = torch.where(hidden, truth, torch.randn(truth.shape, generator=generator))
    assert torch.equal(hidden_error(said, truth, hidden), hidden_error(said, other, hidden))
    assert hidden_error(said, truth, torch.zeros_like(hidden)).item() == 0


def test_head_gives_each_token_its_own_samples() -> None:
    head = MaskedValueHead(width=4, leads=12, samples=10)
    tokens = torch.randn(2, 5, 4)
    out = head(tokens)
    assert out.shape == (2, 12, 50)
    tokens[1, 3] += 1
    changed = (head(tokens) != out).any(1)  # (B, T)
    assert changed.nonzero().tolist() == [[1, t] for t in range(30, 40)]


def test_the_network_sees_no_hidden_value_and_learns_to_say_them() -> None:
    torch.set_num_threads(1)
    signals = periodic()
    given = []

    def watched() -> FoundationalECGNet:
        net = tiny()
        net.register_forward_pre_hook(lambda module, args: given.append(args[0].clone()))
        return net

    config = TrainConfig(crops=1600, batch=16, crop_s=2.0, learning_rate=2e-2)
    net, history = pretrain(signals, np.arange(48), watched, config)
    assert len(history) == 33
    # Zero is rare in these waves: where a crop is zero for ten samples in a row, it is hidden.
    cells = torch.stack(given[1:5]).unflatten(-1, (20, 10)).abs().amax(-1) == 0
    assert cells.float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert history["loss"].iloc[-1] < 0.35 * history["mean_loss"].iloc[-1]
    variance = (signals[:48] / 0.25).var()  # in units of scale_mv
    assert history["mean_loss"].iloc[0] == pytest.approx(variance, rel=0.1)
    again, _ = pretrain(signals, np.arange(48), tiny, config)
    torch.testing.assert_close(net.state_dict(), again.state_dict(), atol=0, rtol=0)


def test_without_a_transformer_there_is_nothing_to_pretrain() -> None:
    with pytest.raises(ConfigError, match="transformer"):
        pretrain(periodic(4), np.arange(4), lambda: tiny(tst=False))
    with pytest.raises(ConfigError, match="0 recordings"):
        pretrain(periodic(4), np.arange(0), tiny)
