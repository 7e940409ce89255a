"""How to train: settings, augmentation of a crop, optimiser and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from ecgnet_lib.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `crops` is the budget: how many crops the network sees in all."""

    crops: int = 30_000
    batch: int = 64
    crop_s: float = 2.5
    learning_rate: float = 3e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.02
    gain: float = 0.2  # a crop is scaled by 1 +- gain
    lead_dropout: float = 0.1  # chance that a lead is hidden from the network
    noise_mv: float = 0.02  # white noise added to a crop
    wander_mv: float = 0.1  # slow sine added to a crop
    focal_gamma: float = 0.0  # down-weights easy labels, see `loss.focal`
    ema: float = 0.0  # decay of the moving average of the weights that is kept; 0: none
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.crops, self.batch) < 1 or self.focal_gamma < 0 or not 0 <= self.ema < 1:
            expected = "crops and batch from 1, focal_gamma from 0, ema in [0, 1)"
            raise ConfigError("wrong training settings", expected=expected, found=self)

    to_dict = asdict  # plain values for JSON


def augment(
    x: Tensor, config: TrainConfig, fs_hz: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary crops (B, L, T) in ways a real recording varies; return them and `present` (B, L).

    Gain, white noise, a slow wander of the baseline, missing leads. At least one lead stays.
    """
    batch, leads, length = x.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    x = x * (1 + config.gain * (2 * uniform(batch, 1, 1) - 1))
    x = x + config.noise_mv * uniform(batch, 1, 1) * torch.randn(x.shape, generator=generator)
    t = torch.arange(length) / fs_hz
    rate_hz, phase = 0.1 + 0.3 * uniform(batch, leads, 1), uniform(batch, leads, 1)
    wander = torch.sin(2 * torch.pi * (rate_hz * t + phase))
    x = x + config.wander_mv * uniform(batch, leads, 1) * wander
    present = uniform(batch, leads) >= config.lead_dropout * uniform(batch, 1) * 2
    present[torch.arange(batch), torch.randint(leads, (batch,), generator=generator)] = True
    return x, present


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate at `progress` in [0, 1] of the training.

    Linear from 1/25 to 1 during the first quarter, then a cosine down to zero (Smith and Topin
    2019, with the shape of PyTorch's OneCycleLR).
    """
    warm = 0.25  # of the training
    if progress < warm:
        return 0.04 + 0.96 * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


class OneCycleAdamW:
    """AdamW with clipped gradients and a one-cycle learning rate, over `epochs` of `batches`.

    The epochs are as many as come nearest to the budget of `config.crops` for n recordings.
    """

    def __init__(self, module: nn.Module, n: int, config: TrainConfig) -> None:
        self.parameters = list(module.parameters())
        self.batches = max(1, n // config.batch)  # a small last batch would upset BatchNorm
        self.crops = self.batches * min(config.batch, n)  # of an epoch
        self.epochs = max(1, round(config.crops / self.crops))
        rate, decay = config.learning_rate, config.weight_decay
        self.adamw = torch.optim.AdamW(self.parameters, rate, weight_decay=decay)
        steps = self.epochs * self.batches
        self.schedule = LambdaLR(self.adamw, lambda step: one_cycle(step / steps))

    def progress(self, label: str, hide: bool = False) -> tqdm:
        """Return a bar of all crops."""
        total = self.epochs * self.crops
        return tqdm(total=total, unit="crop", desc=label, disable=hide, mininterval=1)

    def shuffled(self, rows: np.ndarray, generator: torch.Generator) -> Iterator[np.ndarray]:
        """Yield the rows of each batch of an epoch."""
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        yield from np.array_split(order[: self.crops], self.batches)

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of the loss."""
        self.adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adamw.step()
        self.schedule.step()

    def rate(self) -> float:
        """Return the learning rate of the next step."""
        return self.schedule.get_last_lr()[0]
