"""What makes a small set go further? Each option of the training alone, judged by validation.

PTB-XL's folds 1-7 are trained on; folds 8 and 9 choose the epoch, as `fit` does, and judge. So all
rows are a little too good, and alike. The test fold is not touched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from ecgnet_lib import __version__
from ecgnet_lib.denoising.apply import denoised
from ecgnet_lib.evaluation.metrics import MIN_POSITIVES, macro_auc_samples
from ecgnet_lib.evaluation.results import RESULTS
from ecgnet_lib.experiments.common import (
    CONFIG,
    DENOISING,
    NAMES,
    STRIP_CONFIG,
    TAUGHT,
    device,
    interval,
    official_ptbxl,
)
from ecgnet_lib.experiments.jobs import Jobs
from ecgnet_lib.experiments.out_of_fold import resamples, write_predictions
from ecgnet_lib.network.checkpoint import VIRTUAL, VIRTUAL_STRIP, load_checkpoint
from ecgnet_lib.network.ecgnet import FoundationalECGNet
from ecgnet_lib.network.rhythm import ARR, RhythmNet
from ecgnet_lib.training.distillation import features_of_all, out_of_bag_soft_labels
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops
from ecgnet_lib.training.pretraining import pretrain

SEEDS = (0, 1)
PLAIN = "labels only"


@dataclass(frozen=True)
class Option:
    """One way to train the default network."""

    config: TrainConfig = CONFIG
    start: str = ""  # "virtual", "virtual strip": on virtual patients; "masked": on hidden values
    taught: bool = False


OPTIONS: dict[str, Option] = {
    PLAIN: Option(),
    "no augmentation": Option(replace(CONFIG, gain=0, lead_dropout=0, noise_mv=0, wander_mv=0)),
    "focal loss": Option(replace(CONFIG, focal_gamma=2.0)),
    "averaged weights": Option(replace(CONFIG, ema=0.999)),
    "more crops": Option(TAUGHT),
    "masked values first": Option(start="masked"),
    "virtual patients first": Option(start="virtual"),
    "teacher": Option(taught=True),
    "virtual patients, teacher": Option(start="virtual", taught=True),
    "virtual patients, teacher, more crops": Option(TAUGHT, "virtual", taught=True),
    "strip": Option(STRIP_CONFIG, "virtual strip", taught=True),  # judged with the one before
}
LAST, STRIP = list(OPTIONS)[-2:]
TOGETHER = "the last, mean of the seeds"  # of their probabilities
HEARD = "the last, with a rhythm strip"


def options() -> dict:
    """What makes a small set go further? Each option of the training alone, by validation.

    Runs every job that is not done; started in two processes, they share the work.
    """
    data, table, split = official_ptbxl()
    fold, patient = (table[name].to_numpy() for name in ("fold", "patient"))
    val = np.concatenate([split.train[fold[split.train] == 8], split.val])
    train = np.setdiff1d(split.train, np.flatnonzero(np.isin(patient, patient[val])))
    signals, labels, jobs = denoised(data, DENOISING), Labels.of(table), Jobs("options")
    starts = {
        name: load_checkpoint(path)[1]["weights_sha256"]
        for name, path in (("virtual", VIRTUAL), ("virtual strip", VIRTUAL_STRIP))
    }
    soft_labels = out_of_bag_soft_labels(features_of_all(signals), labels, train)

    def score(option: Option, seed: int) -> dict[str, np.ndarray]:
        config, start, began = replace(option.config, seed=seed), None, time.perf_counter()
        make = FoundationalECGNet
        if option.start == "virtual":
            start, _ = load_checkpoint(VIRTUAL)
        elif option.start == "virtual strip":
            make, (start, _) = RhythmNet, load_checkpoint(VIRTUAL_STRIP)
        elif option.start == "masked":
            start, _ = pretrain(signals, train, config=config)
        soft = soft_labels if option.taught else None
        model, _ = fit(signals, labels, train, val, make, config, start, soft_labels=soft)
        scores = np.column_stack(predict_crops(model, signals, config.crop_s, rows=val))
        return {"scores": scores, "seconds": np.array(time.perf_counter() - began)}

    todo, names = {}, {}
    for seed in SEEDS:
        for name, option in OPTIONS.items():
            about = {
                "data_manifest": data.manifest, "code_version": __version__,
                "train_config": option.config.to_dict(), "taught": option.taught,
                "start": starts.get(option.start, option.start),
            }  # fmt: skip
            job = Jobs.name(f"{name} seed {seed}", about)
            todo[job], names[job] = partial(score, option, seed), (name, seed)
    jobs.run_all(todo)
    found = {names[job]: jobs.load(job)["scores"] for job in todo}
    found[TOGETHER, 0] = np.mean([found[LAST, seed] for seed in SEEDS], axis=0)
    for seed in SEEDS:
        heard, strip = found[LAST, seed].copy(), found.pop((STRIP, seed))
        heard[:, ARR] = (heard[:, ARR] + strip[:, ARR]) / 2
        found[HEARD, seed] = heard
    frames = [
        pd.DataFrame(scores, index=table.index[val], columns=NAMES).assign(
            protocol="validation", method=name, part=0, seed=seed, set="val"
        )
        for (name, seed), scores in found.items()
    ]
    rows, columns = compared(
        write_predictions(RESULTS / "options.csv.gz", pd.concat(frames), table)
    )
    return {
        "kind": "options",
        "data": data.note,
        "data_manifest": data.manifest,
        "code_version": __version__,
        "device": device(),
        "seconds": round(sum(float(jobs.load(job)["seconds"]) for job in todo)),
        "n": {"train": len(train), "val": len(val)},
        "columns": columns,
        "configs": {name: option.config.to_dict() for name, option in OPTIONS.items()},
        "rows": rows,
    }


def compared(predictions: pd.DataFrame) -> tuple[dict[str, dict], list[str]]:
    """Return each option's macro AUC, the mean over its seeds, and its difference to PLAIN.

    Also the columns averaged over: those with enough positives. Intervals are 95 % bootstraps over
    patients, the same resamples for all.
    """
    once = predictions.drop_duplicates("recording").set_index("recording")
    columns = [name for name in NAMES if once[name].sum() >= MIN_POSITIVES]
    counts = resamples(once)
    samples: dict[str, np.ndarray] = {}
    seeds: dict[str, list[float]] = {}
    for name, runs in predictions.groupby("method", sort=False):
        drawn = []
        for _, run in runs.groupby("seed"):
            scores = run.set_index("recording").loc[once.index, [f"p_{c}" for c in columns]]
            scores = scores.set_axis(columns, axis=1)
            drawn.append(macro_auc_samples(once[columns], scores, counts))
        samples[name], seeds[name] = np.mean(drawn, axis=0), [float(one[0]) for one in drawn]
    rows = {
        name: {"seeds": seeds[name], "macro_auc": interval(drawn)}
        | ({} if name == PLAIN else {f"difference_to_{PLAIN}": interval(drawn - samples[PLAIN])})
        for name, drawn in samples.items()
    }
    return rows, columns
