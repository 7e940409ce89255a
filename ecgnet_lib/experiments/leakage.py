"""The leakage lab on PTB-XL: one network, and one forest beside it, under every protocol."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

import ecgnet_lib
from ecgnet_lib.datasets.splits import Split
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.evaluation.leakage import (
    NAMES,
    PROTOCOLS,
    SCORES,
    WINDOW_S,
    cohort,
    cut,
    deal,
    judge,
    on_features,
    overlap,
    predictions,
)
from ecgnet_lib.evaluation.results import RESULTS, load_predictions
from ecgnet_lib.experiments.common import DENOISING, RESAMPLES, about, official_ptbxl
from ecgnet_lib.experiments.jobs import Jobs
from ecgnet_lib.experiments.out_of_fold import TRUTH
from ecgnet_lib.files import write_atomic
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.training.loop import Labels, TrainConfig, fit, predict_crops

FILE = "leakage.csv.gz"
OF_EACH = 84  # recordings of a disease: as few as leave 20 in the test set
# A network shows a leak when it can learn by heart: small batches, nothing that holds it back.
CONFIG = TrainConfig(
    crops=16_000, batch=16, learning_rate=2e-3, weight_decay=0.0, gain=0.0, lead_dropout=0.0,
    noise_mv=0.0, wander_mv=0.0, crop_s=WINDOW_S,
)  # fmt: skip
MODEL = replace(ModelConfig(), dropout=0.0, scale_mv=1.0)  # the lab standardises the leads itself
CODE = (
    *("evaluation/leakage", "datasets/splits", "training/loop", "denoising/daubechies"),
    *("network/ecgnet", "network/cbam", "network/gat", "network/tst"),
)


def leakage() -> dict:
    """Which F1 does the same network reach under which protocol?

    A protocol that differs from another in the threshold alone takes its predictions. They go to
    `leakage.csv.gz`. What is finished lies under build/experiments/ and is not done twice.
    """
    data, table, _ = official_ptbxl()
    rows = cohort(table, OF_EACH)
    table = table.iloc[rows]
    signals = denoise(data.signals.batch(rows), data.fs_hz, DENOISING)
    learners = {
        "network": network,
        "trees": on_features(ExtraTreesClassifier(300, random_state=0), data.fs_hz),
    }
    split = deal(cut(table, PROTOCOLS["patient"]), PROTOCOLS["patient"])
    said = about("leakage", data, split, CONFIG) | {
        "denoise": DENOISING,
        "recordings": len(table),
        "patients": int(table.patient.nunique()),
        "model_config": MODEL.to_dict(),
        "code_sha256": code_digest(),
    }
    trained = {name: trained_as(name) for name in PROTOCOLS}
    jobs, todo = Jobs("leakage"), {}
    for learner, learn in learners.items():
        for name in dict.fromkeys(trained.values()):
            work = partial(columns_of, PROTOCOLS[name], signals, table, data.fs_hz, learn)
            todo[learner, name] = (jobs.name(f"{learner} {name}", said), work)
    jobs.run_all(dict(todo.values()))
    done = {key: jobs.load(job) for key, (job, _) in todo.items()}
    seconds = sum(float(columns.pop("seconds")) for columns in done.values())
    scored = write(done, table)
    result = {"kind": "leakage", **said, "seconds": round(seconds), "protocols": {}}
    for name, protocol in PROTOCOLS.items():
        windows = cut(table, protocol)
        dealt = deal(windows, protocol)
        result["protocols"][name] = {
            "says": protocol.says,
            "sound": protocol.sound,
            "predictions": trained[name],
            "n_windows": {part: len(getattr(dealt, part)) for part in ("train", "val", "test")},
            "overlap": overlap(dealt, windows),
            "methods": {
                learner: judged(scored, learner, trained[name], protocol.threshold_from)
                for learner in learners
            },
        }
    return result


def trained_as(name: str) -> str:
    """Return the first protocol that trains as this one does."""

    def key(protocol: str) -> object:
        return replace(PROTOCOLS[protocol], says="", threshold_from="")

    return next(other for other in PROTOCOLS if key(other) == key(name))


def network(x: np.ndarray, windows: pd.DataFrame, split: Split):
    """Train our network on standardised windows; see `leakage.Learner`."""
    labels = Labels.of(windows)
    model, _ = fit(x, labels, split.train, split.val, lambda: FoundationalECGNet(MODEL), CONFIG)
    return lambda part: np.column_stack(predict_crops(model, part))


def columns_of(*pipeline: object) -> dict[str, np.ndarray]:
    """Run one protocol; give what a file keeps of its predictions, and the CPU seconds it took."""
    began = time.process_time()
    frame = predictions(*pipeline)
    kinds = {"set": str, "recording": str, "start_s": float} | dict.fromkeys(SCORES, np.float32)
    columns = {name: frame[name].to_numpy(kind) for name, kind in kinds.items()}
    return columns | {"seconds": np.array(time.process_time() - began)}


def write(done: dict[tuple[str, str], dict[str, np.ndarray]], table: pd.DataFrame) -> pd.DataFrame:
    """Write predictions (to four decimals) and truth; return them as a page reads them again."""
    frames = [
        pd.DataFrame(columns).assign(method=learner, protocol=name)
        for (learner, name), columns in done.items()
    ]
    plain = pd.concat(frames).rename(columns=dict(zip(SCORES, NAMES, strict=True)))
    plain = plain[["method", "protocol", "set", "recording", "start_s", *NAMES]]
    text = plain.to_csv(index=False, float_format="%.4f")
    write_atomic(RESULTS / FILE, gzip.compress(text.encode(), mtime=0))
    truth = table[TRUTH].assign(**{name: table[name].astype(int) for name in TRUTH[2:]})
    write_atomic(RESULTS / FILE.replace(".csv.gz", "_truth.csv"), truth.to_csv().encode())
    return load_predictions(FILE)


def judged(scored: pd.DataFrame, learner: str, protocol: str, threshold_from: str) -> dict:
    """Return thresholds and metrics of the predictions of one training."""
    rows = scored[(scored.method == learner) & (scored.protocol == protocol)]
    thresholds, metrics = judge(rows, threshold_from, RESAMPLES)
    return {"thresholds": thresholds, "metrics": json.loads(metrics.to_json(orient="index"))}


def code_digest() -> str:
    """Return a checksum of the code that the predictions depend on."""
    here = Path(ecgnet_lib.__file__).parent
    code = b"".join((here / f"{name}.py").read_bytes() for name in CODE)
    return hashlib.sha256(code).hexdigest()
