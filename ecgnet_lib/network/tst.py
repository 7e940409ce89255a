"""The Time Series Transformer: an encoder over the tokens of a recording.

Zerveas et al. (KDD 2021): an encoder with BatchNorm in place of LayerNorm and GELU; tokens that are
patches of samples after Nie et al. (ICLR 2023); attention after Vaswani et al. (2017).

Shapes: B batch, P tokens, E embedding, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ecgnet_lib.errors import ConfigError

MAX_TOKENS = 125  # attention costs P^2: 10 s of ECG is one token every 80 ms or slower


def positions(tokens: int, width: int) -> Tensor:
    """Fixed sine and cosine codes (P, E) of Vaswani et al. section 3.5: any length works."""
    step = torch.arange(tokens, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
    code = torch.zeros(tokens, width)
    code[:, 0::2] = torch.sin(step * rate)
    code[:, 1::2] = torch.cos(step * rate)
    return code


def normalise_tokens(norm: nn.BatchNorm1d, h: Tensor) -> Tensor:
    """BatchNorm over batch and tokens of (B, P, E); Zerveas et al.: outliers hurt it less."""
    return norm(h.flatten(0, 1)).view(h.shape)


class FeatureDropout(nn.Dropout):
    """Drop a feature from all tokens of a recording at once (Tompson et al., CVPR 2015).

    Tokens beside each other hold nearly the same: dropping numbers one by one hides little.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Keep the shape (B, P, E)."""
        return h * super().forward(h.new_ones(len(h), 1, h.shape[-1])) if self.training else h


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(E/H)) V in each head, Vaswani et al. eq. 1.

    No dropout on the weights of the attention: it would cost a third of the time on a CPU.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, return_attention: bool = False) -> tuple[Tensor, Tensor | None]:
        """Map (B, P, E) to (B, P, E) and, on request, the attention (B, H, P, P)."""
        qkv = self.qkv(h).unflatten(-1, (3, self.heads, -1))  # (B, P, 3, H, E/H)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, P, E/H) each
        attention = None
        if return_attention:
            attention = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2)), attention


class EncoderLayer(nn.Module):
    """Attention, then a two-layer MLP with GELU; each is added to its input and normalised."""

    def __init__(self, width: int, heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.norm1, self.norm2 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.linear1, self.linear2 = nn.Linear(width, d_ff), nn.Linear(d_ff, width)
        self.drop = FeatureDropout(dropout)

    def forward(self, h: Tensor, return_attention: bool = False) -> tuple[Tensor, Tensor | None]:
        """Keep the shape (B, P, E); also the attention (B, H, P, P) on request."""
        mixed, attention = self.attention(h, return_attention)
        h = normalise_tokens(self.norm1, h + self.drop(mixed))
        hidden = self.drop(nn.functional.gelu(self.linear1(h)))
        return normalise_tokens(self.norm2, h + self.drop(self.linear2(hidden))), attention


class TST(nn.Module):
    """Add positions to (B, P, E) tokens and pass them through `layers` encoder layers."""

    def __init__(self, width: int, heads: int, layers: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise ConfigError(f"TST's width must be even and a multiple of {heads} heads: {width}")
        stacked = (EncoderLayer(width, heads, d_ff, dropout) for _ in range(layers))
        self.layers = nn.ModuleList(stacked)
        self.register_buffer("positions", positions(MAX_TOKENS, width), persistent=False)

    def forward(
        self, tokens: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Map (B, P, E) to (B, P, E); with `return_attention` also one (B, H, P, P) a layer."""
        if tokens.shape[1] > MAX_TOKENS:
            what, remedy = "too many tokens", "crop the recording or take a longer stride"
            raise ConfigError(what, expected=f"{MAX_TOKENS}", found=tokens.shape[1], remedy=remedy)
        h = tokens + self.positions[: tokens.shape[1]]
        maps = []
        for layer in self.layers:
            h, attention = layer(h, return_attention)
            maps.append(attention)
        return (h, maps) if return_attention else h


class MaskedValueHead(nn.Module):
    """Predict the samples of each patch from its token, x_t = W z_t + b.

    Zerveas et al. 2021, "Unsupervised pre-training"; here a token gives `samples` of each lead.
    """

    def __init__(self, width: int, leads: int, samples: int) -> None:
        super().__init__()
        self.leads, self.linear = leads, nn.Linear(width, leads * samples)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, P, E) to (B, L, P * samples)."""
        patches = self.linear(tokens).unflatten(-1, (self.leads, -1))  # (B, P, L, samples)
        return patches.transpose(1, 2).flatten(2)
