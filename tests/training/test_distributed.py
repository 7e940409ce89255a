"""Two processes under torchrun against one, and BatchNorm over parts against PyTorch's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.network.tst import TokenBatchNorm
from ecgnet_lib.training.distributed import Team, shared_batch_norm, team
from ecgnet_lib.training.loop import Labels, TrainConfig, fit

TINY = ModelConfig(channels=8, cbam_reduction=4, gat_heads=2, width=16, tst_heads=2, d_ff=32,
                   tst_layers=1, stem_layers=1, dropout=0.0)  # fmt: skip


def work(folder: Path) -> None:
    """What a script under torchrun does; each process writes what it found to a file."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    n = 49
    signals = rng.standard_normal((n, 12, 250)).astype(np.float32)
    abnormal = (np.arange(n) % 2).astype(np.float32)
    diseases = np.zeros((n, 5), np.float32)
    diseases[::3, 1] = diseases[1::4, 3] = 1
    labels = Labels(abnormal, diseases, np.arange(n) % 5 > 0)
    config = TrainConfig(crops=64, batch=16, ema=0.9)
    (model, history), (again, _) = (
        fit(signals, labels, np.arange(32), np.arange(32, n), lambda: FoundationalECGNet(TINY),
            config, resume=folder / "state.pt")
        for _ in range(2)
    )  # fmt: skip
    norm = TokenBatchNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2, 3]))
        norm.bias.copy_(torch.tensor([0.5, 0, -1]))
    x = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(1)) * 3 + 1
    x = x[team().part(8)].requires_grad_()
    with shared_batch_norm(norm, team().size):
        y = norm(x)
    y.pow(3).sum().backward()
    said = {
        "size": team().size,
        "history": history.drop(columns="seconds").values.tolist(),
        "same": all(map(torch.equal, model.state_dict().values(), again.state_dict().values())),
        "norm": type(model.stem.norm).__name__,
        "y": y.tolist(),
        "dx": x.grad.tolist(),
        "mean": norm.running_mean.tolist(),
        "var": norm.running_var.tolist(),
    }
    (folder / f"{team().rank}.json").write_text(json.dumps(said))


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
    assert [said["size"] for said in (one, *two)] == [1, 2, 2]
    assert two[0]["history"] == two[1]["history"]
    # Biases before a BatchNorm follow rounding errors, and running averages follow them late: only
    # the validation, which uses those, may differ by more than rounding.
    tolerance = {"epoch": 0, "loss": 1e-5, "val_loss": 1e-3, "val_auc": 0.05, "learning_rate": 0}
    for ours, theirs in zip(two[0]["history"], one["history"], strict=True):
        for got, want, within in zip(ours, theirs, tolerance.values(), strict=True):
            assert got == pytest.approx(want, rel=within)
    assert len(one["history"]) == 2
    for said in (one, *two):
        assert said["same"]  # as what was read back
        assert said["norm"] == "BatchNorm1d"
    for name in ("y", "dx"):
        parts = np.concatenate([said[name] for said in two])
        np.testing.assert_allclose(parts, one[name], atol=1e-3)
    for name in ("mean", "var"):
        np.testing.assert_allclose(two[0][name], one[name], rtol=1e-5)


def test_shares_cover_everything_once() -> None:
    teams = [Team(rank, 3) for rank in range(3)]
    batch = np.arange(12)
    assert np.concatenate([batch[t.part(12)] for t in teams]).tolist() == batch.tolist()
    for n in (1, 2, 3, 7):
        shares = [t.share(np.arange(n) + 5) for t in teams]
        assert len({len(share) for share in shares}) == 1
        assert np.concatenate(shares)[:n].tolist() == (np.arange(n) + 5).tolist()
    with pytest.raises(ConfigError, match="multiple of 3"):
        teams[0].part(64)


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team() == Team(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="torchrun"):
        team()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
