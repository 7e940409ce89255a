"""Training: random crops, two losses in a row, one-cycle AdamW, the best epoch kept.

Crops of 2.5 s are drawn anew each time a recording is seen; at test time the probabilities of
evenly spaced crops are averaged. The validation set alone decides which epoch is kept. The losses
are in `train_loss.py`, settings and augmentation in `train_plan.py`, crops in `crops.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.checkpoint import digest, load_state, save_state
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.inference import Signals, crop_length, cut, predict_crops, reader
from ecgnet_lib.training.config import TrainConfig, augment, one_cycle
from ecgnet_lib.training.distributed import device, shared_batch_norm, team
from ecgnet_lib.training.loss import TEACHER, Labels, macro_auc, taught_loss, two_stage_loss

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
    resume: str | Path | None = None,
    teacher: np.ndarray | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train on the rows `train`, keep the epoch that is best on the rows `val`.

    signals: (N, 12, T) float32 mV at the model's rate, or an archive of them, see `crops.py`. make:
    builds the network, ours or a baseline: a module with `config.fs_hz` and `config.head` that maps
    (B, 12, T) and present (B, 12) to the logits of both stages. initial: a network of the same kind
    whose weights are the start (pre-training); it is left as it is. resume: a file for the state
    after each epoch; the same call goes on from it, and after the end returns at once what was
    trained. teacher: (N, 6) what `teacher.teach` believes of the rows `train`; the network then
    learns from beliefs and labels, see `train_loss.TEACHER`. Returns the model on the CPU in eval
    mode and one row an epoch: epoch, loss, val_loss, val_auc (macro, of crops side by side),
    learning_rate, seconds.

    The same seed on the same CPU with one thread gives the same bits, interrupted or not. On a GPU
    the network trains in bfloat16. Under `torchrun` each process takes its share of every batch,
    see `distributed.py`. Raises ConfigError for an empty set or the state of another training,
    SignalError when recordings are shorter than a crop.
    """
    config = config or TrainConfig()
    if not len(train) or not len(val):
        found = f"{len(train)} and {len(val)} recordings"
        raise ConfigError("training and validation need recordings", found=found)
    torch.manual_seed(config.seed)  # weights and dropout
    model = make()
    if initial is not None:
        model.load_state_dict(initial.state_dict())
    run = Run(model, signals, labels, np.asarray(train), np.asarray(val), config, teacher)
    about = run.about() if resume else {}
    if resume and Path(resume).exists():
        run.restore(load_state(Path(resume), about))
    with shared_batch_norm(model, run.team.size), run.progress() as bar:
        while not run.finished():
            run.epoch(bar)
            if resume:
                state = run.state()
                if run.team.rank == 0:
                    save_state(Path(resume), about, state)
    return run.result(), pd.DataFrame(run.history, columns=HISTORY)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a network, to be updated after each step.

    The decay starts at 0.1 and grows to `decay`, (1 + n) / (10 + n) after n steps: a short training
    would otherwise remember its random start. BatchNorm's running statistics are averaged too; they
    are averages of the same kind, of nearly the same weights.
    """

    def move(average: list[Tensor], now: list[Tensor], count: Tensor) -> None:
        if not average[0].is_floating_point():  # counts and masks are not averaged but copied
            torch._foreach_copy_(average, now)
            return
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(average, now, count)

    return AveragedModel(model, multi_avg_fn=move, use_buffers=True)


class Run:
    """A training under way: the network, what moves it, what it went through, its best epoch."""

    def __init__(
        self,
        model: nn.Module,
        signals: Signals,
        labels: Labels,
        train: np.ndarray,
        val: np.ndarray,
        config: TrainConfig,
        teacher: np.ndarray | None,
    ) -> None:
        self.signals, self.read, self.labels = signals, reader(signals), labels
        self.train, self.val, self.config, self.teacher = train, val, config, teacher
        self.team, self.device, self.fs_hz = team(), device(), model.config.fs_hz
        self.leads, total = self.read(train[:1]).shape[1:]
        self.length = crop_length(total, config.crop_s, self.fs_hz)
        self.last_start = total - self.length
        self.batches = max(1, len(train) // config.batch)  # a last small one would upset BatchNorm
        self.seen = self.batches * min(config.batch, len(train))  # crops in an epoch
        self.epochs = max(1, round(config.crops / self.seen))
        self.generator = torch.Generator().manual_seed(config.seed)  # order, crops, augmentation
        self.model = model.to(self.device)
        self.net = model  # what a step calls
        if self.team.size > 1:
            self.net = DistributedDataParallel(model)
            if self.team.rank:
                torch.manual_seed(config.seed + self.team.rank)  # another dropout than its peers'
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.ema = averaged(model, config.ema) if config.ema else None
        self.steps, self.history = 0, []
        self.best, self.best_auc, self.best_epoch = None, -1.0, 0
        self.before = 0.0  # seconds spent before an interruption
        self.began = time.perf_counter()

    def progress(self) -> tqdm:
        """Return a bar of crops with their rate and the time left; the first process shows it."""
        return tqdm(
            total=self.epochs * self.seen, initial=len(self.history) * self.seen, unit="crop",
            desc="training", disable=self.team.rank > 0, mininterval=1,
        )  # fmt: skip

    def finished(self) -> bool:
        """Tell whether all epochs are done, or too many went by without a better one."""
        waited = len(self.history) - self.best_epoch
        stop = self.config.patience and self.best_epoch and waited >= self.config.patience
        return bool(stop) or len(self.history) >= self.epochs

    def loss(self, logits: tuple[Tensor, Tensor], rows: np.ndarray) -> Tensor:
        """Return the loss of the logits of some rows."""
        labels, head = self.labels, self.model.config.head
        truth = (torch.from_numpy(part[rows]).to(self.device)
                 for part in (labels.abnormal, labels.diseases, labels.known))  # fmt: skip
        return two_stage_loss(logits, *truth, head, self.config.focal_gamma)

    def rate(self) -> float:
        """Return the learning rate of the next step."""
        return self.config.learning_rate * one_cycle(self.steps / (self.epochs * self.batches))

    def epoch(self, bar: tqdm) -> None:
        """See every training recording once, then look at the validation set."""
        self.model.train()
        order = torch.from_numpy(self.train)
        order = order[torch.randperm(len(order), generator=self.generator)]
        total = 0.0
        for rows in order[: self.batches * self.config.batch].chunk(self.batches):
            total += self.step(rows)
            bar.update(len(rows))
        val_loss, auc = self.validate()
        seconds = self.before + time.perf_counter() - self.began
        self.history.append([len(self.history) + 1, total / self.batches, val_loss, auc,
                             self.rate(), seconds])  # fmt: skip
        bar.set_postfix(epoch=len(self.history), val_auc=f"{auc:.3f}")
        if auc > self.best_auc:  # NaN never wins
            kept = self.judged().state_dict().items()
            self.best = {name: value.detach().cpu().clone() for name, value in kept}
            self.best_auc, self.best_epoch = auc, len(self.history)

    def step(self, rows: Tensor) -> float:
        """Take one step on a crop of each of these recordings, and return the loss."""
        starts = torch.randint(self.last_start + 1, (len(rows),), generator=self.generator)
        mine = self.team.part(len(rows))  # all of them, where one process works alone
        crops = torch.zeros(len(rows), self.leads, self.length)
        crops[mine] = cut(self.read(rows[mine].numpy()), starts[mine].tolist(), self.length)
        x, present = augment(crops, self.config, self.fs_hz, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.net(x[mine].to(self.device), present[mine].to(self.device))
        logits = tuple(self.team.gather(part.float()) for part in logits)
        loss = self.loss(logits, rows.numpy())
        if self.teacher is not None:
            beliefs = torch.from_numpy(self.teacher[rows.numpy()]).to(self.device)
            taught = taught_loss(logits, beliefs, self.model.config.head)
            loss = (1 - TEACHER) * loss + TEACHER * taught
        self.optimizer.zero_grad()
        (loss * self.team.size).backward()  # of which each process has a part, and DDP the mean
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.steps += 1
        if self.ema:
            self.ema.update_parameters(self.model)
        return loss.item()

    def judged(self) -> nn.Module:
        """Return the network that validation judges: the averaged one where there is one."""
        return self.ema.module if self.ema else self.model

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Return the loss on the middle crops of the validation set, and its macro AUC."""
        model, rows, n = self.judged().eval(), self.team.share(self.val), len(self.val)
        logits = []
        for begin in range(0, len(rows), READ):
            some = self.read(rows[begin : begin + READ])
            x = cut(some, [self.last_start // 2] * len(some), self.length)
            logits.append(model(x.to(self.device), None))
        middle = [self.team.gather(torch.cat(part))[:n] for part in zip(*logits, strict=True)]
        scores = predict_crops(model, self.signals, self.config.crop_s, rows=rows, overlap=0)
        p, q = (self.team.gather(torch.from_numpy(part))[:n].numpy() for part in scores)
        return self.loss(middle, self.val).item(), macro_auc(self.labels, self.val, p, q)

    def result(self) -> nn.Module:
        """Return the network of the best epoch, of the last one where none could be judged."""
        self.model.load_state_dict(self.best or self.judged().state_dict())
        return self.model.cpu().eval()

    def about(self) -> dict:
        """Return what makes another training out of this one: a state must agree in all of it."""
        rows = np.concatenate([self.train, self.val])
        parts = (self.read(rows[i : i + READ]) for i in range(0, len(rows), READ))
        truth = (self.labels.abnormal, self.labels.diseases, self.labels.known)
        return {
            "train_config": self.config.to_dict(),
            "first weights": digest(
                value.cpu().numpy() for value in self.model.state_dict().values()
            ),
            "rows": digest([self.train, self.val]),
            "labels": digest(part[rows] for part in truth),
            "signals": digest(parts),
            "teacher": None if self.teacher is None else digest([self.teacher[self.train]]),
            "processes": self.team.size,
        }

    def state(self) -> dict:
        """Return all that the next epoch depends on. Every process must take part."""
        gpu = self.device.type == "cuda"
        random = torch.cuda.get_rng_state(self.device) if gpu else torch.get_rng_state()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "generator": self.generator.get_state(),
            "random": self.team.gather(random.unsqueeze(0)),  # of dropout, by process
            "counts": [self.steps, self.best_epoch],
            "best": self.best,
            "best_auc": self.best_auc,
            "history": self.history,
        }

    def restore(self, state: dict) -> None:
        """Go back to where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.generator.set_state(state["generator"])
        random = state["random"][self.team.rank].clone()  # PyTorch fails on a view
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(random, self.device)
        else:
            torch.set_rng_state(random)
        self.steps, self.best_epoch = state["counts"]
        self.best, self.best_auc = state["best"], state["best_auc"]
        self.history = state["history"]
        self.before = self.history[-1][-1]
