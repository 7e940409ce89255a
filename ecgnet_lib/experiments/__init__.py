"""Experiments of record: one command makes one, `python -m ecgnet_lib experiment NAME`.

Each writes `book/results/NAME.json` with what was run on what, the metrics, and the predictions
from which they can be computed again. Never run by a build: a page reads what is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluation.metrics import METRICS
from ecgnet_lib.evaluation.results import RESULTS, load_result
from ecgnet_lib.experiments import comparison, explanation, leakage, official, options, virtual
from ecgnet_lib.files import write_json
from ecgnet_lib.paths import BUILD

OTHER = BUILD / "results"  # made on data that are not those of record

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


def run(name: str, data: str | None = None) -> Path:
    """Run one experiment, print its figures, return the result file; ConfigError if unknown.

    data: a database to make the comparison on, alone; the result then goes to `build/results/`
    and the record stays as it is.
    """
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}", expected=f"one of {', '.join(EXPERIMENTS)}"
        )
    make, file = EXPERIMENTS[name], RESULTS / f"{name}.json"
    if data is not None:
        if name != "comparison":
            raise ConfigError(
                f"the experiment {name!r} has no choice of data", expected="comparison",
                remedy="leave --data out: what is at hand of PTB-XL is read",
            )  # fmt: skip
        file = OTHER / data / file.name
        make = partial(comparison.comparison, (data,), file.parent)
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = make()
    result.setdefault("seconds", round(time.perf_counter() - began))  # many sittings count theirs
    write_json(file, result)
    for title, table in tables(name, result).items():
        print(title)
        print(table.to_string())
    return file


def tables(name: str, result: dict) -> dict[str, pd.DataFrame]:
    """Return what to print of a result; nothing of the kinds that a page alone explains."""
    if name == "comparison":
        return {
            f"\nprotocol {protocol}: macro AUC, 95 % interval, recordings": pd.DataFrame(
                [
                    [*(round(m["macro_auc"][part], 3) for part in ("value", "low", "high")), m["n"]]
                    for m in judged["methods"].values()
                ],
                index=list(judged["methods"]),
                columns=["AUC", "low", "high", "n"],
            )
            for protocol, judged in result["protocols"].items()
        }
    rows = {} if "kind" in result else result.get("rows", {name: result})
    return {
        f"{row} {judged.get('macro_auc', '')}": pd.DataFrame.from_dict(
            judged["metrics"], orient="index"
        )[["n", "positives", "estimable", *METRICS]].round(3)
        for row, judged in rows.items()
    }


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
