"""Experiments of record: one command makes one, `python -m ecgnet_lib experiment NAME`.

Each writes `book/results/NAME.json` with what was run on what, the metrics, and the predictions
from which they can be computed again. Never run by a build: a page reads what is recorded.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ecgnet_lib import __version__, datasets
from ecgnet_lib.checkpoint import DEFAULT, save_checkpoint, write_atomic
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluate import METRICS, best_threshold, per_class, triage_cuts
from ecgnet_lib.labels import DISEASES
from ecgnet_lib.model import ModelConfig
from ecgnet_lib.splits import audit, duplicates, merge_duplicates, official
from ecgnet_lib.train import Labels, TrainConfig, fit, predict_crops

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"
NAMES = ("abnormal", *DISEASES)
DENOISING = "gated"


def default() -> dict:
    """Train the default network on PTB-XL's official folds; its weights are those of `predict`.

    Writes `book/results/weights/default.json` and `.safetensors` too.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)
    data = datasets.load("ptbxl")
    table = merge_duplicates(data.table, duplicates(data.signals, data.table))
    split = official(table)
    audit(split, table, data.signals)
    model_config, config = ModelConfig(), TrainConfig(crops=60_000)
    signals, labels = data.denoised(DENOISING), Labels.of(table)
    model, history = fit(signals, labels, split.train, split.val, model_config, config)

    val, test = (
        pd.DataFrame(
            np.column_stack(predict_crops(model, signals[rows], config.crop_s)),
            index=table.index[rows],
            columns=NAMES,
        )
        for rows in (split.val, split.test)
    )
    truth = table[list(NAMES)].astype("boolean")
    thresholds = {
        name: best_threshold(truth[name].loc[val.index].to_numpy(bool), val[name].to_numpy())
        for name in NAMES
    }
    patients = table.patient.loc[test.index].to_numpy()
    metrics = per_class(truth.loc[test.index], test, test >= pd.Series(thresholds), patients)
    about = {
        "experiment": "default",
        "data": data.note,
        "data_manifest": data.manifest,
        "protocol": split.protocol,
        "n": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "config": model_config.to_dict(),
        "train_config": config.to_dict(),
        "denoise": DENOISING,
        "thresholds": thresholds,
        "triage_cuts": triage_cuts(
            truth["abnormal"].loc[val.index].to_numpy(float), val["abnormal"].to_numpy()
        ),
        "code_version": __version__,
        "device": f"CPU, 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - began),
    }
    save_checkpoint(model, DEFAULT, {k: about[k] for k in about if k != "config"})
    result = {
        **about,
        "metrics": json.loads(metrics.to_json(orient="index")),
        "history": json.loads(history.drop(columns="seconds").to_json(orient="records")),
        "predictions": predictions(test, truth, patients),
    }
    write_atomic(RESULTS / "default.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def predictions(scores: pd.DataFrame, truth: pd.DataFrame, patients: np.ndarray) -> list[dict]:
    """Return one plain row a recording: name, patient, the truth and the scores of NAMES."""
    return [
        {
            "recording": name,
            "patient": patient,
            "truth": [int(v) for v in truth.loc[name]],
            "score": [round(float(v), 6) for v in scores.loc[name]],
        }
        for name, patient in zip(scores.index, patients, strict=True)
    ]


EXPERIMENTS: dict[str, Callable[[], dict]] = {"default": default}


def run(name: str) -> Path:
    """Run one experiment, print its table, return the result file; ConfigError if unknown."""
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}", expected=f"one of {', '.join(EXPERIMENTS)}"
        )
    result = EXPERIMENTS[name]()
    table = pd.DataFrame.from_dict(result["metrics"], orient="index")
    print(table[["n", "positives", "estimable", *METRICS]].round(3).to_string())
    return RESULTS / f"{name}.json"
