"""Experiments, one command each: `python -m ecgnet_lib experiment NAME`; some take hours.

Each writes `book/results/NAME.json`, whose metrics are computed from the predictions in
`NAME.csv.gz` and their truth in `NAME_truth.csv`. Pages read what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluation import results
from ecgnet_lib.experiments import comparison, explanation, leakage, official
from ecgnet_lib.experiments.common import seal
from ecgnet_lib.files import write_json

EXPERIMENTS: dict[str, Callable[[], dict]] = {
    "virtual": official.virtual,
    "default": official.default,
    "options": official.options,
    "comparison": comparison.comparison,
    "denoising": official.denoising,
    "simulation": official.simulation,
    "leakage": leakage.leakage,
    "explanation": explanation.explanation,
}


def run(name: str) -> None:
    """Run one experiment, store and print its results; ConfigError if there is none such."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"there is no experiment {name!r}", expected=list(EXPERIMENTS))
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = EXPERIMENTS[name]()
    result.setdefault("seconds", round(time.perf_counter() - began))
    write_json(results.RESULTS / f"{name}.json", result)
    seal(f"{name}.json")
    for protocol, found in result.get("protocols", {}).items():
        for method, row in found["methods"].items():
            area = results.format_interval(row["macro_auc"], form=".3f")
            print(f"{protocol}, {method}, {row['n']:,} tested: macro AUC {area}")
