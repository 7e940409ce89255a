"""Our network beside published methods and its own ablations, on the same recordings and folds.

Three protocols, see `datasets.splits`: A, PTB-XL's official folds; B, five patient-disjoint folds
of all sources pooled; C, one database left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets.splits import (
    Split,
    audit,
    duplicates,
    kfold,
    leave_one_source_out,
    merge_duplicates,
    official,
)
from ecgnet_lib.denoising.apply import denoised
from ecgnet_lib.evaluation.classifiers import CLASSICAL
from ecgnet_lib.evaluation.methods import NAMES
from ecgnet_lib.experiments.common import (
    CONFIG,
    DENOISING,
    KEYS,
    LONGER,
    RHYTHM_CONFIG,
    device,
    frame,
    run_all,
    store,
)
from ecgnet_lib.experiments.official import on_virtual_patients
from ecgnet_lib.network.baselines import NETWORKS
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_RHYTHM, load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, count_parameters
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

DATABASES = ("ptbxl", "ludb", "challenge-2021")
PASSES = 8  # a network sees each training recording at least so often, however many there are


@dataclass(frozen=True)
class Method:
    """One row of the comparison: what is trained, on what signals, and how often.

    runs: {protocol: (folds, seeds)}; a protocol that is not named is not run.
    """

    runs: dict[str, tuple[int, int]]
    make: Callable[[], nn.Module] | None = None  # a network, or
    peer: type | None = None  # a classifier that is none
    denoising: str = DENOISING
    pretrained: bool = False  # on virtual patients
    distilled: bool = False  # from a random forest on hand-crafted features
    config: TrainConfig = CONFIG


def ours(**changes: object) -> Callable[[], nn.Module]:
    """Return a builder of our network with a configuration that departs from the default."""
    return partial(FoundationalECGNet, replace(ModelConfig(), **changes))


OURS = {"A": (1, 3), "B": (5, 3), "C": (3, 3)}
PEERS = {"A": (1, 1), "B": (5, 1), "C": (3, 1)}
SLOW = PEERS | {"B": (3, 1)}
ABLATION = {"B": (3, 1)}  # of the network trained on labels only
RECIPE = {"pretrained": True, "distilled": True}
WANG, BRANCH = NETWORKS["resnet1d_wang"], "rhythm branch"
OURS_ALONE, WANG_ALONE = "ours, no rhythm branch", "resnet1d_wang + pre-training + distillation"
METHODS: dict[str, Method] = {
    OURS_ALONE: Method(OURS, ours(), **RECIPE, config=LONGER),
    BRANCH: Method(OURS, RhythmNet, **RECIPE, config=RHYTHM_CONFIG),
    "MiniRocket": Method(PEERS, peer=CLASSICAL["MiniRocket"]),
    "features": Method(PEERS, peer=CLASSICAL["features"]),
    "untrained": Method(PEERS, peer=CLASSICAL["untrained"]),
    "resnet1d_wang": Method(PEERS, WANG),
    "resnet1d_wang, 60,000 crops": Method({"B": (3, 1)}, WANG, config=LONGER),
    WANG_ALONE: Method({"A": (1, 1), "B": (5, 1)}, WANG, **RECIPE, config=LONGER),
    "pre-training only": Method(PEERS, ours(), pretrained=True),
    "labels only": Method(PEERS, ours()),
    "labels only, 60,000 crops": Method({"B": (3, 1)}, ours(), config=LONGER),
    "no GAT": Method(ABLATION, ours(gat="none")),
    "no TST": Method(ABLATION, ours(tst=False)),
    "no CBAM": Method(ABLATION, ours(cbam=False)),
    "one stage": Method(ABLATION, ours(head="one-stage")),
    "no denoising": Method(ABLATION, ours(), denoising="none"),
    "CNN-LSTM": Method(PEERS, NETWORKS["CNN-LSTM"]),
    "xresnet1d101": Method(SLOW, NETWORKS["xresnet1d101"]),
}
WITH_RHYTHM_BRANCH = {"ours": OURS_ALONE, f"{WANG_ALONE} + rhythm branch": WANG_ALONE}
ENSEMBLES = {  # means of the probabilities of several trainings, each a method and its seed
    "ours, mean of three seeds": [("ours", 0), ("ours", 1), ("ours", 2)],
    "ours + features": [("ours", 0), ("features", 0)],
}
REFERENCES = ("ours", OURS_ALONE, "labels only")  # every method is compared with these


@dataclass(frozen=True, eq=False)
class Pool:
    """All databases as one table, with their signals in memory (N, 12, T) by denoising.

    features: the hand-crafted features (N, F) of the signals denoised by DENOISING.
    """

    table: pd.DataFrame
    signals: dict[str, np.ndarray]
    features: np.ndarray
    splits: dict[str, list[Split]]
    manifests: dict[str, str]


def pool() -> Pool:
    """Load every database, merge duplicates over all of them, make and audit the splits.

    For protocol C the Challenge's folders count as one database: alone they are too small.
    """
    loaded = [datasets.load(name) for name in DATABASES]
    table = pd.concat([data.table for data in loaded])
    methods = sorted({method.denoising for method in METHODS.values()} | {"none", DENOISING})
    signals = {m: np.concatenate([denoised(data, m) for data in loaded]) for m in methods}
    table = merge_duplicates(table, duplicates(signals["none"], table))
    database = np.repeat(DATABASES, [len(data.table) for data in loaded])
    splits = {
        "A": [official(table)],
        "B": kfold(table, 5),
        "C": leave_one_source_out(table.assign(source=database)),
    }
    for split in (split for folds in splits.values() for split in folds):
        audit(split, table, signals["none"])
    manifests = {data.name: data.manifest for data in loaded}
    return Pool(table, signals, features_of_all(signals[DENOISING]), splits, manifests)


def train_and_score(
    data: Pool, start: nn.Module | None, origin: dict, method: Method, split: Split, seed: int
) -> dict[str, np.ndarray | float]:
    """Train once; return the scores (N, 6) of the validation and test recordings, and the cost.

    start: the pre-trained network, if any; origin: names data and pre-trained weights, so that
    `run_all` need not compare these themselves.
    """
    torch.set_num_threads(1)
    labels, signals = Labels.of(data.table), data.signals[method.denoising]
    rows = {side: signals[getattr(split, side)] for side in ("val", "test")}
    began, parameters = time.process_time(), 0.0
    if method.peer is not None:
        peer = method.peer(seed).fit(signals, labels, split.train, split.val)
        scores = {side: peer.predict(x) for side, x in rows.items()}
    else:
        crops = max(method.config.crops, PASSES * len(split.train))
        config = replace(method.config, seed=seed, crops=crops)
        sets, soft = (signals, labels, split.train, split.val), None
        if method.distilled:
            soft = out_of_bag_soft_labels(data.features, labels, split.train, seed)
        model, _ = fit(*sets, method.make, config, start, soft_labels=soft)
        scores = {
            side: np.column_stack(predict_crops(model, x, config.crop_s))
            for side, x in rows.items()
        }
        parameters = float(count_parameters(model))
    return scores | {"parameters": parameters, "seconds": time.process_time() - began}


def pretrained(method: Method) -> nn.Module | None:
    """Return the network of a method after pre-training, ours as stored, a peer's trained here."""
    if not method.pretrained:
        return None
    if method.make is RhythmNet:
        return load_checkpoint(VIRTUAL_RHYTHM)[0]
    if isinstance(method.make, partial):
        return load_checkpoint(VIRTUAL)[0]
    return run_all(on_virtual_patients, [(method.make,)], ignore=[])[0][0]


def with_rhythm_branch(trained: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the scores of WITH_RHYTHM_BRANCH: P(ARR) is averaged with the rhythm branch's."""
    keys = ["protocol", "fold", "seed", "set"]
    of_branch = {tuple(f[keys].iloc[0]): f["ARR"] for f in trained if f["method"].iloc[0] == BRANCH}
    return [
        f.assign(method=name, ARR=(f["ARR"] + of_branch[tuple(f[keys].iloc[0])]) / 2)
        for name, alone in WITH_RHYTHM_BRANCH.items()
        for f in trained
        if f["method"].iloc[0] == alone
    ]


def mean_of(
    frames: list[pd.DataFrame], name: str, trainings: list[tuple[str, int]]
) -> pd.DataFrame:
    """Return the scores of a method that averages several trainings, where all were run."""
    keys = [key for key in KEYS if key not in ("method", "seed")]
    scores = [
        pd.concat(f for f in frames if (f["method"].iloc[0], f["seed"].iloc[0]) == training)
        .set_index(keys)[NAMES]
        for training in trainings
    ]  # fmt: skip
    return (sum(scores) / len(scores)).dropna().reset_index().assign(method=name, seed=0)


def comparison() -> dict:
    """Ours beside its peers and ablations, on three patient-disjoint protocols."""
    data, frames, cost, seconds = pool(), [], {}, 0.0
    weights = {
        key: load_checkpoint(path)[1]["weights_sha256"]
        for key, path in (("virtual_weights", VIRTUAL), ("virtual_rhythm_weights", VIRTUAL_RHYTHM))
    }
    origin = {"data_manifests": data.manifests, "code_version": __version__} | weights
    starts = {name: pretrained(method) for name, method in METHODS.items()}
    plan = [
        (protocol, name, fold, seed)
        for name, method in METHODS.items()
        for protocol, (folds, seeds) in method.runs.items()
        for fold in range(folds)
        for seed in range(seeds)
    ]
    calls = [
        (data, starts[n], origin, replace(METHODS[n], runs={}), data.splits[p][fold], seed)
        for p, n, fold, seed in plan
    ]
    found = run_all(train_and_score, calls, ignore=["data", "start"])
    for (protocol, name, fold, seed), result in zip(plan, found, strict=True):
        seconds += result["seconds"]
        for side in ("val", "test"):
            recordings = data.table.index[getattr(data.splits[protocol][fold], side)]
            frames.append(frame(result[side], recordings, side, name, protocol, fold, seed))
        if (protocol, fold, seed) == ("B", 0, 0):
            cost[name] = {key: result[key] for key in ("parameters", "seconds")}
    if BRANCH in cost:
        cost["ours"] = {key: cost[OURS_ALONE][key] + value for key, value in cost[BRANCH].items()}
    frames = with_rhythm_branch(frames) + frames
    frames += [mean_of(frames, name, trainings) for name, trainings in ENSEMBLES.items()]
    return origin | {
        "experiment": "comparison",
        "device": device(),
        "seconds": round(seconds),
        "cost": cost,
        "passes_at_least": PASSES,
        "crops": {name: m.config.crops for name, m in METHODS.items() if m.make is not None},
        **store("comparison", frames, data.table, REFERENCES),
    }
