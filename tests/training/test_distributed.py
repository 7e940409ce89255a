"""Two processes under torchrun against one; what a rank does; BatchNorm on GPUs."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.training.distributed import ProcessGroup, process_group
from ecgnet_lib.training.loop import Labels, TrainConfig, fit

TINY = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1, dropout=0.0)


class WithoutBatchNorm(nn.Module):
    """A small network whose recordings do not see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(fs_hz=100, head="sigmoid")
        self.body = nn.Sequential(nn.Conv1d(12, 8, 9), nn.GELU(), nn.AdaptiveAvgPool1d(4))
        self.out = nn.Linear(32, 6)

    def forward(self, x, present=None):
        x = x if present is None else x * present.unsqueeze(-1)
        logits = self.out(self.body(x).flatten(1))
        return logits[:, 0], logits[:, 1:]


def work(folder: Path) -> None:
    """What a script under torchrun does; each process writes its findings to a file."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    n = 49
    signals = rng.standard_normal((n, 12, 250)).astype(np.float32)
    abnormal = (np.arange(n) % 2).astype(np.float32)
    diseases = np.zeros((n, 5), np.float32)
    diseases[::3, 1] = diseases[1::4, 3] = 1
    labels = Labels(abnormal, diseases, np.arange(n) % 5 > 0)
    config = TrainConfig(crops=96, batch=16, ema=0.9, learning_rate=1e-2)
    found = {"processes": process_group().world_size}
    for name, make in (("plain", WithoutBatchNorm), ("ours", lambda: FoundationalECGNet(TINY))):
        model, history = fit(signals, labels, np.arange(32), np.arange(32, n), make, config)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        found[name] = {
            "history": history.drop(columns="seconds").values.tolist(),
            "weights": weights.tolist(),
        }
    (folder / f"{process_group().rank}.json").write_text(json.dumps(found))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without distributed")
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir(), together.mkdir()
    work(alone)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", __file__, str(together)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    one = json.loads((alone / "0.json").read_text())
    two = [json.loads((together / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [found["processes"] for found in (one, *two)] == [1, 2, 2]
    assert two[0] == two[1]  # history and weights
    np.testing.assert_allclose(two[0]["plain"]["history"], one["plain"]["history"], rtol=1e-5)
    np.testing.assert_allclose(two[0]["plain"]["weights"], one["plain"]["weights"], atol=1e-6)
    # with BatchNorm each process normalises its own eight crops
    losses = [[row[1] for row in found["ours"]["history"]] for found in (two[0], one)]
    np.testing.assert_allclose(*losses, rtol=0.02)
    assert losses[0] != losses[1]


def test_slices_cover_everything_once() -> None:
    groups = [ProcessGroup(rank, 3) for rank in range(3)]
    batch = np.arange(12)
    assert np.concatenate([batch[g.batch_slice(12)] for g in groups]).tolist() == batch.tolist()
    for n in (1, 2, 3, 7):
        parts = [g.padded_rows(np.arange(n) + 5) for g in groups]
        assert len({len(part) for part in parts}) == 1
        assert np.concatenate(parts)[:n].tolist() == (np.arange(n) + 5).tolist()
    with pytest.raises(ConfigError, match="3 processes cannot share 64 crops"):
        groups[0].batch_slice(64)


def test_the_batch_norm_of_gpus_takes_the_place_of_ours() -> None:
    """Where one process has the whole batch, SyncBatchNorm is BatchNorm: nothing may change."""
    torch.manual_seed(0)
    model = FoundationalECGNet(TINY).train()
    other = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    kinds = [type(m) for m in other.modules()]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert nn.BatchNorm1d not in kinds and kinds.count(nn.SyncBatchNorm) == len(norms) > 3
    x = torch.randn(4, 12, 250)
    torch.testing.assert_close(other(x), model(x))
    torch.testing.assert_close(other.state_dict(), model.state_dict())


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_group() == ProcessGroup(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="torchrun"):
        process_group()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
