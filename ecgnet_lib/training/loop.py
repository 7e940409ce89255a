"""Training: random crops, two-stage loss, one-cycle AdamW; the best epoch is kept.

Crops of 2.5 s are drawn anew each time a recording is seen; at test time the probabilities of
evenly spaced crops are averaged. The validation set alone decides which epoch is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import (
    Signals,
    batch_getter,
    crop_length,
    device,
    predict_crops,
    take_crops,
)
from ecgnet_lib.training.config import OneCycleAdamW, TrainConfig, augment
from ecgnet_lib.training.distributed import ProcessGroup, process_group
from ecgnet_lib.training.loss import (
    DISTILLATION_WEIGHT,
    Labels,
    distillation_loss,
    macro_auc,
    two_stage_loss,
)

HISTORY = ["epoch", "loss", "val_loss", "val_auc", "learning_rate", "seconds"]
READ = 128  # recordings of the validation set in memory at a time


def fit(
    signals: Signals,
    labels: Labels,
    train: np.ndarray,
    val: np.ndarray,
    make: Callable[[], nn.Module] = FoundationalECGNet,
    config: TrainConfig | None = None,
    initial: nn.Module | None = None,
    soft_labels: np.ndarray | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train on the rows `train`, keep the epoch that is best on the rows `val`.

    signals: (N, 12, T) float32 mV at the model's rate, or an Archive. make: builds the network, a
    module with `config.fs_hz` and `config.head` that maps (B, 12, T) and present (B, 12) to the
    logits of both stages. initial: a network of the same kind whose weights are the start; it is
    left as it is. soft_labels: (N, 6) from `out_of_bag_soft_labels`, learned beside the labels, in
    shares of DISTILLATION_WEIGHT. Returns the model on the CPU in eval mode and one row an epoch:
    epoch, loss, val_loss (middle crops), val_auc (macro, of crops side by side), learning_rate,
    seconds.

    The same seed on the same CPU with one thread gives the same bits. On a GPU the network runs in
    bfloat16. Under `torchrun` all processes train one network, see `distributed.py`. Raises
    ConfigError without recordings, SignalError when they are shorter than a crop.
    """
    config, group = config or TrainConfig(), process_group()
    train, val = np.asarray(train), np.asarray(val)
    if not len(train) or not len(val):
        found = f"{len(train)} and {len(val)} recordings"
        raise ConfigError("training and validation need recordings", found=found)
    torch.manual_seed(config.seed)  # weights and dropout
    generator = torch.Generator().manual_seed(config.seed)  # order, crops, augmentation
    model = make()
    if initial is not None:
        model.load_state_dict(initial.state_dict())
    net = group.parallel(model.to(device()))
    fs_hz, head, gpu = model.config.fs_hz, model.config.head, device().type == "cuda"
    get = batch_getter(signals)
    length = crop_length(get(train[:1]).shape[-1], config.crop_s, fs_hz)
    optimizer = OneCycleAdamW(model, len(train), config)
    ema = averaged(model, config.ema) if config.ema else None
    kept = ema.module if ema else model  # the network that is validated
    best, best_auc, history, began = None, -1.0, [], time.perf_counter()
    bar = optimizer.progress("training", hide=group.rank > 0)
    for epoch in range(1, optimizer.epochs + 1):
        model.train()
        total = 0.0
        for rows in optimizer.shuffled(train, generator):
            crops = random_crops(get(rows), length, generator)  # (B, 12, length)
            x, present = augment(crops, config, fs_hz, generator)
            mine = group.batch_slice(len(rows))  # all of them, where one process works alone
            with torch.autocast(device().type, torch.bfloat16, enabled=gpu):
                logits = net(x[mine].to(device()), present[mine].to(device()))
            logits = tuple(group.all_gather(part.float()) for part in logits)  # (B,), (B, 5)
            truth = labels.tensors(rows, device())
            loss = two_stage_loss(logits, *truth, head, config.focal_gamma)
            if soft_labels is not None:
                soft = torch.from_numpy(soft_labels[rows]).to(device())  # (B, 6)
                distilled = distillation_loss(logits, soft, head)
                loss = (1 - DISTILLATION_WEIGHT) * loss + DISTILLATION_WEIGHT * distilled
            optimizer.step(loss * group.world_size)  # of which DDP takes the mean
            if ema:
                ema.update_parameters(model)
            total += loss.item()
            bar.update(len(rows))
        val_loss, auc = validate(kept, signals, labels, val, config, group)
        seconds = time.perf_counter() - began
        mean = total / optimizer.batches
        history.append((epoch, mean, val_loss, auc, optimizer.rate(), seconds))
        bar.set_postfix(epoch=epoch, val_auc=f"{auc:.3f}")
        if auc > best_auc:  # never for NaN
            best_auc = auc
            best = {name: value.cpu().clone() for name, value in kept.state_dict().items()}
    bar.close()
    model.load_state_dict(best or kept.state_dict())
    return model.cpu().eval(), pd.DataFrame(history, columns=HISTORY)


def random_crops(recordings: np.ndarray, length: int, generator: torch.Generator) -> Tensor:
    """Take a crop of each recording (B, 12, T) at a random start: (B, 12, length)."""
    latest = recordings.shape[-1] - length
    starts = torch.randint(latest + 1, (len(recordings),), generator=generator)
    return take_crops(recordings, starts.tolist(), length)


@torch.no_grad()
def validate(
    model: nn.Module,
    signals: Signals,
    labels: Labels,
    val: np.ndarray,
    config: TrainConfig,
    group: ProcessGroup,
) -> tuple[float, float]:
    """Return the loss on the middle crops of the rows `val`, and the macro AUC over all crops."""
    model.eval()
    get, rows, logits = batch_getter(signals), group.padded_rows(val), []
    for begin in range(0, len(rows), READ):
        part = get(rows[begin : begin + READ])
        length = round(config.crop_s * model.config.fs_hz)
        x = take_crops(part, [(part.shape[-1] - length) // 2] * len(part), length)
        logits.append(model(x.to(device()), None))
    logits = [group.all_gather(torch.cat(part))[: len(val)] for part in zip(*logits, strict=True)]
    truth = labels.tensors(val, device())
    loss = two_stage_loss(logits, *truth, model.config.head, config.focal_gamma)
    scores = predict_crops(model, signals, config.crop_s, rows=rows, overlap=0)
    p, q = (group.all_gather(torch.from_numpy(part))[: len(val)].numpy() for part in scores)
    return loss.item(), macro_auc(labels, val, p, q)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a network, to be updated after each step.

    The decay is (1 + n) / (10 + n) after n steps, at most `decay`: a short training would otherwise
    keep its random start. BatchNorm's running statistics are averaged too.
    """

    def move(average: list[Tensor], now: list[Tensor], count: Tensor) -> None:
        if not average[0].is_floating_point():  # counts and masks are copied
            torch._foreach_copy_(average, now)
            return
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(average, now, count)

    return AveragedModel(model, multi_avg_fn=move, use_buffers=True)
