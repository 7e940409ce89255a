"""The encoder against PyTorch's own, where the two coincide."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.tst import MAX_TOKENS, TST, FeatureDropout, normalise_tokens, positions

WIDTH, HEADS, D_FF = 16, 4, 24


def copy_layer(ours, peer: nn.TransformerEncoderLayer) -> None:
    pairs = [
        (ours.attention.qkv.weight, peer.self_attn.in_proj_weight),
        (ours.attention.qkv.bias, peer.self_attn.in_proj_bias),
        (ours.attention.out.weight, peer.self_attn.out_proj.weight),
        (ours.attention.out.bias, peer.self_attn.out_proj.bias),
    ]
    for name in ("linear1", "linear2", "norm1", "norm2"):
        for part in ("weight", "bias"):
            pairs.append((getattr(getattr(ours, name), part), getattr(getattr(peer, name), part)))
    with torch.no_grad():
        for source, target in pairs:
            source.normal_(std=0.3)
            target.copy_(source)


def test_with_layer_norm_equals_torch() -> None:
    torch.manual_seed(0)
    ours = TST(WIDTH, HEADS, layers=2, d_ff=D_FF, dropout=0.0).eval()
    for one in ours.layers:
        one.norm1, one.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, D_FF, 0.0, "gelu", batch_first=True)
    peer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train()
    for mine, theirs in zip(ours.layers, peer.layers, strict=True):
        copy_layer(mine, theirs)
    x = torch.randn(3, 11, WIDTH)
    out, maps = ours(x, return_attention=True)
    torch.testing.assert_close(out, peer(x + positions(11, WIDTH)), atol=1e-5, rtol=0)
    assert len(maps) == 2
    for attention in maps:
        torch.testing.assert_close(attention.sum(-1), torch.ones(3, HEADS, 11))
    _, want = peer.layers[0].self_attn(*[x + positions(11, WIDTH)] * 3, average_attn_weights=False)
    torch.testing.assert_close(maps[0], want, atol=1e-6, rtol=0)


def test_batch_norm_normalises_each_feature_over_batch_and_tokens() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 7, WIDTH) * 4 + 2
    out = normalise_tokens(nn.BatchNorm1d(WIDTH), x)
    want = (x - x.mean((0, 1))) / torch.sqrt(x.var((0, 1), unbiased=False) + 1e-5)
    torch.testing.assert_close(out, want, atol=1e-5, rtol=1e-5)


def test_positions_are_the_published_sines() -> None:
    angle = torch.arange(9.0)[:, None] / 10_000 ** (torch.arange(0, 8, 2) / 8)
    torch.testing.assert_close(positions(9, 8)[:, 0::2], angle.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(positions(9, 8)[:, 1::2], angle.cos(), atol=1e-5, rtol=0)


def test_any_length_up_to_the_limit_works() -> None:
    module = TST(WIDTH, HEADS, 1, D_FF, 0.1).eval()
    for tokens in (1, 25, MAX_TOKENS):
        assert module(torch.zeros(2, tokens, WIDTH)).shape == (2, tokens, WIDTH)
    with pytest.raises(ConfigError, match="125"):
        module(torch.zeros(2, MAX_TOKENS + 1, WIDTH))


def test_impossible_settings_are_refused() -> None:
    for width, heads in ((18, 4), (15, 5)):
        with pytest.raises(ConfigError, match="even"):
            TST(width, heads, 1, D_FF, 0.1)


def test_feature_dropout_hides_a_feature_from_all_tokens_of_a_recording() -> None:
    torch.manual_seed(0)
    drop = FeatureDropout(0.25)
    out = drop(torch.ones(400, 7, 50))
    kept = out != 0
    assert (kept == kept[:, :1]).all()  # the same for every token
    assert not (kept[0] == kept[1]).all()  # another draw for each recording
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / 0.75))
    share = kept[:, 0].float().mean()
    assert abs(share - 0.75) < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    h = torch.randn(2, 3, 4)
    assert drop.eval()(h) is h
