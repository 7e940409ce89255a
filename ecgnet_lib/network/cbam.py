"""CBAM, the Convolutional Block Attention Module, for signals (Woo et al., ECCV 2018).

Two gates in a row: first *which feature* matters (channel attention), then *when* it matters
(temporal attention, the 1-D form of the paper's spatial attention).

Shapes: N sequences (here batch x leads), C channels, P time steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgnet_lib.errors import ConfigError


class ChannelAttention(nn.Module):
    """M_c(F) = sigmoid(MLP(AvgPool F) + MLP(MaxPool F)), Woo et al. eq. 2: one weight a channel.

    The two pooled vectors pass through the same MLP, C -> C/r -> C with a ReLU between.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if channels % reduction:
            raise ConfigError(f"CBAM's reduction {reduction} must divide its {channels} channels")
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, P) to weights (N, C, 1) in (0, 1)."""
        pooled = torch.stack([features.mean(-1), features.amax(-1)])  # (2, N, C)
        return torch.sigmoid(self.mlp(pooled).sum(0)).unsqueeze(-1)


class TemporalAttention(nn.Module):
    """M_s(F) = sigmoid(conv([AvgPool_c F; MaxPool_c F])), Woo et al. eq. 3: one weight a step."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ConfigError(f"CBAM's kernel must be odd to stay centred, not {kernel}")
        self.conv = nn.Conv1d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, P) to weights (N, 1, P) in (0, 1)."""
        pooled = torch.stack([features.mean(1), features.amax(1)], dim=1)  # (N, 2, P)
        return torch.sigmoid(self.conv(pooled))


class CBAM(nn.Module):
    """F' = M_c(F) * F, then F'' = M_s(F') * F' (Woo et al. eq. 1), shapes (N, C, P) kept."""

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.temporal = TemporalAttention(kernel)

    def forward(
        self, features: Tensor, return_maps: bool = False
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Return the gated (N, C, P); with `return_maps` also the maps (N, C, 1) and (N, 1, P)."""
        channel_map = self.channel(features)
        features = channel_map * features
        temporal_map = self.temporal(features)
        features = temporal_map * features
        return (features, channel_map, temporal_map) if return_maps else features
