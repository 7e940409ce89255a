"""The teacher: out of bag, known only where it may be, and followed by the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, predict
from ecgnet_lib.training.distillation import measurements, teach
from ecgnet_lib.training.loop import Labels, TrainConfig, fit
from ecgnet_lib.training.loss import taught_loss

TINY = ModelConfig(channels=8, cbam_reduction=4, gat_heads=2, width=16, tst_heads=2, d_ff=32,
                   tst_layers=1, stem_layers=1, dropout=0.0)  # fmt: skip


def labels_from(abnormal: np.ndarray, known: np.ndarray | None = None) -> Labels:
    diseases = np.zeros((len(abnormal), len(DISEASES)), np.float32)
    diseases[:, 0] = abnormal
    known = np.ones(len(abnormal), bool) if known is None else known
    return Labels(abnormal.astype(np.float32), diseases, known)


def test_beliefs_come_from_features_and_never_repeat_a_label() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    train = np.arange(240)
    told = features[:, 0] > 0.5
    beliefs = teach(features, labels_from(told), train)
    assert roc_auc_score(told[train], beliefs[train, 0]) > 0.97
    luck = rng.random(300) < 0.5  # a forest that judged its own sample would know these labels
    beliefs = teach(features, labels_from(luck), train)
    assert 0.35 < roc_auc_score(luck[train], beliefs[train, 0]) < 0.65
    assert np.isnan(beliefs[240:]).all()
    np.testing.assert_allclose(beliefs[train, 2], 0)  # nobody has it


def test_unknown_labels_are_believed_from_the_known() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    truth, known = features[:, 0] > 0, np.arange(300) >= 60
    stated = np.where(known, truth, False)
    beliefs = teach(features, labels_from(stated, known), np.arange(300))
    assert roc_auc_score(truth[:60], beliefs[:60, 0]) > 0.97


def test_measurements_are_the_features_whatever_is_read_at_a_time() -> None:
    signals = np.random.default_rng(2).normal(size=(300, 12, 500)).astype(np.float32)
    some = [0, 255, 256, 299]
    want = features_of(signals[some]).to_numpy()
    np.testing.assert_allclose(measurements(signals)[some], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "one-stage"])
def test_the_loss_is_least_where_the_network_agrees(head: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5), torch.randn(5, len(DISEASES))
    p = torch.sigmoid(logits[0])
    given = logits[1].softmax(-1) if head == "softmax" else torch.sigmoid(logits[1])
    joint = given if head == "one-stage" else p[:, None] * given
    beliefs = torch.cat([p[:, None], joint], 1)
    least = taught_loss(logits, beliefs, head)
    entropy = -(beliefs * beliefs.log() + (1 - beliefs) * (1 - beliefs).log()).sum(1).mean()
    torch.testing.assert_close(least, entropy)
    for other in (beliefs * 0.8, beliefs * 0.8 + 0.2):
        wrong = -(other * beliefs.log() + (1 - other) * (1 - beliefs).log()).sum(1).mean()
        torch.testing.assert_close(taught_loss(logits, other, head), wrong)


def test_a_network_follows_its_teacher_where_labels_say_nothing() -> None:
    rng = np.random.default_rng(3)
    loud = rng.random(192) < 0.5
    signals = rng.normal(size=(192, 12, 100)).astype(np.float32) * np.where(loud, 1, 0.2)[
        :, None, None
    ].astype(np.float32)
    told = np.where(np.arange(192) < 128, rng.random(192) < 0.5, loud)  # luck, then the truth
    labels = labels_from(told)
    beliefs = np.full((192, 6), 0.1, np.float32)
    beliefs[:, 0] = np.where(loud, 0.9, 0.1)
    train, val = np.arange(128), np.arange(128, 192)
    beliefs[val] = np.nan  # what it must never look at
    config = TrainConfig(crops=2560, batch=32, crop_s=1.0, gain=0.0)
    model, history = fit(
        signals, labels, train, val, lambda: FoundationalECGNet(TINY), config, teacher=beliefs
    )
    said, _ = predict(model, torch.from_numpy(signals[val]))
    assert roc_auc_score(loud[val], said.numpy()) > 0.9
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(history["val_loss"]).all()
