"""Training: the losses against their definition, determinism, and that it learns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from ecgnet_lib.errors import SignalError
from ecgnet_lib.labels import DISEASES
from ecgnet_lib.model import FoundationalECGNet, ModelConfig, predict
from ecgnet_lib.train import (
    MIN_CHOICE,
    Labels,
    TrainConfig,
    augment,
    fit,
    macro_auc,
    predict_crops,
    two_stage_loss,
)

TINY = ModelConfig(channels=8, cbam_reduction=4, gat_heads=2, width=16, tst_heads=2, d_ff=32,
                   tst_layers=1, stem_layers=1, dropout=0.0)  # fmt: skip


def tiny() -> FoundationalECGNet:
    return FoundationalECGNet(TINY)


def toy(n: int = 96, seed: int = 0) -> tuple[np.ndarray, Labels]:
    """Abnormal recordings carry a 5 Hz wave in lead II; a second class also one in V1."""
    rng = np.random.default_rng(seed)
    signals = 0.1 * rng.standard_normal((n, 12, 500)).astype(np.float32)
    abnormal = np.arange(n) % 2
    diseases = np.zeros((n, 5), np.float32)
    diseases[:, 1] = np.arange(n) % 4 == 1
    wave = np.sin(2 * np.pi * 5 * np.arange(500) / 100).astype(np.float32)
    signals[abnormal == 1, 1] += wave
    signals[diseases[:, 1] == 1, 6] += wave
    return signals, Labels(abnormal.astype(np.float32), diseases, np.ones(n, bool))


def test_loss_is_its_definition_case_by_case() -> None:
    torch.manual_seed(0)
    a, d = torch.randn(6), torch.randn(6, 5)
    abnormal = torch.tensor([1.0, 0, 1, 1, 0, 0])
    known = torch.tensor([True, True, True, False, True, False])
    diseases = torch.zeros(6, 5)
    diseases[0, 1] = diseases[2, 3] = diseases[2, 4] = diseases[3, 0] = 1
    stage1 = F.binary_cross_entropy_with_logits(a[known], abnormal[known])
    sick = [0, 2, 3]
    stage2 = 5 * F.binary_cross_entropy_with_logits(d[sick], diseases[sick])
    got = two_stage_loss((a, d), abnormal, diseases, known, "sigmoid")
    torch.testing.assert_close(got, stage1 + stage2)
    single = [0, 3]  # recording 2 carries two diseases: the softmax head does not see it
    stage2 = F.cross_entropy(d[single], torch.tensor([1, 0]))
    got = two_stage_loss((a, d), abnormal, diseases, known, "softmax")
    torch.testing.assert_close(got, stage1 + stage2)
    healthy = two_stage_loss((a, d), 0 * abnormal, 0 * diseases, known, "sigmoid")
    assert torch.isfinite(healthy)


def test_fit_learns_and_is_bitwise_repeatable() -> None:
    torch.set_num_threads(1)
    signals, labels = toy()
    train, val = np.arange(64), np.arange(64, 96)
    config = TrainConfig(crops=1600, batch=16, learning_rate=1e-2, seed=3)
    model, history = fit(signals, labels, train, val, tiny, config)
    again, history2 = fit(signals, labels, train, val, tiny, config)
    for mine, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), history2.drop(columns="seconds"))
    assert len(history) == 25
    assert history["val_auc"].max() > 0.95
    scores = predict_crops(model, signals[val])
    assert macro_auc(labels, val, *scores) == pytest.approx(history["val_auc"].max())
    other, _ = fit(signals, labels, train, val, tiny, TrainConfig(crops=64, batch=16, seed=4))
    assert not torch.equal(next(model.parameters()), next(other.parameters()))


def test_pretrained_weights_are_the_start_and_stay_untouched() -> None:
    signals, labels = toy()
    train, val = np.arange(48), np.arange(48, 64)
    start, _ = fit(signals, labels, train, val, tiny, TrainConfig(crops=480, batch=16))
    before = {name: value.clone() for name, value in start.state_dict().items()}
    still = TrainConfig(crops=48, batch=16, learning_rate=0.0)
    again, _ = fit(signals, labels, train, val, tiny, still, initial=start)
    for (name, mine), theirs in zip(again.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


def test_test_recordings_have_no_influence() -> None:
    signals, labels = toy()
    train, val = np.arange(48), np.arange(48, 64)
    config = TrainConfig(crops=96, batch=16)
    model, _ = fit(signals, labels, train, val, tiny, config)
    signals[64:] = np.nan
    again, _ = fit(signals, labels, train, val, tiny, config)
    for mine, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_crops_cover_the_recording_and_are_averaged() -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(TINY).eval()
    x = np.random.default_rng(0).standard_normal((3, 12, 1000)).astype(np.float32)
    p, q = predict_crops(model, x, crop_s=2.5)
    starts = [0, 125, 250, 375, 500, 625, 750]
    parts = [predict(model, torch.from_numpy(x[..., s : s + 250])) for s in starts]
    np.testing.assert_allclose(p, np.mean([a for a, _ in parts], axis=0), atol=1e-6)
    np.testing.assert_allclose(q, np.mean([b for _, b in parts], axis=0), atol=1e-6)
    whole, _ = predict_crops(model, x[..., :250])
    np.testing.assert_allclose(whole, parts[0][0], atol=1e-6)
    with pytest.raises(SignalError, match=r"2\.5 s"):
        predict_crops(model, x[..., :249])


def test_augmentation_keeps_shape_seed_and_at_least_one_lead() -> None:
    x = torch.ones(64, 12, 250)
    wild = TrainConfig(lead_dropout=5.0)
    y, present = augment(x, wild, 100, torch.Generator().manual_seed(0))
    again, _ = augment(x, wild, 100, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    assert torch.equal(y, again)
    assert present.any(1).all()
    assert not present.all()
    still = TrainConfig(gain=0, noise_mv=0, wander_mv=0, lead_dropout=0)
    y, present = augment(x, still, 100, torch.Generator())
    assert torch.equal(y, x)
    assert present.all()


def test_a_class_with_a_handful_of_positives_has_no_say() -> None:
    rng = np.random.default_rng(0)
    n = 40
    diseases = np.zeros((n, 5), np.float32)
    diseases[:MIN_CHOICE, 0] = 1
    diseases[: MIN_CHOICE - 1, 1] = 1
    labels = Labels((np.arange(n) % 2).astype(np.float32), diseases, np.ones(n, bool))
    p, q = rng.random(n), rng.random((n, 5))
    want = np.mean([roc_auc_score(labels.abnormal, p), roc_auc_score(diseases[:, 0], q[:, 0])])
    assert macro_auc(labels, np.arange(n), p, q) == pytest.approx(want)
    few = np.arange(4)
    assert np.isnan(macro_auc(labels, few, p[few], q[few]))


def test_labels_from_a_table() -> None:
    table = pd.DataFrame({c: [c == "MI", False, False] for c in DISEASES})
    table["abnormal"] = pd.array([True, False, None], "boolean")
    labels = Labels.of(table)
    assert labels.known.tolist() == [True, True, False]
    assert labels.abnormal.tolist() == [1, 0, 0]
    assert labels.diseases[0].tolist() == [0, 0, 1, 0, 0]
