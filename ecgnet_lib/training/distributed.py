"""Several processes that train one network: a script under `torchrun` gives what one gives.

Every process draws the same order, crops and augmentation, takes its share of each batch, and
learns the logits of all. The loss is that of the whole batch; the gradients are averaged by
PyTorch's DistributedDataParallel. What would still differ from one process is BatchNorm, whose
statistics are therefore shared (`shared_batch_norm`), and dropout, which every process draws for
itself. Without dropout the losses are equal up to rounding.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.inference import device


@dataclass(frozen=True)
class Team:
    """The processes that work together: `rank` is this one's number, `size` how many there are."""

    rank: int = 0
    size: int = 1

    def part(self, count: int) -> slice:
        """Return which of `count` crops of a batch are this process's; ConfigError if uneven."""
        if count % self.size:
            raise ConfigError(
                "the batch cannot be shared evenly", expected=f"a multiple of {self.size}",
                found=count, remedy="choose another batch or another number of processes",
            )  # fmt: skip
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return this process's rows; the last ones repeat some where the division is uneven."""
        padded = np.resize(rows, -(-len(rows) // self.size) * self.size)
        return padded[self.part(len(padded))]

    def gather(self, x: Tensor) -> Tensor:
        """Put the parts of all processes, of equal shape, one after the other.

        Gradients flow into this process's own part alone: the sum over processes is the gradient.
        """
        if self.size == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.detach().contiguous())
        parts[self.rank] = x
        return torch.cat(parts)


def team() -> Team:
    """Return the processes of this run; alone without `torchrun`.

    Under `torchrun` the first call starts communication (Gloo for CPUs, NCCL for GPUs), which lasts
    until the process ends. Raises ConfigError when the processes cannot find each other.
    """
    if not dist.is_available():
        return Team()
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(device())
        try:
            dist.init_process_group()
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                "the processes cannot find each other", found=error,
                expected="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them",
                remedy="start the script with torchrun, or unset WORLD_SIZE",
            ) from error  # fmt: skip
        atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Team()


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm (Ioffe and Szegedy 2015, algorithm 1) over the parts of all processes.

    The parts have equal size. PyTorch's SyncBatchNorm needs a GPU and puts itself in the place of
    subclasses with a forward of their own; this one also stands below them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, ...)."""
        if not self.training:
            return super().forward(x)
        others = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        n = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _Sum.apply(x.float().sum(others)) / n
        centred = x.float() - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others)) / n
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        unit = centred * torch.rsqrt(variance + self.eps).view(shape)
        return (unit * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)


@contextmanager
def shared_batch_norm(model: nn.Module, size: int) -> Iterator[None]:
    """Let every BatchNorm of a model normalise over all `size` processes while in this context."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    classes = [type(norm) for norm in norms]
    try:
        for norm, kind in zip(norms, classes, strict=True):
            if size > 1:  # behind its own class, so that a subclass's forward comes first
                norm.__class__ = type(kind.__name__, (kind, SharedBatchNorm), {})
        yield
    finally:
        for norm, kind in zip(norms, classes, strict=True):
            norm.__class__ = kind
