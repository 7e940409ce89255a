"""Training: the losses against their definition, determinism, and that it learns."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, predict
from ecgnet_lib.training.loop import (
    Labels,
    TrainConfig,
    augment,
    averaged,
    fit,
    macro_auc,
    predict_crops,
    two_stage_loss,
)
from ecgnet_lib.training.loss import MIN_CHOICE

TINY = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1, dropout=0.0)


def tiny() -> FoundationalECGNet:
    return FoundationalECGNet(TINY)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


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
    config = TrainConfig(crops=768, batch=16, learning_rate=1e-2, seed=3)
    model, history = fit(signals, labels, train, val, tiny, config)
    again, history2 = fit(signals, labels, train, val, tiny, config)
    assert same(model, again)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), history2.drop(columns="seconds"))
    assert len(history) == 12
    assert history["val_auc"].max() > 0.95
    scores = predict_crops(model, signals[val], overlap=0)
    assert macro_auc(labels, val, *scores) == pytest.approx(history["val_auc"].max())
    other, _ = fit(signals, labels, train, val, tiny, TrainConfig(crops=64, batch=16, seed=4))
    assert not same(model, other)


def test_pretrained_weights_are_the_start_and_stay_untouched() -> None:
    signals, labels = toy()
    torch.manual_seed(5)
    start = tiny()
    before = copy.deepcopy(start)
    still = TrainConfig(crops=48, batch=16, learning_rate=0.0)
    again, _ = fit(signals, labels, np.arange(48), np.arange(48, 64), tiny, still, initial=start)
    torch.testing.assert_close([*again.parameters()], [*start.parameters()], atol=0, rtol=0)
    assert same(before, start)


def test_test_recordings_have_no_influence() -> None:
    signals, labels = toy()
    train, val = np.arange(48), np.arange(48, 64)
    config = TrainConfig(crops=96, batch=16)
    model, _ = fit(signals, labels, train, val, tiny, config)
    signals[64:] = np.nan
    again, _ = fit(signals, labels, train, val, tiny, config)
    assert same(model, again)


def test_crops_cover_the_recording_and_are_averaged() -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(TINY).eval()
    x = np.random.default_rng(0).standard_normal((3, 12, 1000)).astype(np.float32)
    p, q = predict_crops(model, x, crop_s=2.5)
    starts = [0, 125, 250, 375, 500, 625, 750]
    parts = [predict(model, torch.from_numpy(x[..., s : s + 250])) for s in starts]
    np.testing.assert_allclose(p, np.mean([a for a, _ in parts], axis=0), atol=1e-6)
    np.testing.assert_allclose(q, np.mean([b for _, b in parts], axis=0), atol=1e-6)
    apart, _ = predict_crops(model, x, overlap=0)
    np.testing.assert_allclose(apart, np.mean([a for a, _ in parts[::2]], axis=0), atol=1e-6)
    whole, _ = predict_crops(model, x[..., :250])
    np.testing.assert_allclose(whole, parts[0][0], atol=1e-6)
    with pytest.raises(SignalError, match=r"2\.5 s"):
        predict_crops(model, x[..., :249])


def test_augmentation_keeps_shape_seed_and_at_least_one_lead() -> None:
    x = torch.ones(64, 12, 250)
    wild = TrainConfig(lead_dropout=5.0)
    y, present = augment(x, wild, 100, torch.Generator().manual_seed(0))
    again, _ = augment(x, wild, 100, torch.Generator().manual_seed(0))
    assert y.shape == x.shape and torch.equal(y, again)
    assert present.any(1).all() and not present.all()
    still = TrainConfig(gain=0, noise_mv=0, wander_mv=0, lead_dropout=0)
    y, present = augment(x, still, 100, torch.Generator())
    assert torch.equal(y, x) and present.all()


def test_a_class_with_a_handful_of_positives_does_not_count() -> None:
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


class Lazy:
    """Recordings that are read when asked for; counts how many at a time."""

    def __init__(self, signals: np.ndarray) -> None:
        self.signals, self.most = signals, 0

    def __len__(self) -> int:
        return len(self.signals)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        self.most = max(self.most, len(rows))
        return self.signals[rows]


def test_recordings_on_disk_train_the_same_network_a_batch_at_a_time() -> None:
    signals, labels = toy(300)
    train, val = np.arange(32), np.arange(32, 300)
    config = TrainConfig(crops=32, batch=16)
    model, history = fit(signals, labels, train, val, tiny, config)
    lazy = Lazy(signals)
    again, history2 = fit(lazy, labels, train, val, tiny, config)
    assert same(model, again)
    assert history["val_loss"].tolist() == history2["val_loss"].tolist()
    assert lazy.most <= 128
    rows = np.array([7, 299, 3])
    scores = predict_crops(model, lazy, rows=rows), predict_crops(model, signals[rows])
    for got, want in zip(*scores, strict=True):
        np.testing.assert_array_equal(got, want)


def test_validation_loss_is_that_of_middle_crops() -> None:
    signals, labels = toy(180)
    train, val = np.arange(20), np.arange(20, 180)
    model, history = fit(signals, labels, train, val, tiny, TrainConfig(crops=20, batch=20))
    assert len(history) == 1
    with torch.no_grad():
        logits = model(torch.from_numpy(signals[val][..., 125:375]))
    truth = (torch.from_numpy(a[val]) for a in (labels.abnormal, labels.diseases, labels.known))
    want = two_stage_loss(logits, *truth, "sigmoid").item()
    assert history["val_loss"].item() == pytest.approx(want, rel=1e-5)


def test_average_of_weights_is_its_recursion() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model.register_buffer("index", torch.tensor([7, 11]))
    mean = averaged(model, 0.5)
    want = None
    for n in range(12):
        with torch.no_grad():
            model[0].weight.normal_()
            model[1].running_mean.normal_()
        mean.update_parameters(model)
        decay = min(0.5, (1 + n) / (10 + n))
        now = torch.cat([model[0].weight.detach().flatten(), model[1].running_mean])
        want = now.clone() if want is None else decay * want + (1 - decay) * now
    got = torch.cat([mean.module[0].weight.flatten(), mean.module[1].running_mean])
    torch.testing.assert_close(got, want)
    assert mean.module.index.tolist() == [7, 11]  # 0.9 * 7 + 0.1 * 7 rounds down to 6


def test_averaged_weights_are_validated_and_kept_and_change_nothing_else() -> None:
    signals, labels = toy()
    train, val = np.arange(48), np.arange(48, 96)
    raw, history = fit(signals, labels, train, val, tiny, TrainConfig(crops=96, batch=16))
    config = TrainConfig(crops=96, batch=16, ema=0.9)
    mean, history2 = fit(signals, labels, train, val, tiny, config)
    assert history["loss"].tolist() == history2["loss"].tolist()
    assert history["val_loss"].tolist() != history2["val_loss"].tolist()
    assert not same(raw, mean)
    scores = predict_crops(mean, signals, rows=val, overlap=0)
    assert macro_auc(labels, val, *scores) == pytest.approx(history2["val_auc"].max())


def test_focal_loss_is_its_definition() -> None:
    torch.manual_seed(0)
    a, d = torch.randn(6), torch.randn(6, 5)
    abnormal, known = torch.tensor([1.0, 0, 1, 1, 0, 0]), torch.ones(6, dtype=torch.bool)
    diseases = torch.zeros(6, 5)
    diseases[[0, 2, 3], [1, 3, 0]] = 1

    def written_out(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        p = torch.where(truth > 0, logits.sigmoid(), 1 - logits.sigmoid())
        return -((1 - p) ** 2) * p.log()

    sick = [0, 2, 3]
    want = written_out(a, abnormal).mean() + written_out(d[sick], diseases[sick]).sum(1).mean()
    got = two_stage_loss((a, d), abnormal, diseases, known, "sigmoid", gamma=2.0)
    torch.testing.assert_close(got, want)
    p = d[sick].softmax(1)[range(3), [1, 3, 0]]
    want = written_out(a, abnormal).mean() + (-((1 - p) ** 2) * p.log()).mean()
    got = two_stage_loss((a, d), abnormal, diseases, known, "softmax", gamma=2.0)
    torch.testing.assert_close(got, want)
    certain = torch.full((6,), 200.0, requires_grad=True)
    two_stage_loss((certain, d), 0 * abnormal + 1, diseases, known, "sigmoid", 0.5).backward()
    assert torch.isfinite(certain.grad).all()


def test_what_cannot_be_trained_is_refused() -> None:
    signals, labels = toy(8)
    for settings in ({"crops": 0}, {"batch": 0}, {"ema": 1.0}, {"focal_gamma": -1}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            TrainConfig(**settings)
    with pytest.raises(ConfigError, match="0 and 4"):
        fit(signals, labels, np.arange(0), np.arange(4), tiny)
    with pytest.raises(SignalError, match=r"2\.5 s"):
        fit(signals[..., :200], labels, np.arange(4), np.arange(4, 8), tiny)
    with pytest.raises(SignalError, match="no recording"):
        predict_crops(tiny(), signals[:0])
