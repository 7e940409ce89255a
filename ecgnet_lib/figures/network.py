"""Figures of a recording inside the network, with alternative text: stages, gates, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, ConnectionPatch, Rectangle

from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures.ecg import PAPER, calibrate, checked, draw_trace, label_lead, paper
from ecgnet_lib.figures.style import (
    BLUE,
    GREY,
    HEAT,
    INK,
    ORANGE,
    VERMILION,
    WIDTH_IN,
    described,
    titled,
)

ARCS = 8  # of a token's attention that are drawn


@dataclass(frozen=True)
class Stage:
    """One stage of the network: what stands left, in and right of its picture.

    values: (R, N), drawn over time as `rows`: "traces" (a line each) or "heat" (a row of colours
    each); or (R,) with R names as `rows`, drawn as bars of probabilities. beside: a small map
    (A, B) drawn at the right, such as an attention. shape is written as it is.
    """

    name: str
    note: str
    shape: tuple[int, ...]
    values: np.ndarray
    rows: str | Sequence[str] = "heat"
    beside: np.ndarray | None = None


def journey(stages: Sequence[Stage], *, title: str = "") -> Figure:
    """Draw the stages below each other, time from left to right, joined by arrows."""
    heights = [1.35 if stage.rows == "traces" else 0.8 for stage in stages]
    tall = sum(heights) + 0.24 * len(stages) + (0.4 if title else 0.1)
    fig = Figure(figsize=(WIDTH_IN, tall))
    size = {"width_ratios": (1.9, 3.5, 0.75, 0.65), "height_ratios": heights}
    size |= {"left": 0.01, "right": 0.99, "bottom": 0.25 / tall, "top": 1 - 0.34 / tall}
    grid = fig.add_gridspec(len(stages), 4, wspace=0.03, hspace=0.28, **size)
    axes = []
    for k, stage in enumerate(stages):
        axes.append(fig.add_subplot(grid[k, 1]))
        draw_stage(axes[-1], stage)
        middle = np.mean(axes[-1].get_position().intervaly)
        fig.text(0.01, middle + 0.03 / tall, stage.name, weight="bold", fontsize=9.5)
        fig.text(0.01, middle - 0.03 / tall, stage.note, fontsize=7.8, va="top", color=GREY)
        look = {"fontsize": 8.5, "family": "monospace", "va": "center"}
        axes[-1].text(1.03, 0.5, shape_of(stage), transform=axes[-1].transAxes, **look)
        if stage.beside is not None:
            side = fig.add_subplot(grid[k, 3])
            side.imshow(stage.beside, cmap=HEAT, aspect="auto", interpolation="nearest")
            side.axis("off")
    look = {"arrowstyle": "-|>", "mutation_scale": 10, "color": GREY, "shrinkA": 2, "shrinkB": 2}
    for upper, lower in pairwise(axes):
        ends = (0.5, 0), (0.5, 1), "axes fraction", "axes fraction"
        fig.add_artist(ConnectionPatch(*ends, axesA=upper, axesB=lower, **look))
    words = (f"{stage.name} {shape_of(stage)}: {' '.join(stage.note.split())}." for stage in stages)
    alt = f"a recording through the network, block by block. {' Then '.join(words)}"
    fig.suptitle(title, x=0.01, y=1 - 0.1 / tall, ha="left", va="top")
    return described(fig, title, alt)


def shape_of(stage: Stage) -> str:
    """Write a shape as 12×250."""
    return "×".join(map(str, stage.shape))


def draw_stage(ax: Axes, stage: Stage) -> None:
    """Draw the values of one stage as traces, as heat, or as bars of probabilities."""
    values = np.asarray(stage.values, dtype=float)
    bars = not isinstance(stage.rows, str)
    if values.ndim != 2 - bars or (bars and len(stage.rows) != len(values)):
        found = f"{values.shape} as {stage.rows!r}"
        expected = "(R, N), or (R,) and R names"
        raise SignalError("the stage cannot be drawn", expected=expected, found=found)
    if bars:
        drawn = ax.bar(stage.rows, values, color=[VERMILION, *[BLUE] * (len(values) - 1)])
        ax.bar_label(drawn, fmt="{:.2f}", fontsize=7.5, padding=1)
        ax.set(ylim=(0, 1.28), xlim=(-0.6, len(values) - 0.4), yticks=[])
        ax.set_ylabel("probability\n(0 to 1)", fontsize=7)
        ax.tick_params(length=0, pad=2, labelsize=8)
        ax.spines["left"].set_visible(False)
        return
    ax.axis("off")
    frame = {"facecolor": PAPER, "edgecolor": "#c8c8c8", "transform": ax.transAxes, "zorder": 0}
    ax.add_patch(Rectangle((0, 0), 1, 1, **frame))
    if stage.rows == "traces":
        step = 2.5 * values.std() + 1e-9
        ax.plot((values - step * np.arange(len(values))[:, None]).T, color=INK, linewidth=0.6)
        ax.set_xlim(0, values.shape[1] - 1)
    else:  # zero in the middle; the rarest values would leave all others in one colour
        top = np.quantile(np.abs(values), 0.98)
        ax.imshow(values, cmap=HEAT, aspect="auto", interpolation="nearest", vmin=-top, vmax=top)


def gates(
    features: np.ndarray,
    channel: np.ndarray,
    temporal: np.ndarray,
    gated: np.ndarray,
    window_s: float,
    *,
    title: str = "",
) -> Figure:
    """Draw CBAM's product: features (C, P), both gates (C,) and (P,), what passes (C, P).

    Features are sorted by their gate, the most open on top.
    """
    features, channel, temporal, gated = map(np.asarray, (features, channel, temporal, gated))
    shape = (len(channel), len(temporal))
    if not features.shape == gated.shape == shape:
        raise SignalError("the gates do not fit", expected=shape, found=features.shape)
    order = np.argsort(-channel)
    fig = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    places = [["in", "which", "out"], ["when", ".", "bar"]]
    ratios = {"width_ratios": (12, 1, 12), "height_ratios": (6, 1)}
    axes = fig.subplot_mosaic(places, gridspec_kw=ratios)
    for name, values in (("in", features), ("out", gated)):
        values, ax = np.abs(values)[order], axes[name]
        ax.imshow(values, cmap=HEAT, aspect="auto", extent=(0, window_s, len(channel), 0), vmin=0)
        ax.set_title(f"features {name}, size 0 to {values.max():.1f}", weight="normal")
        ax.set(yticks=[], xlabel="time (s)")
    look = {"cmap": HEAT, "aspect": "auto", "vmin": 0, "vmax": 1}
    shown = axes["which"].imshow(channel[order][:, None], **look)
    axes["when"].imshow(temporal[None], extent=(0, window_s, 1, 0), **look)
    axes["in"].set_ylabel("feature (most open on top)")
    axes["which"].set(xticks=[], yticks=[])
    axes["which"].set_xlabel("which", labelpad=19)
    axes["when"].set(xlabel="time (s)", yticks=[], ylabel="when")
    fig.colorbar(shown, axes["bar"], orientation="horizontal", ticks=[0, 1], label="gate (0 to 1)")
    alt = f"{len(channel)} features over {window_s:g} s, before and after two gates. The gate of a "
    alt += f"feature runs from {channel.min():.2f} to {channel.max():.2f}, that of a moment from "
    alt += f"{temporal.min():.2f} to {temporal.max():.2f}."
    return titled(fig, title, alt)


def one_lead(
    signal: np.ndarray, fs_hz: float, y: tuple[float, float], title: str
) -> tuple[Figure, Axes]:
    """Draw lead II (1, T) in mV on ECG paper over the heights `y` in mV."""
    fig, ax = paper(signal.shape[1] / fs_hz, y, title)
    calibrate(ax, -0.34, 0.0)
    label_lead(ax, -0.32, -0.38, "II")
    draw_trace(ax, signal[0], fs_hz, 0.0)
    return fig, ax


def patches(
    signal: np.ndarray, fs_hz: float, patch: int, stride: int, *, title: str = ""
) -> Figure:
    """Draw lead II (T,) in mV and, below it, one bar for the samples that each token sees.

    patch, stride: in samples; bars lie on as many lines as keep them apart. Patches overlap the
    ends of the crop as those of the stem do, which repeats the first and the last sample there.
    """
    signal = checked(signal, ["II"])
    seconds, count, lines = signal.shape[1] / fs_hz, signal.shape[1] // stride, -(-patch // stride)
    low = float(np.floor(2 * signal.min()) / 2)
    y = (low - 0.25 - 0.16 * lines, max(signal.max(), 1) + 0.4)
    fig, ax = one_lead(signal, fs_hz, y, title)
    for k in range(count):
        begin = (k * stride - (patch - stride) / 2) / fs_hz
        start, stop = max(0.0, begin), min(seconds, begin + patch / fs_hz)
        corner, colour = (start + 0.006, low - 0.2 - 0.16 * (k % lines)), (BLUE, ORANGE, GREY)
        bar = Rectangle(corner, stop - start - 0.012, 0.1, linewidth=0, color=colour[k % lines % 3])
        ax.add_patch(bar)
    what = f"{seconds:g} s of lead II cut into {count} patches of {1000 * patch / fs_hz:.0f} ms"
    return described(fig, title, f"{what}, one every {1000 * stride / fs_hz:.0f} ms.")


def token_attention_arcs(
    signal: np.ndarray, fs_hz: float, attention: np.ndarray, token: int, *, title: str = ""
) -> Figure:
    """Draw on lead II (T,) in mV to which moments one token attends: an arc to each of the ARCS
    with the largest weights, the thicker the larger the weight.

    attention: (P, P), row = query, P equal steps over the crop; token: the query.
    """
    signal, attention = checked(signal, ["II"]), np.asarray(attention, dtype=float)
    if attention.ndim != 2 or not 0 <= token < len(attention):
        raise SignalError(f"no token {token}", expected="a row of (P, P)", found=attention.shape)
    seconds, shares = signal.shape[1] / fs_hz, attention[token]
    half = seconds / len(shares) / 2
    at = (2 * np.arange(len(shares)) + 1) * half
    base = max(float(signal.max()), 0.5) + 0.3
    heights = 0.35 + 0.9 * np.abs(at - at[token]) / seconds  # of the arcs, mV
    y = np.floor(2 * signal.min() - 0.5) / 2, np.ceil(2 * (base + heights.max() + 0.2)) / 2
    fig, ax = one_lead(signal, fs_hz, y, title)
    ax.axvspan(at[token] - half, at[token] + half, color=VERMILION, alpha=0.3, linewidth=0)
    best = [k for k in np.argsort(-shares)[:ARCS] if k != token]
    for k in best:
        size = abs(at[k] - at[token]), 2 * heights[k]
        look = {"color": BLUE, "linewidth": 0.6 + 5 * shares[k] / shares.max(), "alpha": 0.75}
        middle = ((at[k] + at[token]) / 2, base)
        ax.add_patch(Arc(middle, *size, theta1=0, theta2=180, zorder=4, **look))
        ax.plot(at[k], base, "o", color=BLUE, markersize=3.5, zorder=5)
    look = {"fontsize": 8, "ha": "center", "va": "top", "color": BLUE, "zorder": 6}
    ax.text(at[best[0]], base - 0.08, f"{shares[best[0]]:.0%}", **look)
    ax.plot(at[token], base, "v", color=VERMILION, markersize=7, zorder=6)
    targets = ", ".join(f"{at[k]:.2f} s ({shares[k]:.0%})" for k in best)
    what = f"the moment at {at[token]:.2f} s of lead II attends most to {targets}; "
    return described(fig, title, f"{what}an equal share would be {1 / len(shares):.0%}.")
