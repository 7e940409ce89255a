"""Experiments of record: one command makes one, `python -m ecgnet_lib experiment NAME`.

Each writes `book/results/NAME.json` with what was run on what, the metrics, and the predictions
from which they can be computed again. Never run by a build: a page reads what is recorded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from ecgnet_lib.checkpoint import write_atomic
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluate import METRICS
from ecgnet_lib.experiments.official import default, denoising, simulation
from ecgnet_lib.results import RESULTS

EXPERIMENTS: dict[str, Callable[[], dict]] = {
    "default": default,
    "denoising": denoising,
    "simulation": simulation,
}


def run(name: str) -> Path:
    """Run one experiment, print its figures, return the result file; ConfigError if unknown."""
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}", expected=f"one of {', '.join(EXPERIMENTS)}"
        )
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = EXPERIMENTS[name]() | {"seconds": round(time.perf_counter() - began)}
    write_atomic(RESULTS / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    for row, judged in result.get("rows", {name: result}).items():
        table = pd.DataFrame.from_dict(judged["metrics"], orient="index")
        print(row, judged.get("macro_auc", ""))
        print(table[["n", "positives", "estimable", *METRICS]].round(3).to_string())
    return RESULTS / f"{name}.json"
