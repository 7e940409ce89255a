"""Our network beside published methods and its own ablations, on the same recordings and folds.

Three protocols, see `datasets.splits`: A, PTB-XL's official folds; B, five patient-disjoint folds
of all sources pooled; C, one database left out.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets import splits
from ecgnet_lib.datasets.splits import Split
from ecgnet_lib.denoising.apply import denoised
from ecgnet_lib.evaluation.classifiers import CLASSICAL
from ecgnet_lib.experiments import common
from ecgnet_lib.experiments.common import BRANCH, CONFIG, DENOISING, LONGER, RHYTHM_CONFIG
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
    """Return a builder of our network with these changes to its default configuration."""
    return partial(FoundationalECGNet, replace(ModelConfig(), **changes))


OURS = {"A": (1, 3), "B": (5, 3), "C": (3, 3)}
PEERS = {"A": (1, 1), "B": (5, 1), "C": (3, 1)}
SLOW = PEERS | {"B": (3, 1)}
ABLATION = {"B": (3, 1)}  # of the network trained on labels only
RECIPE = {"pretrained": True, "distilled": True}
WANG = NETWORKS["resnet1d_wang"]
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


def pool() -> tuple[tuple, dict[str, list[Split]], dict[str, str]]:
    """Load every database, merge duplicates over all of them, make and audit the splits.

    Returns (table, signals (N, 12, T) by denoising, hand-crafted features (N, F)), the splits by
    protocol, and the manifests by database.
    """
    loaded = [datasets.load(name) for name in DATABASES]
    table = pd.concat([data.table for data in loaded])
    methods = sorted({method.denoising for method in METHODS.values()} | {"none", DENOISING})
    signals = {m: np.concatenate([denoised(data, m) for data in loaded]) for m in methods}
    table = splits.merge_duplicates(table, splits.duplicates(signals["none"], table))
    # the Challenge's folders count as one database: alone they are too small
    database = np.repeat(DATABASES, [len(data.table) for data in loaded])
    folds = {
        "A": [splits.official(table)],
        "B": splits.kfold(table, 5),
        "C": splits.leave_one_source_out(table.assign(source=database)),
    }
    for split in itertools.chain(*folds.values()):
        splits.audit(split, table, signals["none"])
    manifests = {data.name: data.manifest for data in loaded}
    return (table, signals, features_of_all(signals[DENOISING])), folds, manifests


def train_and_score(
    data: tuple, start: nn.Module | None, origin: dict, method: Method, split: Split, seed: int
) -> dict[str, np.ndarray | float]:
    """Train once; return the scores (N, 6) of the validation and test recordings, and the cost.

    data: see `pool`; start: the pre-trained network, if any; origin: names both for `run_all`.
    """
    torch.set_num_threads(1)
    table, signals, features = data
    labels, signals = Labels.of(table), signals[method.denoising]
    rows = {side: signals[getattr(split, side)] for side in ("val", "test")}
    began, parameters = time.process_time(), 0.0
    if method.peer is not None:
        peer = method.peer(seed).fit(signals, labels, split.train, split.val)
        scores = {side: peer.predict(x) for side, x in rows.items()}
    else:
        crops, soft = max(method.config.crops, PASSES * len(split.train)), None
        config = replace(method.config, seed=seed, crops=crops)
        if method.distilled:
            soft = out_of_bag_soft_labels(features, labels, split.train, seed)
        sets = (signals, labels, split.train, split.val)
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
    return common.run_all(on_virtual_patients, [(method.make,)], ignore=[])[0][0]


def comparison() -> dict:
    """Ours beside its peers and ablations, on three patient-disjoint protocols."""
    data, splits_of, manifests = pool()
    table, frames, cost = data[0], [], {}
    weights = {
        key: load_checkpoint(path)[1]["weights_sha256"]
        for key, path in (("virtual_weights", VIRTUAL), ("virtual_rhythm_weights", VIRTUAL_RHYTHM))
    }
    origin = {"data_manifests": manifests, "code_version": __version__} | weights
    starts = {name: pretrained(method) for name, method in METHODS.items()}
    plan = [
        (protocol, name, fold, seed)
        for name, method in METHODS.items()
        for protocol, (folds, seeds) in method.runs.items()
        for fold, seed in itertools.product(range(folds), range(seeds))
    ]
    calls = [
        (data, starts[n], origin, replace(METHODS[n], runs={}), splits_of[p][fold], seed)
        for p, n, fold, seed in plan
    ]
    found = common.run_all(train_and_score, calls, ignore=["data", "start"])
    for (protocol, name, fold, seed), result in zip(plan, found, strict=True):
        for side in ("val", "test"):
            recordings = table.index[getattr(splits_of[protocol][fold], side)]
            frames.append(common.frame(result[side], recordings, side, name, protocol, fold, seed))
        if (protocol, fold, seed) == ("B", 0, 0):
            cost[name] = {key: result[key] for key in ("parameters", "seconds")}
    if BRANCH in cost:
        cost["ours"] = {key: cost[OURS_ALONE][key] + value for key, value in cost[BRANCH].items()}
    trained = pd.concat(frames)
    pairs = [pair for pair in WITH_RHYTHM_BRANCH.items() if pair[1] in METHODS]
    scores = pd.concat([*(common.with_rhythm_branch(trained, *pair) for pair in pairs), trained])
    means = [common.mean_of(scores, name, trainings) for name, trainings in ENSEMBLES.items()]
    return origin | {
        "experiment": "comparison",
        "device": common.device(),
        "seconds": round(sum(result["seconds"] for result in found)),
        "cost": cost,
        "passes_at_least": PASSES,
        "crops": {name: m.config.crops for name, m in METHODS.items() if m.make is not None},
        **common.store("comparison", [scores, *means], table, REFERENCES),
    }
