"""Pictures of what probabilities are worth: calibration, triage, coverage, benefit, abstention.

As in `figures`, each function returns a Figure whose label is its alternative text.
`figures_scores.reliability` draws the reliability diagram.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ecgnet_lib.evaluation.risk import HIGH_AT_LEAST, LOW_AT_MOST
from ecgnet_lib.figures.style import BLUE, GREEN, INK, ORANGE, VERMILION, WIDTH_IN, named, style

GREY = "#808080"
LEVEL_COLOURS = {"low": BLUE, "medium": ORANGE, "high": VERMILION}


@style()
def calibration_errors(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the ECE of each label before and after scaling over its noise floor.

    table: index label; columns before, after, floor_high (97.5 % point of `risk.noise_floor`).
    """
    fig = Figure(figsize=(WIDTH_IN, 1.1 + 0.32 * len(table)), layout="constrained")
    ax = fig.subplots()
    rows = np.arange(len(table))
    ax.barh(rows, table["floor_high"], height=0.7, color="#d9d9d9", label="noise floor (97.5 %)")
    ax.hlines(rows, table["before"], table["after"], color=GREY, linewidth=1)
    ax.plot(table["before"], rows, "o", color=VERMILION, markerfacecolor="white", label="before")
    ax.plot(table["after"], rows, "o", color=BLUE, label="after")
    ax.set(yticks=rows, yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), title=title,
           xlabel="expected calibration error (0 to 1)", ylabel="class")  # fmt: skip
    ax.set_xlim(left=0)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.legend(loc="best")
    said = "; ".join(
        f"{name}: {row['before']:.3f} before, {row['after']:.3f} after, floor "
        f"{row['floor_high']:.3f}"
        for name, row in table.iterrows()
    )
    fig.set_label(named(title, f"expected calibration errors and their noise floors. {said}."))
    return fig


@style()
def level_rates(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the observed share of abnormal recordings in each triage level, and its size.

    table: as `risk.observed_rates` returns it. Dashed lines are what the cuts aim at.
    """
    fig = Figure(figsize=(WIDTH_IN, 2.5), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    for y, (name, row) in enumerate(table.iterrows()):
        colour = LEVEL_COLOURS[name]
        if row["n"]:
            left.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
            left.plot(row["rate"], y, "o", color=colour, markersize=7)
        right.barh(y, row["share"], color=colour, height=0.5)
        right.text(row["share"] + 0.02, y, f"{row['n']:,.0f}", va="center", fontsize=8.5)
    for aim in (LOW_AT_MOST, HIGH_AT_LEAST):
        left.axvline(aim, color=GREY, linewidth=1, linestyle="--", zorder=0)
    left.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.5, -0.5),
             xlim=(-0.01, 1.01), xlabel="abnormal (observed share, 0 to 1)",
             ylabel="triage level")  # fmt: skip
    right.set(xlim=(0, min(1.0, table["share"].max() * 1.4)),
              xlabel="share of the recordings (0 to 1)")  # fmt: skip
    left.grid(axis="x")
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    said = "; ".join(
        f"{name}: {row['rate']:.3f} [{row['low']:.3f}, {row['high']:.3f}] of {row['n']:,.0f}"
        if row["n"]
        else f"{name}: no recording"
        for name, row in table.iterrows()
    )
    fig.set_label(named(title, f"observed share of abnormal recordings, 95 % intervals. {said}."))
    return fig


@style()
def coverages(tables: Mapping[str, pd.DataFrame], promised: float, *, title: str = "") -> Figure:
    """Draw how often the sets hold the truth, over all and by class, one colour a kind of set.

    tables: name of the kind -> a table as `risk.observed_rates` returns it, of equal rows.
    """
    fig = Figure(figsize=(WIDTH_IN, 2.5), layout="constrained")
    ax = fig.subplots()
    looks = zip((BLUE, VERMILION, GREEN), ("o", "s", "^"), strict=True)
    said = []
    for k, ((kind, table), (colour, mark)) in enumerate(zip(tables.items(), looks, strict=False)):
        y = np.arange(len(table)) + 0.22 * (k - (len(tables) - 1) / 2)
        ax.hlines(y, table["low"], table["high"], color=colour, linewidth=2)
        ax.plot(table["rate"], y, mark, color=colour, label=kind)
        each = ", ".join(f"{name} {rate:.3f}" for name, rate in table["rate"].items())
        said.append(f"{kind}: {each}")
    ax.axvline(promised, color=GREY, linewidth=1, linestyle="--", zorder=0, label="promised")
    ax.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.5, -0.5),
           xlabel="sets that hold the truth (share, 0 to 1)", ylabel="recordings",
           title=title)  # fmt: skip
    ax.grid(axis="x")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    fig.set_label(named(title, f"coverage, {promised:g} promised. {'; '.join(said)}."))
    return fig


@style()
def net_benefit(curves: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Draw decision curves of networks by name against acting on all and on none.

    curves: name -> table of `risk.decision_curve`, of the same recordings and thresholds.
    """
    fig = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    ax = fig.subplots()
    looks = zip((BLUE, VERMILION, GREEN), ("-", "--", ":"), strict=True)
    for (name, table), (colour, dash) in zip(curves.items(), looks, strict=False):
        ax.plot(table.index, table["network"], color=colour, linestyle=dash, label=name)
    t = table.index.to_numpy()
    ax.plot(t, table["all"], color=GREY, linewidth=1, label="look at all")
    ax.plot(t, table["none"], color=INK, linewidth=1, label="look at none")
    top = table["all"].max()
    ax.set(xlabel="threshold: chance of abnormal from which on somebody looks (0 to 1)",
           ylabel="net benefit (per recording)", title=title, xlim=(t[0], t[-1]),
           ylim=(-0.15 * top, 1.08 * top))  # fmt: skip
    ax.grid()
    ax.legend()
    said = []
    for name, table in curves.items():
        better = (table["network"] > table[["all", "none"]].max(axis=1)).mean()
        said.append(f"{name}: above looking at all and at none for {better:.0%} of the thresholds")
    fig.set_label(named(title, f"decision curves. {'; '.join(said)}."))
    return fig


@style()
def selective_f1(answered: np.ndarray, f1: np.ndarray, target: float, *, title: str = "") -> Figure:
    """Draw F1 against the share answered, with a 95 % band.

    answered, f1: (R, K) as `risk.abstention` returns them; row 0 is the point, the others are the
    resamples. target: a line, and where the curve last reaches it.
    """
    grid = np.linspace(0.05, 1, 96)
    curves = np.stack([np.interp(grid, a, v) for a, v in zip(answered, f1, strict=True)])
    low, high = pd.DataFrame(curves[1:]).quantile([0.025, 0.975]).to_numpy()  # skips NaN
    fig = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    ax = fig.subplots()
    ax.fill_between(grid, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    ax.plot(grid, curves[0], color=BLUE, label="F1 among the answered")
    ax.axhline(target, color=VERMILION, linewidth=1, linestyle="--", label=f"{target:g}")
    ax.set(xlabel="share answered, the surest first (0 to 1)", ylabel="F1 (0 to 1)", title=title,
           xlim=(0, 1.01), ylim=(max(0, np.nanmin(low) - 0.02), 1.005))  # fmt: skip
    ax.grid()
    ax.legend(loc="lower left")
    points = [int(np.abs(grid - share).argmin()) for share in (0.25, 0.5, 0.75, 1)]
    said = ", ".join(f"{curves[0][i]:.3f} at {grid[i]:.2f}" for i in points)
    fig.set_label(named(title, f"F1 against the share answered: {said}."))
    return fig
