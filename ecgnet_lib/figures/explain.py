"""Pictures of explanations: heat on the 12-lead ECG, deletion curves, intervals, random weights.

As in `figures`, each function returns a Figure whose label is its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.figures.ecg import GRID, calibrate, checked, label_lead, paper, stack, top_of
from ecgnet_lib.figures.style import (  # fmt: skip
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    WIDTH_IN,
    named,
    style,
)

# One colour and mark a map on all pictures; what knows nothing of the network is grey.
LOOK = {
    "CBAM": (GREEN, "s"),
    "GAT": (ORANGE, "^"),
    "TST": (PURPLE, "D"),
    "integrated gradients": (BLUE, "o"),
    "signal size": ("#8c8c8c", "v"),
    "random": (INK, "x"),
}
FOR_AND_AGAINST = LinearSegmentedColormap.from_list("for", [BLUE, "white", VERMILION])


@style()
def ecg_heat(
    signal: np.ndarray,
    fs_hz: float,
    heat: np.ndarray,
    *,
    title: str = "",
    heat_name: str = "attention",
) -> Figure:
    """Draw the same seconds of all 12 leads on ECG paper, three rows of four, heat behind them.

    signal: (12, T) mV, up to about 3 s; heat: (12, P), P equal steps of the strip. A map without
    negative values is stretched from its lowest (white) to its highest value (orange); a signed
    one is divided by its largest absolute value: orange speaks for, blue against. Raises
    SignalError when a shape does not fit.
    """
    signal, heat = checked(signal, LEADS), checked(heat, LEADS, "heat")
    signed = heat.min() < 0
    low = 0.0 if signed else heat.min()
    shade = (heat - low) / max(np.abs(heat - low).max(), 1e-12)
    seconds = signal.shape[1] / fs_hz
    lines = [[LEADS.index(lead) for lead in line] for line in GRID]
    base, bottom, top = stack(np.stack([signal[line] for line in lines]), 0.5, 2.0)
    fig, ax = paper((-0.4, 4 * seconds + 0.2), (bottom, top), title)
    for line, height in zip(lines, base, strict=True):
        calibrate(ax, -0.34, height)
        for column, row in enumerate(line):
            start = column * seconds
            edges = np.linspace(start, start + seconds, heat.shape[1] + 1)
            span = height + np.array([min(signal[line].min(), -0.3), max(signal[line].max(), 0.5)])
            mesh = ax.pcolormesh(edges, span.clip(bottom, top), shade[row][None], vmin=-1, vmax=1,
                                 cmap=FOR_AND_AGAINST, alpha=0.75, linewidth=0, zorder=1.2,
                                 rasterized=True)  # fmt: skip
            times = start + np.arange(signal.shape[1]) / fs_hz
            ax.plot(times, height + signal[row], color=INK, linewidth=0.8, zorder=3)
            begins = signal[row, : round(0.5 * fs_hz)]
            label_lead(ax, start + 0.04, top_of(begins, height), LEADS[row])
            if column:
                ax.plot([start] * 2, span, color=INK, linewidth=0.6)
    ax.set_xticks([])
    ax.set_xlabel(f"the same {seconds:g} s of every lead; 25 mm/s, 10 mm/mV", labelpad=4)
    width, height = fig.get_size_inches()
    bar = fig.add_axes((1 - 1.75 / width, 0.2 / height, 1.65 / width, 0.09 / height))
    fig.colorbar(mesh, cax=bar, orientation="horizontal", ticks=[-1, 0, 1] if signed else [0, 1])
    bar.set_xlim(-1 if signed else 0, 1)
    bar.tick_params(length=0, pad=1, labelsize=8)
    bar.set_ylabel(heat_name, rotation=0, ha="right", va="center", fontsize=8.5)
    ax.xaxis.set_label_coords(0.0, -0.24 / (height * ax.get_position().height))
    ax.xaxis.label.set_horizontalalignment("left")
    lead, step = np.unravel_index(heat.argmax(), heat.shape)
    at = (step + 0.5) * seconds / heat.shape[1]
    fig.set_label(named(title, (
        f"{heat_name} on {seconds:g} s of the 12 leads. It is highest in {LEADS[lead]} at "
        f"{at:.2f} s; {share_text(heat)}."
    )))  # fmt: skip
    return fig


def share_text(heat: np.ndarray) -> str:
    """Say how unevenly a map is spread: what the highest tenth of it holds."""
    marked = np.sort(np.clip(heat, 0, None).ravel())[::-1]
    tenth = marked[: max(1, round(len(marked) / 10))].sum() / max(marked.sum(), 1e-12)
    return f"its highest tenth holds {tenth:.0%} of what it marks"


@style()
def deletion_curves(
    fractions: Sequence[float],
    forms: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str = "",
) -> Figure:
    """Draw mean logits over the fraction deleted, a panel for each form of deletion.

    forms: {"cells": {"CBAM": values (F,), ..., "random": values (F,)}, ...}.
    """
    fig = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    axes = fig.subplots(1, len(forms), sharey=True, squeeze=False)[0]
    told = []
    for ax, (form, curves) in zip(axes, forms.items(), strict=True):
        for name, curve in curves.items():
            colour, mark = LOOK[name]
            dash = "--" if name == "random" else "-"
            ax.plot(100 * np.asarray(fractions), curve, dash, color=colour, marker=mark,
                    markersize=4, label=name)  # fmt: skip
        ax.set(title=form, xlabel=f"{form} deleted (%)")
        ax.grid(axis="y")
        last = "; ".join(f"{name} {curve[-1]:.1f}" for name, curve in curves.items())
        told.append(f"after deleting half of the {form}: {last}")
    axes[0].set_ylabel("logit of the predicted class")
    handles = {}
    for ax in axes:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    names = [name for name in LOOK if name in handles]
    fig.legend([handles[n] for n in names], names, loc="outside lower center", ncols=len(names))
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    fig.set_label(named(title, f"mean logit of the predicted class. {'. '.join(told)}."))
    return fig


@style()
def intervals(
    table: pd.DataFrame, *, title: str = "", xlabel: str = "", zero: str = "chance"
) -> Figure:
    """Draw values with 95 % intervals as dots and whiskers, and a line at zero.

    table: columns `panel`, `map`, `value`, `low`, `high`; a panel for each panel, in order.
    """
    panels = list(dict.fromkeys(table["panel"]))
    maps = [name for name in LOOK if name in set(table["map"])]
    fig = Figure(figsize=(WIDTH_IN, 1.3 + 0.28 * len(maps)), layout="constrained")
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for _, row in table[table["panel"] == panel].iterrows():
            (colour, mark), y = LOOK[row["map"]], maps.index(row["map"])
            ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
            ax.plot(row["value"], y, mark, color=colour, markersize=6)
        ax.axvline(0, color=INK, linewidth=0.8, linestyle="--")
        ax.set(title=panel, ylim=(len(maps) - 0.5, -0.5))
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(maps)), maps)
    fig.supxlabel(f"{xlabel}; dashed: {zero}", fontsize=9)
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    each = "; ".join(
        f"{row.panel}, {row.map}: {row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
        for row in table.itertuples()
    )
    fig.set_label(named(title, f"{xlabel}, with 95 % intervals; zero is {zero}. {each}."))
    return fig


@style()
def cascade_curves(
    parts: Sequence[str], curves: Mapping[str, Mapping[str, Mapping]], *, title: str = ""
) -> Figure:
    """Draw how alike a map stays while the weights are drawn anew, from the head down.

    curves: {map: {part: {"value", "low", "high"}}}, Spearman correlations with the trained map.
    """
    fig = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    ax = fig.subplots()
    at = np.arange(len(parts) + 1)
    for name, by_part in curves.items():
        colour, mark = LOOK[name]
        value, low, high = ([1.0, *(by_part[part][key] for part in parts)]
                            for key in ("value", "low", "high"))  # fmt: skip
        ax.plot(at, value, color=colour, marker=mark, markersize=5, label=name)
        ax.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.axhline(0, color=INK, linewidth=0.8, linestyle="--")
    labels = ["trained", *(part.replace("_", "\n") for part in parts)]
    ax.set_xticks(at, labels)
    ax.set(xlabel="drawn anew: this part and all to its left", title=title, ylim=(None, 1.05),
           ylabel="rank correlation with\nthe trained map")  # fmt: skip
    ax.grid(axis="y")
    ax.legend(loc="lower left")
    last = "; ".join(
        f"{name} {by_part[parts[-1]]['value']:.2f}" for name, by_part in curves.items()
    )
    fig.set_label(named(title, (
        "rank correlation between the maps of the trained network and of one whose parts are drawn "
        f"anew from the head down. With nothing left of what was learned: {last}."
    )))  # fmt: skip
    return fig
