"""Pre-training without labels: hide values, and learn to say what they were.

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
from tqdm.auto import tqdm

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals, crop_length, cut, reader
from ecgnet_lib.network.tst import MaskedValueHead
from ecgnet_lib.training.config import TrainConfig, one_cycle
from ecgnet_lib.training.distributed import device

SHARE = 0.25  # of the tokens are hidden
SPAN_TOKENS = 3  # hidden in a row, on average: 300 ms
GROUPS = (0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6)  # leads of one group share their spans


def spans(
    shape: tuple[int, ...],
    generator: torch.Generator,
    share: float = SHARE,
    mean_length: float = SPAN_TOKENS,
) -> Tensor:
    """Draw which tokens are hidden, a bool tensor of `shape` (..., P).

    A chain of two states along the tokens: a span ends with probability 1 / mean_length and begins
    with share / (1 - share) / mean_length, so that `share` of the tokens is hidden on average.
    """
    ends, begins = 1 / mean_length, share / (1 - share) / mean_length
    draw = torch.rand(*shape, generator=generator)
    hidden = draw < share
    for p in range(1, shape[-1]):
        stays, starts = draw[..., p] >= ends, draw[..., p] < begins
        hidden[..., p] = torch.where(hidden[..., p - 1], stays, starts)
    return hidden


def hidden_error(said: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the samples where `hidden`; all are (B, L, T)."""
    return ((said - truth).square() * hidden).sum() / hidden.sum().clamp(min=1)


def pretrain(
    signals: Signals,
    rows: np.ndarray,
    make: Callable[[], nn.Module] = FoundationalECGNet,
    config: TrainConfig | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a network to fill in hidden values of the recordings `rows`.

    signals: denoised, as for `train.fit`; labels are not needed. make: builds a network with a
    transformer, `tst`, over its tokens. Of config, the budget, crops, optimiser and seed count:
    nothing is augmented. Returns the network, for `train.fit(initial=...)`, and one row an epoch:
    epoch, loss (mean squared error of hidden samples in units of `scale_mv`), mean_loss (the error
    of saying the mean of the hidden samples), learning_rate, seconds. One process; the same seed on
    the same CPU with one thread gives the same bits.

    Raises ConfigError without recordings or without a transformer, SignalError for recordings
    shorter than a crop.
    """
    config = config or TrainConfig()
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    net, rows, read = make(), np.asarray(rows), reader(signals)
    if not len(rows) or getattr(net, "tst", None) is None:
        raise ConfigError(
            "pre-training needs recordings, and a network with a transformer",
            found=f"{len(rows)} recordings and {type(net).__name__}",
        )
    leads, total = read(rows[:1]).shape[1:]
    length = crop_length(total, config.crop_s, net.config.fs_hz)
    seen: list[Tensor] = []  # what the transformer said last
    hook = net.tst.register_forward_hook(lambda module, given, tokens: seen.append(tokens))
    with torch.no_grad():
        net.eval()(torch.zeros(1, leads, length))
    _, count, width = seen.pop().shape
    head = MaskedValueHead(width, leads, length // count)
    learner = nn.ModuleList([net, head]).to(device()).train()
    batches = max(1, len(rows) // config.batch)
    per_epoch = batches * min(config.batch, len(rows))
    epochs = max(1, round(config.crops / per_epoch))
    optimizer = torch.optim.AdamW(
        learner.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history, began, steps = [], time.perf_counter(), 0
    with tqdm(total=epochs * per_epoch, unit="crop", desc="pre-training", mininterval=1) as bar:
        for epoch in range(epochs):
            sums = np.zeros(2)
            order = torch.randperm(len(rows), generator=generator)[: batches * config.batch]
            for some in order.chunk(batches):
                starts = torch.randint(total - length + 1, (len(some),), generator=generator)
                truth = cut(read(rows[some.numpy()]), starts.tolist(), length)
                by_group = spans((len(some), max(GROUPS) + 1, count), generator)
                hidden = by_group[:, GROUPS].repeat_interleave(length // count, dim=-1)
                truth, hidden = truth.to(device()), hidden.to(device())
                gpu = device().type == "cuda"
                with torch.autocast(device().type, torch.bfloat16, enabled=gpu):
                    net(truth * ~hidden)
                    said = head(seen.pop())
                truth = truth / net.config.scale_mv
                loss = hidden_error(said.float(), truth, hidden)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * one_cycle(steps / (epochs * batches))
                optimizer.step()
                steps += 1
                sums += loss.item(), truth[hidden].var(unbiased=False).item()
                bar.update(len(some))
            rate = config.learning_rate * one_cycle(steps / (epochs * batches))
            history.append((epoch + 1, *sums / batches, rate, time.perf_counter() - began))
            bar.set_postfix(epoch=epoch + 1, loss=f"{history[-1][1]:.3f}")
    hook.remove()
    columns = ["epoch", "loss", "mean_loss", "learning_rate", "seconds"]
    return net.cpu().eval(), pd.DataFrame(history, columns=columns)
