"""Benchmarks of the promised speeds: one module each, with `run() -> list[Row]`.

Peers run in turns in one process, in CPU time, so that a busy machine slows all of them alike. Set
OMP_NUM_THREADS=1: CPU time counts every thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgnet_lib.files import write_json


@dataclass(frozen=True)
class Row:
    """One measured value, the median of its rounds; `met` is None where there is no target."""

    name: str
    value: float
    unit: str
    target: float | None
    met: bool | None
    range: tuple[float, float]


def row(
    name: str,
    rounds: Sequence[float],
    unit: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """Return the row of a value measured in several rounds, with a target on one side or none."""
    value, target, met = statistics.median(rounds), at_least, None
    if at_least is not None:
        met = value >= at_least
    elif at_most is not None:
        target, met = at_most, value <= at_most
    return Row(name, value, unit, target, met, (min(rounds), max(rounds)))


def interleaved(
    peers: Mapping[str, Callable[[], object]], rounds: int = 9, seconds: float = 0.1
) -> dict[str, list[float]]:
    """Return CPU seconds per call of each peer, one value a round; the peers take turns.

    Each is called once to warm up, then as often per turn as fills `seconds`.
    """
    calls = {}
    for name, call in peers.items():
        call()
        start = time.process_time()
        call()
        calls[name] = max(1, round(seconds / max(time.process_time() - start, 1e-6)))
    taken: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, call in peers.items():
            start = time.process_time()
            for _ in range(calls[name]):
                call()
            taken[name].append((time.process_time() - start) / calls[name])
    return taken


def ratios(taken: Mapping[str, Sequence[float]], slow: str, fast: str) -> list[float]:
    """Return slow / fast, round by round."""
    return [a / b for a, b in zip(taken[slow], taken[fast], strict=True)]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text: value, range over the rounds, target."""
    width, lines = max(len(one.name) for one in rows), []
    for one in rows:
        span = "({:.3g} to {:.3g})".format(*one.range)
        goal = "" if one.met is None else f"target {one.target:g}: {'met' if one.met else 'MISSED'}"
        line = f"{one.name:<{width}}  {one.value:9.4g} {one.unit:<6} {span:<20} {goal}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def write(rows: Sequence[Row], file: str | Path) -> None:
    """Write a JSON list of {name, value, unit, target, met}, all of it or nothing."""
    plain = [
        {
            "name": one.name,
            "value": float(one.value),  # NumPy's numbers and truths are not JSON's
            "unit": one.unit,
            "target": None if one.target is None else float(one.target),
            "met": None if one.met is None else bool(one.met),
        }
        for one in rows
    ]
    write_json(Path(file), plain)
