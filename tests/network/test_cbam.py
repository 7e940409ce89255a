"""CBAM against a literal transcription of the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.cbam import CBAM


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def literal(module: CBAM, feature: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Woo et al. eq. 1 to 3 for one (C, P) feature, written with loops."""
    w0, b0, w1, b1 = (p.detach().numpy() for p in module.channel.mlp.parameters())

    def mlp(v: np.ndarray) -> np.ndarray:
        return w1 @ np.maximum(w0 @ v + b0, 0) + b1

    channel = sigmoid(mlp(feature.mean(1)) + mlp(feature.max(1)))
    gated = channel[:, None] * feature
    kernel = module.temporal.conv.weight.detach().numpy()[0]
    half = kernel.shape[1] // 2
    pooled = np.pad(np.stack([gated.mean(0), gated.max(0)]), ((0, 0), (half, half)))
    steps = feature.shape[1]
    temporal = sigmoid(
        np.array([(kernel * pooled[:, t : t + kernel.shape[1]]).sum() for t in range(steps)])
    )
    return temporal[None, :] * gated, channel, temporal


def test_equals_the_equations() -> None:
    torch.manual_seed(0)
    module = CBAM(16, reduction=4, kernel=7)
    x = torch.randn(3, 16, 40)
    out, channel, temporal = module(x, return_maps=True)
    for n in range(3):
        want = literal(module, x[n].numpy())
        np.testing.assert_allclose(out[n].detach(), want[0], atol=1e-5)
        np.testing.assert_allclose(channel[n, :, 0].detach(), want[1], atol=1e-6)
        np.testing.assert_allclose(temporal[n, 0].detach(), want[2], atol=1e-6)
    assert torch.equal(out, module(x))


def test_parameter_count_is_the_closed_form() -> None:
    c, r, k = 32, 8, 7
    count = sum(p.numel() for p in CBAM(c, r, k).parameters())
    assert count == 2 * c * c // r + c // r + c + 2 * k


@pytest.mark.parametrize("arguments", [(30, 16), (8, 16), (16, 4, 6)])
def test_impossible_sizes_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        CBAM(*arguments)
