"""Pre-training without labels: hide values, and learn to predict them.

Zerveas et al. (KDD 2021, "Unsupervised pre-training"): the hidden values form spans of geometric
length, each variable has spans of its own, and the error counts on hidden values only. Ours: a span
is made of whole tokens (their 3 samples would be 30 ms here, which a straight line fills in), and
the six limb leads share their spans, because any two of them give the other four by arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals, batch_getter, crop_length, device
from ecgnet_lib.network.tst import MaskedValueHead
from ecgnet_lib.training.config import OneCycleAdamW, TrainConfig
from ecgnet_lib.training.loop import random_crops

SHARE = 0.25  # of the tokens are hidden
SPAN_TOKENS = 3  # hidden in a row, on average: 300 ms
GROUPS = (0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6)  # leads of one group share their spans


def spans(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw which tokens are hidden, a bool tensor of `shape` (..., P).

    A chain of two states along the tokens: a span ends with probability 1 / SPAN_TOKENS and begins
    with SHARE / (1 - SHARE) / SPAN_TOKENS, so that SHARE of the tokens is hidden on average.
    """
    ends, begins = 1 / SPAN_TOKENS, SHARE / (1 - SHARE) / SPAN_TOKENS
    draw = torch.rand(*shape, generator=generator)
    hidden = draw < SHARE
    for p in range(1, shape[-1]):
        stays, starts = draw[..., p] >= ends, draw[..., p] < begins
        hidden[..., p] = torch.where(hidden[..., p - 1], stays, starts)
    return hidden


def hidden_error(predicted: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the samples where `hidden`; all are (B, L, T)."""
    return ((predicted - truth).square() * hidden).sum() / hidden.sum().clamp(min=1)


def pretrain(
    signals: Signals,
    rows: np.ndarray,
    make: Callable[[], nn.Module] = FoundationalECGNet,
    config: TrainConfig | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a network to predict hidden values of the recordings `rows`.

    signals: denoised, as for `fit`. make: builds a network with a transformer, `tst`, over its
    tokens. Of config, budget, crops, optimiser and seed count: nothing is augmented. Returns the
    network, for `fit(initial=...)`, and one row an epoch: epoch, loss (mean squared error of hidden
    samples in units of `scale_mv`), mean_loss (the error of predicting the mean of the hidden
    samples), learning_rate, seconds. One process; the same seed on the same CPU with one thread
    gives the same bits. Raises ConfigError without recordings or without a transformer, SignalError
    for recordings shorter than a crop.
    """
    config, rows, get = config or TrainConfig(), np.asarray(rows), batch_getter(signals)
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    net = make()
    if not len(rows) or getattr(net, "tst", None) is None:
        found = f"{len(rows)} recordings and {type(net).__name__}"
        raise ConfigError("pre-training needs recordings and a transformer", found=found)
    leads, total = get(rows[:1]).shape[1:]
    length = crop_length(total, config.crop_s, net.config.fs_hz)
    encoded: list[Tensor] = []  # the last output of the transformer
    hook = net.tst.register_forward_hook(lambda module, given, tokens: encoded.append(tokens))
    with torch.no_grad():
        net.eval()(torch.zeros(1, leads, length))
    _, count, width = encoded.pop().shape
    head = MaskedValueHead(width, leads, length // count)
    learner = nn.ModuleList([net, head]).to(device()).train()
    optimizer = OneCycleAdamW(learner, len(rows), config)
    history, began, gpu = [], time.perf_counter(), device().type == "cuda"
    bar = optimizer.progress("pre-training")
    for epoch in range(1, optimizer.epochs + 1):
        sums = np.zeros(2)
        for some in optimizer.shuffled(rows, generator):
            truth = random_crops(get(some), length, generator)  # (B, L, T)
            by_group = spans((len(some), max(GROUPS) + 1, count), generator)
            hidden = by_group[:, GROUPS].repeat_interleave(length // count, dim=-1)  # (B, L, T)
            truth, hidden = truth.to(device()), hidden.to(device())
            with torch.autocast(device().type, torch.bfloat16, enabled=gpu):
                net(truth * ~hidden)
                predicted = head(encoded.pop())
            truth = truth / net.config.scale_mv
            loss = hidden_error(predicted.float(), truth, hidden)
            optimizer.step(loss)
            sums += loss.item(), truth[hidden].var(unbiased=False).item()
            bar.update(len(some))
        means, seconds = sums / optimizer.batches, time.perf_counter() - began
        history.append((epoch, *means, optimizer.rate(), seconds))
        bar.set_postfix(epoch=epoch, loss=f"{means[0]:.3f}")
    bar.close()
    hook.remove()
    columns = ["epoch", "loss", "mean_loss", "learning_rate", "seconds"]
    return net.cpu().eval(), pd.DataFrame(history, columns=columns)
