"""The peers that train no network: who learns from what, and what they refuse to learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ecgnet_lib.evaluation import classifiers as classical
from ecgnet_lib.evaluation.classifiers import Features, MiniRocket, Peer, Untrained, truth_of
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.training.loop import Labels


def labels_of(abnormal: np.ndarray, disease: np.ndarray, known: np.ndarray | None = None) -> Labels:
    """Return labels in which the first disease is `disease` and the others never occur."""
    diseases = np.zeros((len(abnormal), 5), np.float32)
    diseases[:, 0] = disease
    known = np.ones(len(abnormal), bool) if known is None else known
    return Labels(abnormal.astype(np.float32), diseases, known)


def small() -> FoundationalECGNet:
    return FoundationalECGNet(ModelConfig(channels=8, width=16, tst_heads=2, tst_layers=1, d_ff=16))


class Mean(Peer):
    """A peer that looks at the mean of each lead."""

    def describe(self, signals: np.ndarray) -> np.ndarray:
        return signals.mean(-1)

    choices = classical.logistic(1e-4, 1.0)


def cohort(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sick = rng.random(n) < 0.5
    signals = rng.standard_normal((n, 12, 500)).astype(np.float32)
    signals[sick, 2] += 1
    return signals, sick


def test_truth_is_unknown_where_nobody_spoke() -> None:
    truth = truth_of(labels_of(*np.array([[1, 0, 0, 1]] * 2), np.array([True, True, False, False])))
    assert truth[0].tolist() == [1, 1, 0, 0, 0, 0] and truth[1].tolist() == [0] * 6
    assert np.isnan(truth[2]).all()
    assert np.isnan(truth[3, 0]) and truth[3, 1:].tolist() == [1, 0, 0, 0, 0]


def test_a_peer_learns_what_is_there_and_only_from_what_is_known() -> None:
    signals, sick = cohort(200)
    known = np.arange(200) % 2 == 0
    lies = np.where(known, sick, ~sick)  # what is not known is false here, and must not count
    labels = labels_of(lies, np.zeros(200), known)
    peer = Mean().fit(signals, labels, np.arange(150), np.arange(150, 200))
    new, new_sick = cohort(40, seed=1)
    p = peer.predict(new)
    assert p.shape == (40, 6) and p.dtype == np.float32
    assert ((p[:, 0] > 0.5) == new_sick).mean() > 0.95
    assert (p[:, 2:] == 0).all()  # never seen: the prevalence


def test_a_label_with_one_positive_predicts_its_prevalence() -> None:
    signals, sick = cohort()
    labels = labels_of(sick, np.arange(80) == 3)
    peer = Mean().fit(signals, labels, np.arange(40), np.arange(40, 80))
    assert np.allclose(peer.predict(signals)[:, 1], 1 / 40)


def test_validation_chooses() -> None:
    signals, sick = cohort()
    labels = labels_of(sick, sick)
    assert Mean().fit(signals, labels, np.arange(40), np.arange(40, 80)).chosen["abnormal"].C == 1
    wrong = labels_of(np.where(np.arange(80) < 40, sick, ~sick), sick)
    fitted = Mean().fit(signals, wrong, np.arange(40), np.arange(40, 80))
    assert fitted.chosen["abnormal"].C == 1e-4  # the less it says, the less it is wrong


def test_turned_axes_change_no_probability() -> None:
    rng = np.random.default_rng(0)
    x, new = rng.standard_normal((2, 30, 200)).astype(np.float32)
    y = rng.random(30) < 0.5
    scale, turn = StandardScaler().fit(x), clone(MiniRocket.scaling).fit(x)
    plain, turned = (
        LogisticRegression(C=1e-3, tol=1e-8, max_iter=2000).fit(s.transform(x), y)
        for s in (scale, turn)
    )
    assert turn.transform(x).shape == (30, 30)
    want, got = (m.predict_proba(s.transform(new)) for m, s in ((plain, scale), (turned, turn)))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_untrained_averages_what_reaches_the_trunk_over_half_overlapping_crops() -> None:
    peer = Untrained(make=small)
    signals = np.random.default_rng(0).standard_normal((3, 12, 1000)).astype(np.float32)
    network, seen = peer.network, []
    network.trunk.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach().clone()))
    for start in range(0, 751, 125):
        network(torch.from_numpy(signals[..., start : start + 250]))
    want = torch.stack(seen).mean(0).numpy()
    np.testing.assert_allclose(peer.describe(signals), want, atol=1e-6)
    again = Untrained(make=small).describe(signals)
    np.testing.assert_array_equal(again, peer.describe(signals))
    assert not np.allclose(Untrained(seed=1, make=small).describe(signals), want)


def test_features_go_to_trees_which_take_what_could_not_be_measured() -> None:
    forest = Features(seed=7).choices[0]
    assert forest.random_state == 7
    forest.set_params(n_estimators=3).fit([[np.nan, 1.0], [0.0, np.nan]] * 4, [0, 1] * 4)


def test_minirocket_tells_fast_from_slow() -> None:
    rng = np.random.default_rng(0)
    t, fast = np.arange(300) / 100, rng.random(24) < 0.5
    hz = np.where(fast, 12, 3)[:, None, None] + rng.random((24, 12, 1))
    signals = np.sin(2 * np.pi * hz * t).astype(np.float32)
    peer = MiniRocket().fit(signals, labels_of(fast, fast), np.arange(16), np.arange(16, 20))
    p = peer.predict(signals[20:])
    assert ((p[:, 0] > 0.5) == fast[20:]).all() and ((p[:, 1] > 0.5) == fast[20:]).all()
