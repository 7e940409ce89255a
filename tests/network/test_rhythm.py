"""The rhythm branch: its receptive field, what only it can learn, and the mean with the crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network.checkpoint import load_checkpoint, load_networks, save_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.network.rhythm import ARR, LEAD, REACH, RhythmNet, predict_with_rhythm
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

TINY = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1, dropout=0.0)


def test_a_step_sees_five_seconds_and_not_more() -> None:
    torch.manual_seed(0)
    blocks = RhythmNet().eval().blocks
    h = torch.randn(1, 48, 125, requires_grad=True)
    blocks(h)[0, :, 62].sum().backward()
    seen = h.grad[0].abs().sum(0).nonzero().flatten()
    assert (seen.min(), seen.max()) == (62 - sum(REACH), 62 + sum(REACH))
    assert 2 * sum(REACH) * 8 / 100 == pytest.approx(4.96)  # s, at 100 Hz and 8 samples a step


def test_only_lead_two_and_only_arrhythmia_count() -> None:
    torch.manual_seed(0)
    net, x = RhythmNet().eval(), torch.randn(3, 12, 1000)
    abnormal, diseases = net(x)
    assert (abnormal.shape, diseases.shape) == ((3,), (3, len(DISEASES)))
    others = x.clone()
    others[:, [lead for lead in range(12) if lead != LEAD]] = 0
    torch.testing.assert_close(net(others), (abnormal, diseases))
    logits = torch.cat([abnormal[:, None], diseases], dim=1)
    assert logits[:, ARR].std() > 0
    assert (logits.std(0) > 0).sum() == 1
    present = torch.ones(3, 12, dtype=torch.bool)
    present[:, LEAD] = False
    torch.testing.assert_close(net(x, present), net(0 * x))


def test_another_shape_is_refused() -> None:
    with pytest.raises(SignalError, match="does not fit"):
        RhythmNet()(torch.zeros(2, 1, 1000))


def test_it_learns_a_distance_that_no_crop_holds() -> None:
    """Two pulses in each recording, 3 s apart in half of them and 4 s in the others."""
    torch.set_num_threads(1)
    rng, n = np.random.default_rng(0), 192
    signals = 0.05 * rng.standard_normal((n, 12, 1000)).astype(np.float32)
    apart = np.where(np.arange(n) % 2, 300, 400)
    first = rng.integers(50, 500, n)
    for row in range(n):
        for at in (first[row], first[row] + apart[row]):
            signals[row, :, at : at + 10] += 1
    truth = (np.arange(n) % 2).astype(np.float32)
    diseases = np.zeros((n, 5), np.float32)
    diseases[:, ARR - 1] = truth
    labels = Labels(truth, diseases, np.ones(n, bool))
    train, val = np.arange(128), np.arange(128, n)
    auc = {}
    for make, crop_s in ((RhythmNet, 10.0), (lambda: FoundationalECGNet(TINY), 2.5)):
        still = {"gain": 0, "wander_mv": 0, "learning_rate": 5e-3}
        config = TrainConfig(crops=1280, batch=32, crop_s=crop_s, **still)
        net, _ = fit(signals, labels, train, val, make, config)
        p = predict_crops(net, signals, crop_s, rows=val)[1][:, ARR - 1]
        auc[crop_s] = roc_auc_score(truth[val], p)
    assert auc[10.0] > 0.95
    assert auc[2.5] < 0.75


@pytest.mark.parametrize("seconds", [4.0, 10.0, 25.0])
def test_arrhythmia_is_the_mean_of_both_and_nothing_else_changes(seconds: float) -> None:
    torch.manual_seed(0)
    model, rhythm = FoundationalECGNet(TINY).eval(), RhythmNet().eval()
    x = np.random.default_rng(0).standard_normal((3, 12, round(100 * seconds))).astype(np.float32)
    rows = np.array([2, 0])
    p, q = predict_with_rhythm(model, rhythm, x, rows=rows)
    alone, crops = predict_crops(model, x, rows=rows)
    np.testing.assert_array_equal(p, alone)
    with torch.no_grad():
        starts = (0, 500, 1000, 1500) if seconds > 10 else (0,)
        parts = [rhythm(torch.from_numpy(x[rows, :, s : s + 1000]))[1] for s in starts]
    alone = torch.sigmoid(torch.stack(parts)).mean(0)[:, ARR - 1].numpy()
    np.testing.assert_allclose(q[:, ARR - 1], (crops[:, ARR - 1] + alone) / 2, atol=1e-6)
    np.testing.assert_array_equal(np.delete(q, ARR - 1, 1), np.delete(crops, ARR - 1, 1))
    np.testing.assert_array_equal(predict_with_rhythm(model, None, x, rows=rows)[1], crops)

    present = np.ones((2, 12), dtype=bool)
    present[1, LEAD] = False
    _, without = predict_crops(model, x, present=present, rows=rows)
    _, got = predict_with_rhythm(model, rhythm, x, present, rows)
    np.testing.assert_allclose(got[0], q[0], atol=1e-6)
    np.testing.assert_array_equal(got[1], without[1])


def test_a_network_finds_the_rhythm_branch_it_names_and_no_other(tmp_path) -> None:
    torch.manual_seed(0)
    rhythm = RhythmNet()
    save_checkpoint(rhythm, tmp_path / "rhythm.json", {})
    with pytest.raises(ConfigError, match="one class"):
        load_networks(tmp_path / "rhythm.json")
    about = load_checkpoint(tmp_path / "rhythm.json")[1]
    named = {"rhythm_branch": {"weights": "rhythm.json", "weights_sha256": about["weights_sha256"]}}
    save_checkpoint(FoundationalECGNet(TINY), tmp_path / "net.json", named)
    _, found, _ = load_networks(tmp_path / "net.json")
    for name, value in rhythm.state_dict().items():
        assert torch.equal(value, found.state_dict()[name])
    save_checkpoint(RhythmNet(), tmp_path / "rhythm.json", {})
    with pytest.raises(ConfigError, match="weights_sha256"):
        load_networks(tmp_path / "net.json")
