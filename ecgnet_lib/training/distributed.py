"""Several processes that train one network: `torchrun --nproc-per-node=2 script.py`.

Every process draws the same order, crops and augmentation, puts its slice of each batch through the
network and gathers the logits of all, so that the loss is that of the whole batch;
DistributedDataParallel averages the gradients. On GPUs BatchNorm sees the whole batch too; on CPUs
each process normalises its own slice, and the losses only come close to those of one process.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.inference import device


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training: `rank` is the number of this one, `world_size` that of all."""

    rank: int = 0
    world_size: int = 1

    def batch_slice(self, count: int) -> slice:
        """Return which of `count` crops are for this process; ConfigError if they are uneven."""
        if count % self.world_size:
            raise ConfigError(f"{self.world_size} processes cannot share {count} crops evenly")
        each = count // self.world_size
        return slice(self.rank * each, (self.rank + 1) * each)

    def padded_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows for this process; some come twice where the division is uneven."""
        padded = np.resize(rows, -(-len(rows) // self.world_size) * self.world_size)
        return padded[self.batch_slice(len(padded))]

    def all_gather(self, x: Tensor) -> Tensor:
        """Concatenate the x of all processes; the gradient flows into that of this one only."""
        if self.world_size == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.world_size)]
        dist.all_gather(parts, x.detach().contiguous())
        parts[self.rank] = x
        return torch.cat(parts)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return what a training step calls: the model, its gradients averaged over processes."""
        if self.world_size == 1:
            return model
        if device().type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        torch.manual_seed(torch.initial_seed() + self.rank)  # dropout
        return DistributedDataParallel(model)


def process_group() -> ProcessGroup:
    """Return the processes of this run: those that `torchrun` started, or this one alone.

    The first call starts communication (Gloo for CPUs, NCCL for GPUs), which lasts until the
    process ends. Raises ConfigError when the processes cannot find each other.
    """
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup()
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(device())
        try:
            dist.init_process_group()
        except (RuntimeError, ValueError) as error:
            remedy = "start the script with torchrun, or unset WORLD_SIZE"
            raise ConfigError("no other process", found=error, remedy=remedy) from error
        atexit.register(dist.destroy_process_group)
    return ProcessGroup(dist.get_rank(), dist.get_world_size())
