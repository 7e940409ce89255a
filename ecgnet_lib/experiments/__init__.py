"""Experiments of record: one command makes one, `python -m ecgnet_lib experiment NAME`.

Each writes `book/results/NAME.json` with what was run on what, the metrics, and the predictions
from which they can be computed again. Never run by a build: a page reads what is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluate import METRICS
from ecgnet_lib.experiments import comparison, explanation, leakage, official, options, virtual
from ecgnet_lib.files import write_json
from ecgnet_lib.results import RESULTS, load_result

EXPERIMENTS: dict[str, Callable[[], dict]] = {
    "virtual": virtual.virtual,
    "default": official.default,
    "options": options.options,
    "comparison": comparison.comparison,
    "denoising": official.denoising,
    "simulation": official.simulation,
    "leakage": leakage.leakage,
    "explanation": explanation.explanation,
}


def run(name: str) -> Path:
    """Run one experiment, print its figures, return the result file; ConfigError if unknown."""
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}", expected=f"one of {', '.join(EXPERIMENTS)}"
        )
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = EXPERIMENTS[name]()
    result.setdefault("seconds", round(time.perf_counter() - began))  # many sittings count theirs
    write_json(RESULTS / f"{name}.json", result)
    # a result with a "kind" is no table of classes; its page says what it holds
    rows = {} if "kind" in result else result.get("rows", {name: result})
    for row, judged in rows.items():
        table = pd.DataFrame.from_dict(judged["metrics"], orient="index")
        print(row, judged.get("macro_auc", ""))
        print(table[["n", "positives", "estimable", *METRICS]].round(3).to_string())
    return RESULTS / f"{name}.json"


def states() -> list[tuple[str, str, str]]:
    """Return (name, state, what it asks) of every experiment."""
    found = []
    for name, make in EXPERIMENTS.items():
        asks = (make.__doc__ or "").partition("\n")[0]
        try:
            result = load_result(f"{name}.json")
        except ConfigError:
            found.append((name, "not recorded", asks))
            continue
        state = f"recorded, version {result['code_version']}, {result['seconds'] / 60:.0f} min"
        found.append((name, state, asks))
    return found
