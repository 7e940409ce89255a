"""Ours beside its peers and its own ablations, on the same recordings, parts and crops.

Three protocols, see `splits.py`: A, PTB-XL's official folds; B, five patient-disjoint parts of all
sources pooled; C, one database left out. A job is one training: protocol, method, part, seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

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
from ecgnet_lib.evaluation.results import RESULTS
from ecgnet_lib.experiments.common import CONFIG, DENOISING, NAMES, STRIP_CONFIG, TAUGHT, device
from ecgnet_lib.experiments.jobs import Jobs
from ecgnet_lib.experiments.out_of_fold import compare, write_predictions
from ecgnet_lib.experiments.virtual import on_virtual_patients
from ecgnet_lib.network.baselines import NETWORKS
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_STRIP, load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, count_parameters
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

DATABASES = ("ptbxl", "ludb", "challenge-2021")
PASSES = 8  # a network sees each training recording at least so often, however many there are


@dataclass(frozen=True)
class Method:
    """One row of the comparison: what is trained, on what signals, and how often.

    runs: {protocol: (parts, seeds)}; a protocol that is not named is not run.
    """

    runs: dict[str, tuple[int, int]]
    make: Callable[[], nn.Module] | None = None  # a network, or
    peer: type | None = None  # a classifier that is none
    denoising: str = DENOISING
    virtual: bool = False  # trained on virtual patients first
    taught: bool = False  # by a forest too, see `distillation.py`
    config: TrainConfig = CONFIG


def ours(**changes: object) -> Callable[[], nn.Module]:
    """Return a builder of our network with a configuration that departs from the default."""
    return partial(FoundationalECGNet, replace(ModelConfig(), **changes))


OURS = {"A": (1, 3), "B": (5, 3), "C": (3, 3)}
PEERS = {"A": (1, 1), "B": (5, 1), "C": (3, 1)}
SLOW = PEERS | {"B": (3, 1)}
ABLATION = {"B": (3, 1)}  # of the network that sees real recordings only
METHODS: dict[str, Method] = {
    "no strip": Method(OURS, ours(), virtual=True, taught=True, config=TAUGHT),
    "strip": Method(OURS, RhythmNet, virtual=True, taught=True, config=STRIP_CONFIG),
    "MiniRocket": Method(PEERS, peer=CLASSICAL["MiniRocket"]),
    "features": Method(PEERS, peer=CLASSICAL["features"]),
    "untrained": Method(PEERS, peer=CLASSICAL["untrained"]),
    "resnet1d_wang": Method(PEERS, NETWORKS["resnet1d_wang"]),
    "wang, longer": Method({"B": (3, 1)}, NETWORKS["resnet1d_wang"], config=TAUGHT),
    "wang, taught": Method(
        {"A": (1, 1), "B": (5, 1)},
        NETWORKS["resnet1d_wang"],
        virtual=True,
        taught=True,
        config=TAUGHT,
    ),
    "virtual first": Method(PEERS, ours(), virtual=True),
    "real only": Method(PEERS, ours()),
    "real only, longer": Method({"B": (3, 1)}, ours(), config=TAUGHT),
    "no GAT": Method(ABLATION, ours(gat="none")),
    "no TST": Method(ABLATION, ours(tst=False)),
    "no CBAM": Method(ABLATION, ours(cbam=False)),
    "one stage": Method(ABLATION, ours(head="one-stage")),
    "no denoising": Method(ABLATION, ours(), denoising="none"),
    "CNN-LSTM": Method(PEERS, NETWORKS["CNN-LSTM"]),
    "xresnet1d101": Method(SLOW, NETWORKS["xresnet1d101"]),
}
HEARD = {"no strip": "ours", "wang, taught": "wang, taught, strip"}  # with the strip beside them
TOGETHER = {  # means of the probabilities of several trainings, each a method and its seed
    "three of ours": [("ours", 0), ("ours", 1), ("ours", 2)],
    "ours + features": [("ours", 0), ("features", 0)],
}


@dataclass(frozen=True, eq=False)
class Pool:
    """All databases as one table, with their signals in memory (N, 12, T) by denoising."""

    table: pd.DataFrame
    signals: dict[str, np.ndarray]
    splits: dict[str, list[Split]]
    manifests: dict[str, str]

    @cached_property
    def features(self) -> np.ndarray:
        """The hand-crafted features (N, F), for soft labels."""
        return features_of_all(self.signals[DENOISING])


def pool(databases: tuple[str, ...] = DATABASES) -> Pool:
    """Load every database, merge duplicates over all of them, make and audit the splits.

    For protocol C the Challenge's folders count as one database: alone they are too small to judge.
    One database alone has no protocol C.
    """
    loaded = [datasets.load(name) for name in databases]
    table = pd.concat([data.table for data in loaded])
    methods = sorted({method.denoising for method in METHODS.values()} | {"none"})
    signals = {m: np.concatenate([denoised(data, m) for data in loaded]) for m in methods}
    table = merge_duplicates(table, duplicates(signals["none"], table))
    database = np.repeat(databases, [len(data.table) for data in loaded])
    splits = {"A": [official(table)], "B": kfold(table, 5)}
    if len(databases) > 1:
        splits["C"] = leave_one_source_out(table.assign(source=database))
    for split in (split for parts in splits.values() for split in parts):
        audit(split, table, signals["none"])
    return Pool(table, signals, splits, {data.name: data.manifest for data in loaded})


def train_and_score(data: Pool, method: Method, split: Split, seed: int) -> dict[str, np.ndarray]:
    """Do one job; give the scores (N, 6) of validation and test recordings, and what it cost."""
    labels, signals = Labels.of(data.table), data.signals[method.denoising]
    rows = {side: signals[getattr(split, side)] for side in ("val", "test")}
    start = on_virtual(method) if method.virtual else None
    began, parameters = time.process_time(), 0
    if method.peer is not None:
        peer = method.peer(seed).fit(signals, labels, split.train, split.val)
        scores = {side: peer.predict(x) for side, x in rows.items()}
    else:
        crops = max(method.config.crops, PASSES * len(split.train))
        config = replace(method.config, seed=seed, crops=crops)
        soft = None
        if method.taught:
            soft = out_of_bag_soft_labels(data.features, labels, split.train, seed)
        model, _ = fit(
            signals, labels, split.train, split.val, method.make, config, start, soft_labels=soft
        )
        scores = {
            side: np.column_stack(predict_crops(model, x, config.crop_s))
            for side, x in rows.items()
        }
        parameters = count_parameters(model)
    cost = {"parameters": parameters, "seconds": time.process_time() - began}
    return scores | {name: np.array(value) for name, value in cost.items()}


def on_virtual(method: Method) -> nn.Module:
    """Return the network after virtual patients: ours as recorded, a peer trained in the same way.

    The peer is trained once; its weights lie with the jobs.
    """
    if isinstance(method.make, partial) or method.make is RhythmNet:
        return load_checkpoint(weights_of(method))[0]

    def train() -> dict[str, np.ndarray]:
        weights = on_virtual_patients(method.make)[0].state_dict()
        return {key: value.numpy() for key, value in weights.items()}

    jobs, net = Jobs("comparison"), method.make()
    said = about_virtual(VIRTUAL) | {"parameters": count_parameters(net)}
    job = Jobs.name(f"virtual patients {type(net).__name__}", said)
    jobs.run_all({job: train})
    net.load_state_dict({key: torch.from_numpy(value) for key, value in jobs.load(job).items()})
    return net


def plan(data: Pool) -> dict[str, tuple[str, str, int, int]]:
    """Return every job's (protocol, method, part, seed); first seeds first."""
    found = {}
    for name, method in METHODS.items():
        said = about(data, method)
        for protocol, (parts, seeds) in method.runs.items():
            for part in range(parts if protocol in data.splits else 0):
                for seed in range(seeds):
                    title = f"{protocol} {name} part {part} seed {seed}"
                    found[Jobs.name(title, said)] = (protocol, name, part, seed)
    return dict(sorted(found.items(), key=lambda item: item[1][3]))


def about(data: Pool, method: Method) -> dict:
    """Return what a job's result depends on, as plain values."""
    said = {"data_manifests": data.manifests, "code_version": __version__,
            "denoising": method.denoising}  # fmt: skip
    if method.make is not None:
        said |= {"train_config": method.config.to_dict(), "taught": method.taught}
    if isinstance(method.make, partial):  # ours, and its ablations
        said["model_config"] = method.make.args[0].to_dict()
    if method.peer is CLASSICAL["untrained"]:
        said["model_config"] = ModelConfig().to_dict()
    if method.virtual:
        said |= about_virtual(weights_of(method))
    return said


def weights_of(method: Method) -> Path:
    """Return where our weights after virtual patients lie, the network's or the strip's."""
    return VIRTUAL_STRIP if method.make is RhythmNet else VIRTUAL


def about_virtual(path: Path) -> dict:
    """Return what a training on virtual patients is told by: the digest of our weights after it."""
    return {"virtual_weights": load_checkpoint(path)[1]["weights_sha256"]}


def run_jobs(data: Pool, jobs: Jobs) -> None:
    """Run every job that is not done."""
    work = {
        job: partial(train_and_score, data, METHODS[name], data.splits[protocol][part], seed)
        for job, (protocol, name, part, seed) in plan(data).items()
    }
    jobs.run_all(work)


def with_strip(frames: list[pd.DataFrame], method: str, name: str) -> list[pd.DataFrame]:
    """Return the scores of a method whose P(ARR) is averaged with that of the rhythm strip."""
    keys = ["protocol", "part", "seed", "set"]
    strip = {tuple(f[keys].iloc[0]): f["ARR"] for f in frames if f["method"].iloc[0] == "strip"}
    return [
        f.assign(method=name, ARR=(f["ARR"] + strip[tuple(f[keys].iloc[0])]) / 2)
        for f in frames
        if f["method"].iloc[0] == method
    ]


def mean_of(
    frames: list[pd.DataFrame], name: str, trainings: list[tuple[str, int]]
) -> pd.DataFrame:
    """Return the scores of a method that averages several trainings, where all were run."""
    keys = ["protocol", "part", "set"]
    scores = [
        pd.concat(f for f in frames if (f["method"].iloc[0], f["seed"].iloc[0]) == one)
        .rename_axis("recording")
        .set_index(keys, append=True)[NAMES]
        for one in trainings
    ]
    mean = (sum(scores) / len(scores)).dropna().reset_index(keys)
    return mean.assign(method=name, seed=0)


def comparison(databases: tuple[str, ...] = DATABASES, folder: Path = RESULTS) -> dict:
    """Ours beside its peers and ablations, on three honest protocols.

    Runs every job that is not done; started in two processes, they share the work. Then all methods
    are judged on the same recordings. The predictions go to `comparison.csv.gz` in the folder.
    """
    data, jobs, frames, seconds = pool(databases), Jobs("comparison"), [], 0.0
    run_jobs(data, jobs)
    cost: dict[str, dict[str, float]] = {}
    for job, (protocol, name, part, seed) in plan(data).items():
        split, result = data.splits[protocol][part], jobs.load(job)
        seconds += float(result["seconds"])
        for side in ("val", "test"):
            rows = getattr(split, side)
            frame = pd.DataFrame(result[side], index=data.table.index[rows], columns=NAMES)
            keys = {"protocol": protocol, "method": name, "part": part, "seed": seed, "set": side}
            frames.append(frame.assign(**keys))
        if (protocol, part, seed) == ("B", 0, 0):
            cost[name] = {key: float(result[key]) for key in ("parameters", "seconds")}
    heard = [f for method, name in HEARD.items() for f in with_strip(frames, method, name)]
    frames = heard + frames
    if "strip" in cost:
        cost["ours"] = {key: cost["no strip"][key] + value for key, value in cost["strip"].items()}
    frames += [mean_of(frames, name, each) for name, each in TOGETHER.items()]
    predictions = write_predictions(folder / "comparison.csv.gz", pd.concat(frames), data.table)
    return {
        "kind": "comparison",
        **about(data, METHODS["no strip"]),
        "virtual_strip_weights": load_checkpoint(VIRTUAL_STRIP)[1]["weights_sha256"],
        "device": device(),
        "seconds": round(seconds),
        "cost": cost,
        "passes_at_least": PASSES,
        "crops": {name: m.config.crops for name, m in METHODS.items() if m.make is not None},
        "protocols": {p: compare(rows) for p, rows in predictions.groupby("protocol", sort=False)},
    }
