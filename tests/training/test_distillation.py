"""Soft labels: out of bag, from known labels only, and learned by the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.measurements.features import features_of
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, predict
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit
from ecgnet_lib.training.loss import distillation_loss

TINY = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1, dropout=0.0)


def labels_from(abnormal: np.ndarray, known: np.ndarray | None = None) -> Labels:
    diseases = np.zeros((len(abnormal), len(DISEASES)), np.float32)
    diseases[:, 0] = abnormal
    known = np.ones(len(abnormal), bool) if known is None else known
    return Labels(abnormal.astype(np.float32), diseases, known)


def test_soft_labels_come_from_features_and_never_repeat_a_label() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    train = np.arange(240)
    stated = features[:, 0] > 0.5
    soft = out_of_bag_soft_labels(features, labels_from(stated), train)
    assert roc_auc_score(stated[train], soft[train, 0]) > 0.97
    luck = rng.random(300) < 0.5  # a forest would know these labels of its own sample
    soft = out_of_bag_soft_labels(features, labels_from(luck), train)
    assert 0.35 < roc_auc_score(luck[train], soft[train, 0]) < 0.65
    assert np.isnan(soft[240:]).all()
    np.testing.assert_allclose(soft[train, 2], 0)  # nobody has it


def test_unknown_labels_follow_from_the_known() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    truth, known = features[:, 0] > 0, np.arange(300) >= 60
    stated = np.where(known, truth, False)
    soft = out_of_bag_soft_labels(features, labels_from(stated, known), np.arange(300))
    assert roc_auc_score(truth[:60], soft[:60, 0]) > 0.97


def test_features_of_all_are_the_features_whatever_is_read_at_a_time() -> None:
    signals = np.random.default_rng(2).normal(size=(300, 12, 500)).astype(np.float32)
    some = [0, 255, 256, 299]
    want = features_of(signals[some]).to_numpy()
    np.testing.assert_allclose(features_of_all(signals)[some], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "one-stage"])
def test_the_loss_is_least_where_the_network_agrees(head: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5), torch.randn(5, len(DISEASES))
    p = torch.sigmoid(logits[0])
    given = logits[1].softmax(-1) if head == "softmax" else torch.sigmoid(logits[1])
    joint = given if head == "one-stage" else p[:, None] * given
    soft = torch.cat([p[:, None], joint], 1)
    least = distillation_loss(logits, soft, head)
    entropy = -(soft * soft.log() + (1 - soft) * (1 - soft).log()).sum(1).mean()
    torch.testing.assert_close(least, entropy)
    for other in (soft * 0.8, soft * 0.8 + 0.2):
        wrong = -(other * soft.log() + (1 - other) * (1 - soft).log()).sum(1).mean()
        torch.testing.assert_close(distillation_loss(logits, other, head), wrong)


def test_a_network_learns_from_soft_labels_where_labels_are_noise() -> None:
    rng = np.random.default_rng(3)
    loud = rng.random(192) < 0.5
    size = np.where(loud, 1, 0.2)[:, None, None]
    signals = (rng.normal(size=(192, 12, 100)) * size).astype(np.float32)
    stated = np.where(np.arange(192) < 128, rng.random(192) < 0.5, loud)  # luck, then the truth
    labels = labels_from(stated)
    soft = np.full((192, 6), 0.1, np.float32)
    soft[:, 0] = np.where(loud, 0.9, 0.1)
    train, val = np.arange(128), np.arange(128, 192)
    soft[val] = np.nan  # must not be used
    config = TrainConfig(crops=2560, batch=32, crop_s=1.0, gain=0.0)
    model, history = fit(
        signals, labels, train, val, lambda: FoundationalECGNet(TINY), config, soft_labels=soft
    )
    p, _ = predict(model, torch.from_numpy(signals[val]))
    assert roc_auc_score(loud[val], p.numpy()) > 0.9
    assert np.isfinite(history[["loss", "val_loss"]]).all(axis=None)
