"""Pictures of what a recording becomes inside the network, moment by moment.

As in `figures`, each function returns a Figure whose label is its alternative text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, ConnectionPatch, Rectangle

from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures.ecg import (
    PAPER,
    calibrate,
    checked,
    draw_all,
    label_lead,
    paper,
    whole_seconds,
)
from ecgnet_lib.figures.style import BLUE, HEAT, INK, ORANGE, VERMILION, WIDTH_IN, named, style

GREY = "#6b6b6b"


@dataclass(frozen=True)
class Stage:
    """One stop of a recording on its way: what stands left, in and right of its picture.

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


@style()
def journey(stages: Sequence[Stage], *, title: str = "") -> Figure:
    """Draw the stages below each other, time from left to right, joined by arrows.

    Raises SignalError for values that fit neither of the three ways to draw.
    """
    heights = [1.35 if stage.rows == "traces" else 0.8 for stage in stages]
    gap, head, foot = 0.24, 0.34 if title else 0.08, 0.3
    tall = head + sum(heights) + gap * (len(stages) - 1) + foot
    fig = Figure(figsize=(WIDTH_IN, tall))
    if title:
        fig.text(0.05 / WIDTH_IN, 1 - 0.2 / tall, title, fontsize=10, weight="bold", va="center")
    y, axes = tall - head, []
    for stage, high in zip(stages, heights, strict=True):
        y -= high
        ax = fig.add_axes((2.0 / WIDTH_IN, y / tall, 3.5 / WIDTH_IN, high / tall))
        draw_stage(ax, stage)
        middle = (y + high / 2) / tall
        fig.text(0.05 / WIDTH_IN, middle, stage.name, weight="bold", fontsize=9.5, va="bottom")
        fig.text(0.05 / WIDTH_IN, middle - 0.03 / tall, stage.note, fontsize=7.8, va="top",
                 color=GREY, linespacing=1.15)  # fmt: skip
        fig.text(5.58 / WIDTH_IN, middle, "×".join(map(str, stage.shape)), fontsize=8.5,
                 family="monospace", va="center")  # fmt: skip
        if stage.beside is not None:
            side = fig.add_axes((6.3 / WIDTH_IN, y / tall, 0.65 / WIDTH_IN, high / tall))
            side.imshow(stage.beside, cmap=HEAT, aspect="auto", interpolation="nearest")
            side.axis("off")
        axes.append(ax)
        y -= gap
    for upper, lower in pairwise(axes):
        fig.add_artist(ConnectionPatch(
            (0.5, 0), (0.5, 1), "axes fraction", "axes fraction", axesA=upper, axesB=lower,
            arrowstyle="-|>", mutation_scale=10, color=GREY, shrinkA=2, shrinkB=2,
        ))  # fmt: skip
    fig.set_label(named(title, "a recording on its way through the network. " + " Then ".join(
        f"{s.name} {'×'.join(map(str, s.shape))}: {' '.join(s.note.split())}." for s in stages
    )))  # fmt: skip
    return fig


def draw_stage(ax: Axes, stage: Stage) -> None:
    """Draw the values of one stage as traces, as heat, or as bars of probabilities."""
    values = np.asarray(stage.values, dtype=float)
    bars = not isinstance(stage.rows, str)
    if values.ndim != 2 - bars or (bars and len(stage.rows) != len(values)):
        raise SignalError("the stage cannot be drawn", expected="(R, N), or (R,) and R names",
                          found=f"{values.shape} as {stage.rows!r}")  # fmt: skip
    if bars:
        ax.bar(range(len(values)), values, color=[VERMILION, *[BLUE] * (len(values) - 1)])
        for k, value in enumerate(values):
            ax.text(k, value + 0.04, f"{value:.2f}", ha="center", fontsize=7.5)
        ax.set(ylim=(0, 1.28), xlim=(-0.6, len(values) - 0.4), yticks=[])
        ax.set_ylabel("probability\n(0 to 1)", fontsize=7)
        ax.set_xticks(range(len(values)), stage.rows, fontsize=8)
        ax.tick_params(length=0, pad=2)
        ax.spines["left"].set_visible(False)
        return
    ax.axis("off")
    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, facecolor=PAPER,
                           edgecolor="#c8c8c8", zorder=0))  # fmt: skip
    if stage.rows == "traces":
        step = 2.5 * values.std() + 1e-9
        ax.plot((values - step * np.arange(len(values))[:, None]).T, color=INK, linewidth=0.6)
        ax.set(xlim=(0, values.shape[1] - 1))
    else:  # zero in the middle; the rarest values would leave all others in one colour
        top = np.quantile(np.abs(values), 0.98)
        ax.imshow(values, cmap=HEAT, aspect="auto", interpolation="nearest", vmin=-top, vmax=top)


@style()
def gates(features: np.ndarray, channel: np.ndarray, temporal: np.ndarray,
          gated: np.ndarray, window_s: float, *, title: str = "") -> Figure:  # fmt: skip
    """Draw CBAM's product: features (C, P), both gates (C,) and (P,), what passes (C, P).

    Features are sorted by their gate, the most open on top. Raises SignalError when the shapes do
    not fit.
    """
    features, channel, temporal, gated = (
        np.asarray(a, dtype=float) for a in (features, channel, temporal, gated)
    )
    if features.shape != gated.shape or features.shape != (len(channel), len(temporal)):
        raise SignalError("the gates do not fit the features", found=features.shape,
                          expected=(len(channel), len(temporal)))  # fmt: skip
    order = np.argsort(-channel)
    fig = Figure(figsize=(WIDTH_IN, 3.1))
    look = {"cmap": HEAT, "aspect": "auto", "interpolation": "nearest"}
    span = {"extent": (0, window_s, len(channel), 0)}
    for left, values, name in ((0.3, features, "in"), (4.15, gated, "out")):
        ax = fig.add_axes((left / WIDTH_IN, 0.33, 2.75 / WIDTH_IN, 0.48))
        top = np.abs(values).max()
        ax.imshow(np.abs(values)[order], vmin=0, **look, **span)
        ax.set_title(f"features {name}, size 0 to {top:.1f}", weight="normal")
        ax.set(yticks=[], xlabel="time (s)" if name == "out" else "")
        ax.tick_params(labelbottom=name == "out")
        if name == "in":
            ax.set_ylabel("feature (most open on top)")
    which = (3.2, 0.33, 0.22, 0.48), channel[order][:, None], (0, 1, 1, 0)
    when = (0.3, 0.17, 2.75, 0.09), temporal[None], (0, window_s, 1, 0)
    for (left, bottom, wide, high), values, extent in (which, when):
        ax = fig.add_axes((left / WIDTH_IN, bottom, wide / WIDTH_IN, high))
        shown = ax.imshow(values, vmin=0, vmax=1, extent=extent, **look)
    fig.axes[2].axis("off")
    fig.axes[2].set_title("which", weight="normal")
    ax.set(xlabel="time (s)", yticks=[])
    fig.text(0.08 / WIDTH_IN, 0.215, "when", fontsize=9, va="center", rotation=90)
    fig.text(3.78 / WIDTH_IN, 0.57, "=", fontsize=20, ha="center", va="center")
    bar = fig.add_axes((4.15 / WIDTH_IN, 0.155, 1.2 / WIDTH_IN, 0.03))
    fig.colorbar(shown, bar, orientation="horizontal", ticks=[0, 1], label="gate (0 to 1)")
    bar.tick_params(labelsize=8)
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    fig.set_label(named(title, (
        f"{len(channel)} features over {window_s:g} s, before and after two gates. The gate of a "
        f"feature runs from {channel.min():.2f} to {channel.max():.2f}, that of a moment from "
        f"{temporal.min():.2f} to {temporal.max():.2f}."
    )))  # fmt: skip
    return fig


@style()
def patches(signal: np.ndarray, fs_hz: float, patch: int, stride: int, lead: str = "II",
            *, title: str = "") -> Figure:  # fmt: skip
    """Draw a lead (T,) in mV and, below it, one bar for the samples that each token sees.

    patch, stride: in samples; bars lie on as many lines as keep them apart. Patches overlap the
    ends of the strip as those of the stem do, which repeats the first and the last sample there.
    """
    signal = checked(signal, [lead])
    seconds = signal.shape[1] / fs_hz
    lines = -(-patch // stride)
    low = float(np.floor(2 * signal.min()) / 2)
    bottom = low - 0.25 - 0.16 * lines
    fig, ax = paper((-0.4, np.ceil(seconds * 5) / 5 + 0.2), (bottom, max(signal.max(), 1) + 0.4),
                    title)  # fmt: skip
    calibrate(ax, -0.34, 0.0)
    label_lead(ax, -0.32, -0.38, lead)
    draw_all(ax, {lead: signal}, 0, 0.0, fs_hz, (0.0, seconds))
    count = signal.shape[1] // stride
    side = (patch - stride) / 2
    for k in range(count):
        start = max(0.0, (k * stride - side) / fs_hz)
        stop = min(seconds, (k * stride - side + patch) / fs_hz)
        ax.add_patch(Rectangle((start + 0.006, low - 0.2 - 0.16 * (k % lines)),
                               stop - start - 0.012, 0.1, linewidth=0,
                               color=(BLUE, ORANGE, GREY)[k % lines % 3]))  # fmt: skip
    ax.xaxis.set_major_formatter(whole_seconds(seconds))
    text = f"{seconds:g} s of lead {lead} cut into {count} patches of {1000 * patch / fs_hz:.0f} "
    fig.set_label(named(title, text + f"ms, one every {1000 * stride / fs_hz:.0f} ms."))
    return fig


@style()
def listening(signal: np.ndarray, fs_hz: float, attention: np.ndarray, asks: int, lead: str = "II",
              *, title: str = "", keep: int = 8) -> Figure:  # fmt: skip
    """Draw on a lead (T,) in mV to which moments one token listens: an arc to each of the `keep`
    it hears best, the thicker the larger its share.

    attention: (P, P), row = listener, P equal steps over the strip; asks: the token that listens.
    Raises SignalError when the attention has no such row.
    """
    signal, attention = checked(signal, [lead]), np.asarray(attention, dtype=float)
    if attention.ndim != 2 or not 0 <= asks < len(attention):
        raise SignalError("the attention has no such token", found=f"{asks} of {attention.shape}",
                          expected="a row of (P, P)")  # fmt: skip
    seconds = signal.shape[1] / fs_hz
    shares = attention[asks]
    at = (np.arange(len(shares)) + 0.5) * seconds / len(shares)
    base = max(float(signal.max()), 0.5) + 0.3
    reach = 0.35 + 0.9 * np.abs(at - at[asks]).max() / seconds  # height of the widest arc, mV
    bottom, top = np.floor(2 * signal.min() - 0.5) / 2, np.ceil(2 * (base + reach + 0.2)) / 2
    fig, ax = paper((-0.4, np.ceil(seconds * 5) / 5 + 0.2), (bottom, top), title)
    calibrate(ax, -0.34, 0.0)
    label_lead(ax, -0.32, -0.3, lead)
    draw_all(ax, {lead: signal}, 0, 0.0, fs_hz, (0.0, seconds))
    half = seconds / len(shares) / 2
    ax.axvspan(at[asks] - half, at[asks] + half, color=VERMILION, alpha=0.3, linewidth=0)
    best = [k for k in np.argsort(-shares)[:keep] if k != asks]
    for k in best:
        wide = abs(at[k] - at[asks])
        ax.add_patch(Arc(((at[k] + at[asks]) / 2, base), wide, 2 * (0.35 + 0.9 * wide / seconds),
                         theta1=0, theta2=180, color=BLUE, linewidth=0.6 + 5 * shares[k] /
                         shares.max(), alpha=0.75, zorder=4))  # fmt: skip
        ax.plot(at[k], base, "o", color=BLUE, markersize=3.5, zorder=5)
    ax.text(at[best[0]], base - 0.08, f"{shares[best[0]]:.0%}", fontsize=8, ha="center", va="top",
            color=BLUE, zorder=6)  # fmt: skip
    ax.plot(at[asks], base, "v", color=VERMILION, markersize=7, zorder=6)
    ax.xaxis.set_major_formatter(whole_seconds(seconds))
    heard = ", ".join(f"{at[k]:.2f} s ({shares[k]:.0%})" for k in best)
    text = f"the moment at {at[asks]:.2f} s of lead {lead} listens most to {heard}; "
    fig.set_label(named(title, text + f"an equal share would be {1 / len(shares):.0%}."))
    return fig
