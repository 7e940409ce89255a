"""What the experiments share: data, configurations, the cache of trainings, the stored form."""

from __future__ import annotations

import gzip
import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from ecgnet_lib import __version__, datasets
from ecgnet_lib.datasets import splits
from ecgnet_lib.datasets.download import read_sums
from ecgnet_lib.datasets.splits import Split
from ecgnet_lib.evaluation import results
from ecgnet_lib.evaluation.methods import NAMES, evaluate
from ecgnet_lib.files import write_atomic
from ecgnet_lib.network.rhythm import RHYTHM_S
from ecgnet_lib.paths import BUILD
from ecgnet_lib.training.loop import TrainConfig

DENOISING = "gated"
CONFIG = TrainConfig(crops=24_000)
LONGER = TrainConfig(crops=60_000)  # with distillation, which delays overfitting
RHYTHM_CONFIG = TrainConfig(crops=24_000, crop_s=RHYTHM_S, learning_rate=2e-3)
CACHE = BUILD / "experiments"
KEYS = ["protocol", "method", "fold", "seed", "set", "recording"]
TRUTH = ["patient", "source", "only_sinus_rhythm", *NAMES]
BRANCH = "rhythm branch"  # a method that knows arrhythmia alone
SEAL = "record.sha256"


def official_folds(dataset: str = "ptbxl") -> tuple[datasets.Dataset, pd.DataFrame, Split]:
    """Return PTB-XL, its table with duplicates merged, and its official folds, audited."""
    data = datasets.load(dataset)
    table = splits.merge_duplicates(data.table, splits.duplicates(data.signals, data.table))
    split = splits.official(table)
    splits.audit(split, table, data.signals)
    return data, table, split


def run_all(function: Callable, calls: Sequence[tuple], ignore: Sequence[str]) -> list:
    """Return `function(*call)` for each call, in parallel; what was computed before is read.

    Results are kept by the values of all arguments but those named in `ignore`: an experiment that
    was stopped goes on where it stopped.
    """
    cached = Memory(CACHE, verbose=0).cache(function, ignore=list(ignore))
    found = Parallel(n_jobs=-1, return_as="generator")(delayed(cached)(*call) for call in calls)
    return list(tqdm(found, desc=function.__name__, total=len(calls), unit="call"))


def frame(
    scores: np.ndarray,
    recordings: pd.Index,
    held_out: str,
    method: str,
    protocol: str = "A",
    fold: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return probabilities (N, 6) of NAMES as rows of a table of predictions; A: official folds."""
    keys = {"protocol": protocol, "method": method, "fold": fold, "seed": seed, "set": held_out}
    return pd.DataFrame(scores, columns=NAMES).assign(**keys, recording=recordings)


def with_rhythm_branch(scores: pd.DataFrame, name: str, alone: str) -> pd.DataFrame:
    """Return the method `name`: P(ARR) of `alone` is averaged with that of the rhythm branch."""
    keys = [key for key in KEYS if key != "method"]
    rows, branch = (scores[scores["method"] == n].set_index(keys) for n in (alone, BRANCH))
    return rows.assign(method=name, ARR=(rows["ARR"] + branch["ARR"]) / 2).reset_index()


def mean_of(scores: pd.DataFrame, name: str, trainings: list[tuple[str, int]]) -> pd.DataFrame:
    """Return the method `name`, the mean of several trainings, where all were run."""
    keys = [key for key in KEYS if key not in ("method", "seed")]
    rows = scores.set_index(["method", "seed"]).sort_index(kind="stable")
    parts = [rows.loc[training].set_index(keys)[NAMES] for training in trainings]
    return (sum(parts) / len(parts)).dropna().reset_index().assign(method=name, seed=0)


def store(
    name: str,
    frames: Sequence[pd.DataFrame],
    table: pd.DataFrame,
    references: Sequence[str] = (),
    threshold_from: Mapping[str, str] | None = None,
) -> dict:
    """Write predictions and truth of an experiment; return their metrics, from what was written.

    frames: see `frame`, with `start_s` where windows are classified; table: the recordings;
    references: methods that all others are compared with; threshold_from: by protocol, else "val".
    """
    scores = pd.concat(frames)
    extra = [column for column in scores if column not in (*KEYS, *NAMES)]
    text = scores[[*KEYS, *extra, *NAMES]].to_csv(index=False, float_format="%.6f")
    truth = table.loc[table.index.isin(scores["recording"]), TRUTH].copy()
    truth[NAMES] = truth[NAMES].astype("boolean").astype("Int64")
    truth["only_sinus_rhythm"] = truth["only_sinus_rhythm"].astype(int)
    text_of_truth = truth.rename_axis("recording").to_csv()
    write_atomic(results.RESULTS / f"{name}.csv.gz", gzip.compress(text.encode(), mtime=0))
    write_atomic(results.RESULTS / f"{name}_truth.csv", text_of_truth.encode())
    seal(f"{name}.csv.gz", f"{name}_truth.csv")
    stored = results.load_predictions(f"{name}.csv.gz")
    return {
        "references": list(references),
        "protocols": {
            protocol: evaluate(rows, references, (threshold_from or {}).get(protocol, "val"))
            for protocol, rows in stored.groupby("protocol", sort=False)
        },
    }


def stored_files() -> dict[str, Path]:
    """Return the files below `book/results/` by their relative names, sorted, without the seal."""
    found = (path for path in sorted(results.RESULTS.rglob("*")) if path.is_file())
    named = {path.relative_to(results.RESULTS).as_posix(): path for path in found}
    return {n: path for n, path in named.items() if n != SEAL and path.suffix != ".part"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal(*written: str) -> None:
    """Put the SHA-256 of files just written (names below `book/results/`) into `record.sha256`.

    Every other file keeps the SHA-256 that it had, so that an edit by hand is still found.
    """
    file = results.RESULTS / SEAL
    held = read_sums(file) if file.is_file() else {}
    held |= {name: sha256(results.RESULTS / name) for name in written}
    lines = [f"{held[name]}  {name}\n" for name in stored_files() if name in held]
    write_atomic(file, "".join(lines).encode())


def about(name: str, data: datasets.Dataset, split: Split, config: TrainConfig) -> dict:
    """Return what every result on PTB-XL says of itself."""
    return {
        "experiment": name,
        "data": data.note,
        "data_manifest": data.manifest,
        "protocol": split.protocol,
        "n": {part: len(getattr(split, part)) for part in ("train", "val", "test")},
        "train_config": config.to_dict(),
        "code_version": __version__,
        "device": device(),
    }


def device() -> str:
    return f"CPU, 1 thread, torch {torch.__version__}, Python {platform.python_version()}"
