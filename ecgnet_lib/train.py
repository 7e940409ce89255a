"""Training: random crops, two losses in a row, one-cycle AdamW, the best epoch kept.

Crops of 2.5 s are drawn anew each time a recording is seen; at test time the probabilities of
evenly spaced crops are averaged. The validation set alone decides which epoch is kept.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from tqdm.auto import tqdm

from ecgnet_lib.errors import SignalError
from ecgnet_lib.labels import DISEASES
from ecgnet_lib.model import FoundationalECGNet, predict

MIN_CHOICE = 5  # positives, and negatives, from which on a class has a say in the choice of epoch


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
    seed: int = 0

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Labels:
    """What the two stages learn from: abnormal (N,) and diseases (N, 5), float32 in {0, 1}.

    known (N,) is False where nobody said normal or abnormal; such a recording trains stage 2 only
    when it carries a disease.
    """

    abnormal: np.ndarray
    diseases: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> Labels:
        """Take the labels from a table of recordings (columns of `labels.py`)."""
        return cls(
            table["abnormal"].fillna(False).to_numpy(np.float32),
            table[list(DISEASES)].to_numpy(np.float32),
            table["abnormal"].notna().to_numpy(),
        )


def two_stage_loss(
    logits: tuple[Tensor, Tensor], abnormal: Tensor, diseases: Tensor, known: Tensor, head: str
) -> Tensor:
    """Cross-entropy of stage 1 where it is known, plus that of stage 2 among the abnormal.

    abnormal, known: (B,); diseases: (B, 5). The softmax head learns from recordings with exactly
    one disease; the one-stage head from all whose labels are known. A part without any recording in
    the batch adds zero.
    """
    stage1, stage2 = logits
    part1 = F.binary_cross_entropy_with_logits(stage1, abnormal, reduction="none")
    loss = (part1 * known).sum() / known.sum().clamp(min=1)
    if head == "softmax":
        chosen = diseases.sum(1) == 1
        part2 = F.cross_entropy(stage2, diseases.argmax(1), reduction="none")
    else:
        chosen = (abnormal > 0) | (known > 0) if head == "one-stage" else abnormal > 0
        part2 = F.binary_cross_entropy_with_logits(stage2, diseases, reduction="none").sum(1)
    return loss + (part2 * chosen).sum() / chosen.sum().clamp(min=1)


def augment(
    x: Tensor, config: TrainConfig, fs_hz: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary crops (B, L, T) in ways a real recording varies; return them and `present` (B, L).

    Gain (electrode contact, body build), white noise, a slow wander of the baseline, and leads
    that are missing. At least one lead always stays.
    """
    batch, leads, length = x.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    x = x * (1 + config.gain * (2 * uniform(batch, 1, 1) - 1))
    x = x + config.noise_mv * uniform(batch, 1, 1) * torch.randn(x.shape, generator=generator)
    t = torch.arange(length) / fs_hz
    rate_hz, phase = 0.1 + 0.3 * uniform(batch, leads, 1), uniform(batch, leads, 1)
    x = x + config.wander_mv * uniform(batch, leads, 1) * torch.sin(
        2 * torch.pi * (rate_hz * t + phase)
    )
    present = uniform(batch, leads) >= config.lead_dropout * uniform(batch, 1) * 2
    present[torch.arange(batch), torch.randint(leads, (batch,), generator=generator)] = True
    return x, present


def predict_crops(
    model: nn.Module,
    signals: np.ndarray,
    crop_s: float = 2.5,
    present: np.ndarray | None = None,
    batch: int = 128,
) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of half-overlapping crops over each recording.

    signals: (N, 12, T) mV; present: (N, 12), False where a lead is missing. Returns P(abnormal)
    (N,) and joint P(disease) (N, 5), float32. The last crop ends with the recording. Raises
    SignalError when T is shorter than a crop.
    """
    length, total = round(crop_s * model.config.fs_hz), signals.shape[-1]
    if total < length:
        raise SignalError(
            "the recording is shorter than one crop",
            expected=f"at least {crop_s} s",
            found=f"{total / model.config.fs_hz:.2f} s",
        )
    count = 1 + -(-2 * (total - length) // length)  # ceil: neighbours overlap by half or more
    starts = np.linspace(0, total - length, count).round().astype(int)
    was_training = model.training
    model.eval()
    abnormal, diseases = [], []
    for begin in range(0, len(signals), batch):
        x = torch.from_numpy(np.ascontiguousarray(signals[begin : begin + batch]))
        here = None if present is None else torch.from_numpy(present[begin : begin + batch])
        parts = [predict(model, x[..., start : start + length], here) for start in starts]
        abnormal.append(torch.stack([p for p, _ in parts]).mean(0))
        diseases.append(torch.stack([q for _, q in parts]).mean(0))
    model.train(was_training)
    return torch.cat(abnormal).numpy(), torch.cat(diseases).numpy()


def macro_auc(labels: Labels, rows: np.ndarray, abnormal: np.ndarray, diseases: np.ndarray
              ) -> float:  # fmt: skip
    """Mean AUC over abnormal and every disease with enough recordings of both kinds in `rows`.

    Enough is MIN_CHOICE: with a single positive the AUC is a matter of luck, and luck would choose
    the epoch. NaN when no column has enough.
    """
    scores = []
    known = labels.known[rows]
    columns = [(labels.abnormal[rows][known], abnormal[known])]
    columns += [(labels.diseases[rows, c], diseases[:, c]) for c in range(len(DISEASES))]
    for truth, score in columns:
        if MIN_CHOICE <= truth.sum() <= len(truth) - MIN_CHOICE:
            scores.append(roc_auc_score(truth, score))
    return float(np.mean(scores)) if scores else float("nan")


def one_cycle(progress: float, warm: float = 0.25) -> float:
    """Return the share of the peak learning rate at `progress` in [0, 1] of the training.

    Linear from 1/25 to 1 during the first quarter, then a cosine down to zero (Smith and Topin
    2019, with the shape of PyTorch's OneCycleLR).
    """
    if progress < warm:
        return 0.04 + 0.96 * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def fit(
    signals: np.ndarray,
    labels: Labels,
    train: np.ndarray,
    val: np.ndarray,
    make: Callable[[], nn.Module] = FoundationalECGNet,
    config: TrainConfig | None = None,
    initial: nn.Module | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train on the rows `train`, keep the epoch that is best on the rows `val`.

    signals: (N, 12, T) float32 mV at the model's rate. make: builds the network, ours or a
    baseline: a module with `config.fs_hz` and `config.head` that maps (B, 12, T) and present
    (B, 12) to the logits of both stages. initial: a network of the same kind whose weights are the
    start (pre-training); it is left as it is. Returns the model in eval mode and one row an epoch:
    epoch, loss, val_loss, val_auc (macro), learning_rate, seconds. The same seed on the same CPU
    with one thread gives the same bits.
    """
    config = config or TrainConfig()
    torch.manual_seed(config.seed)  # weights and dropout
    generator = torch.Generator().manual_seed(config.seed)  # order, crops, augmentation
    model = make()
    if initial is not None:
        model.load_state_dict(initial.state_dict())
    fs_hz, head = model.config.fs_hz, model.config.head
    length = round(config.crop_s * fs_hz)
    batches = max(1, len(train) // config.batch)  # a last small batch would upset BatchNorm
    epochs = max(1, round(config.crops / (batches * min(config.batch, len(train)))))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: one_cycle(step / (epochs * batches))
    )
    truth = [torch.from_numpy(a) for a in (labels.abnormal, labels.diseases, labels.known)]

    def loss_of(logits: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
        return two_stage_loss(logits, *(part[rows] for part in truth), head)

    val_rows = torch.from_numpy(np.asarray(val))
    last_start = signals.shape[-1] - length
    val_crops = torch.from_numpy(signals[val][..., last_start // 2 : last_start // 2 + length])
    history, best, best_auc = [], copy.deepcopy(model.state_dict()), -1.0
    began = time.perf_counter()
    for epoch in tqdm(range(epochs), desc="epochs", unit="epoch"):
        model.train()
        order = torch.from_numpy(np.asarray(train))[torch.randperm(len(train), generator=generator)]
        total = 0.0
        for rows in order[: batches * config.batch].chunk(batches):
            starts = torch.randint(last_start + 1, (len(rows),), generator=generator)
            cut = zip(rows.tolist(), starts.tolist(), strict=True)
            crops = np.stack([signals[row, :, start : start + length] for row, start in cut])
            x, present = augment(torch.from_numpy(crops), config, fs_hz, generator)
            loss = loss_of(model(x, present), rows)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val_loss = loss_of(model(val_crops), val_rows).item()
        auc = macro_auc(labels, val, *predict_crops(model, signals[val], config.crop_s))
        history.append((epoch + 1, total / batches, val_loss, auc,
                        schedule.get_last_lr()[0], time.perf_counter() - began))  # fmt: skip
        if auc > best_auc:  # NaN never wins
            best, best_auc = copy.deepcopy(model.state_dict()), auc
    if best_auc >= 0:
        model.load_state_dict(best)
    columns = ["epoch", "loss", "val_loss", "val_auc", "learning_rate", "seconds"]
    return model.eval(), pd.DataFrame(history, columns=columns)
