"""Pictures of the method: spectra, scalograms, the blocks, attention maps, training curves.

As in `figures`, each function returns a Figure whose label is its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.figures_style import BLUE, HEAT, INK, SKY, VERMILION, WIDTH_IN, named, style
from ecgnet_lib.records import LEADS

# Direction of each limb lead in the frontal plane, degrees clockwise from the patient's left.
HEXAXIAL = {"aVL": -30, "I": 0, "II": 60, "aVF": 90, "III": 120, "aVR": -150}
# Where the chest electrodes sit, seen from the front: the patient's left is on our right.
CHEST = {"V1": (-0.3, 0.14), "V2": (0.04, 0.14), "V3": (0.2, -0.12), "V4": (0.4, -0.34),
         "V5": (0.64, -0.28), "V6": (0.8, -0.06)}  # fmt: skip
PLACES = CHEST | {
    lead: (1.12 * np.cos(np.radians(angle)), -1.12 * np.sin(np.radians(angle)))
    for lead, angle in HEXAXIAL.items()
}


def plain(value: float, _position: int) -> str:
    """Write 10 as 10, not as a power, on a logarithmic axis."""
    return f"{value:g}"


@style()
def spectrum(signals: Mapping[str, np.ndarray], fs_hz: float, *, title: str = "",
             band_hz: tuple[float, float] | None = None) -> Figure:  # fmt: skip
    """Draw Welch power spectra of signals (T,) in mV by name; shade a pass band if given."""
    from scipy.signal import welch

    fig = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    ax = fig.subplots()
    told = []
    for name, x in signals.items():
        freqs, power = welch(np.asarray(x, dtype=float), fs_hz, nperseg=min(len(x), int(4 * fs_hz)))
        ax.loglog(freqs[1:], power[1:], label=name)
        half = freqs[1:][np.searchsorted(np.cumsum(power[1:]), power[1:].sum() / 2)]
        told.append(f"{name}: half of the power lies below {half:.1f} Hz")
    if band_hz:
        ax.axvspan(*band_hz, color=SKY, alpha=0.18, linewidth=0)
        told.append(f"the shaded pass band is {band_hz[0]:g} to {band_hz[1]:g} Hz")
    ax.set(xlabel="frequency (Hz)", ylabel="power (mV²/Hz)", title=title)
    ax.xaxis.set_major_formatter(FuncFormatter(plain))
    ax.grid(which="major")
    ax.legend()
    fig.set_label(named(title, f"power spectrum. {'; '.join(told)}."))
    return fig


@style()
def scalogram(power: np.ndarray, freqs_hz: np.ndarray, times_s: np.ndarray,
              signal: np.ndarray | None = None, *, title: str = "") -> Figure:  # fmt: skip
    """Draw wavelet power (S, T) in mV² over frequency (S,) and time (T,), the signal (T,) above.

    Colour shows decibels below the maximum. Raises SignalError when the shapes do not fit.
    """
    power, freqs_hz, times_s = (np.asarray(a, dtype=float) for a in (power, freqs_hz, times_s))
    if power.shape != (len(freqs_hz), len(times_s)):
        raise SignalError("the scalogram cannot be drawn", found=power.shape,
                          expected=(len(freqs_hz), len(times_s)))  # fmt: skip
    with_signal = signal is not None
    fig = Figure(figsize=(WIDTH_IN, 3.8 if with_signal else 2.9), layout="constrained")
    *above, ax = fig.subplots(1 + with_signal, 1, sharex=True, squeeze=False,
                              height_ratios=(1, 2.6) if with_signal else None)[:, 0]  # fmt: skip
    for top in above:
        top.plot(times_s, np.asarray(signal), color=INK, linewidth=0.9)
        top.set(ylabel="amplitude (mV)")
    decibel = 10 * np.log10(np.maximum(power / power.max(), 1e-12))
    mesh = ax.pcolormesh(times_s, freqs_hz, decibel, cmap=HEAT, vmin=-40, vmax=0, shading="nearest")
    ax.set(yscale="log", xlabel="time (s)", ylabel="frequency (Hz)")
    ax.yaxis.set_major_formatter(FuncFormatter(plain))
    fig.colorbar(mesh, ax=ax, label="power (dB below max.)", pad=0.01)
    (*above, ax)[0].set_title(title)
    row, column = np.unravel_index(power.argmax(), power.shape)
    fig.set_label(named(title, (
        f"scalogram of {times_s[-1] - times_s[0]:.1f} s between {freqs_hz.min():.2g} and "
        f"{freqs_hz.max():.3g} Hz. Power is highest at {freqs_hz[row]:.1f} Hz, "
        f"{times_s[column]:.2f} s."
    )))  # fmt: skip
    return fig


@style()
def flow(steps: Sequence[tuple[str, str, str]], *, title: str = "", columns: int = 4) -> Figure:
    """Draw boxes (label, shape, note) in reading order, joined by arrows."""
    rows = -(-len(steps) // columns)
    pitch, high = 1.42, 1.0
    fig = Figure(figsize=(WIDTH_IN, pitch * rows - 0.25 + (0.3 if title else 0.0)))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH_IN), ylim=(fig.get_figheight(), 0), aspect="equal")
    ax.axis("off")
    if title:
        ax.text(0.08, 0.2, title, fontsize=10, weight="bold")
    wide = (WIDTH_IN - 0.16 - 0.3 * (columns - 1)) / columns
    spots = [(0.08 + (k % columns) * (wide + 0.3), 0.12 + (0.3 if title else 0) + k // columns
              * pitch) for k in range(len(steps))]  # fmt: skip
    arrow = {"arrowstyle": "-|>", "mutation_scale": 11, "color": "#5f5f5f", "linewidth": 1.2,
             "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    for (x, y), (label, shape, note) in zip(spots, steps, strict=True):
        ax.add_patch(FancyBboxPatch((x + 0.04, y + 0.04), wide - 0.08, high - 0.08, linewidth=1.1,
                     boxstyle="round,pad=0.04", facecolor="#eef5fa", edgecolor=BLUE))  # fmt: skip
        middle = {"x": x + wide / 2, "ha": "center", "color": INK}
        ax.text(y=y + 0.2, s=label, weight="bold", fontsize=9.5, va="center", **middle)
        ax.text(y=y + 0.43, s=shape, family="monospace", fontsize=8, va="center", **middle)
        ax.text(
            y=y + 0.58,
            s=fill(note, int(13.5 * wide)),
            fontsize=7.8,
            va="top",
            linespacing=1.1,
            **middle,
        )
    for (x, y), (to_x, to_y) in pairwise(spots):
        if to_y == y:
            ends = [(x + wide, y + high / 2), (to_x, y + high / 2)]
        else:  # down between the rows, back to the left, into the first box of the next row
            lane = (y + high + to_y) / 2
            path = [(x + wide / 2, y + high), (x + wide / 2, lane), (to_x + wide / 2, lane)]
            ax.plot(*zip(*path, strict=True), color="#5f5f5f", linewidth=1.2)
            ends = [path[-1], (to_x + wide / 2, to_y)]
        ax.add_patch(FancyArrowPatch(*ends, **arrow))
    fig.set_label(named(title, "flow diagram. " + " Then ".join(
        f"{label}{' ' + shape if shape else ''}{': ' + note if note else ''}."
        for label, shape, note in steps
    )))  # fmt: skip
    return fig


def attention_of(weights: np.ndarray, size: int | None = None) -> np.ndarray:
    """Return the weights as a square float array, NaN-free; raise SignalError otherwise."""
    array = np.asarray(weights, dtype=float)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) != (size or len(array)):
        raise SignalError("the attention cannot be drawn", found=array.shape,
                          expected=(size or "P", size or "P"))  # fmt: skip
    return array


def strongest(weights: np.ndarray, leads: Sequence[str]) -> str:
    """Say which lead listens most to which other lead."""
    others = np.where(np.eye(len(weights), dtype=bool), -np.inf, weights)
    to, source = np.unravel_index(others.argmax(), others.shape)
    return f"{leads[to]} listens most to {leads[source]} (weight {others[to, source]:.2f})"


@style()
def lead_graph(weights: np.ndarray, leads: Sequence[str] = LEADS, *, title: str = "",
               keep: int = 24) -> Figure:  # fmt: skip
    """Draw who listens to whom among the leads, each at its place on the body.

    weights: (12, 12) attention, row = listener, column = source; the `keep` strongest arrows run
    from source to listener. A graph of zeros and ones is drawn whole, as plain lines. Limb leads
    stand at their direction in the frontal plane, chest leads where their electrodes are.
    """
    weights = attention_of(weights, len(leads))
    boolean = np.isin(weights, (0.0, 1.0)).all()
    if unknown := [lead for lead in leads if lead not in PLACES]:
        raise ConfigError("a lead has no place on the body", expected=LEADS, found=unknown)
    fig = Figure(figsize=(4.7 if boolean else 5.4, 4.7))
    ax = fig.add_axes((0.01, 0.01, 0.98 if boolean else 0.82, 0.92))
    ax.set(xlim=(-1.32, 1.32), ylim=(-1.32, 1.25), aspect="equal")
    ax.set_title(title)
    ax.axis("off")
    ax.add_patch(Ellipse((0.08, -0.12), 1.8, 1.4, facecolor="#f6f1ec", edgecolor="#d8cbbf"))
    ax.add_patch(Ellipse((0, 0), 2.24, 2.24, facecolor="none", edgecolor="#d0d0d0", linestyle=":"))
    others = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
    if boolean:
        others, keep = np.triu(others), others.size
    order = [k for k in np.argsort(others, axis=None)[::-1][:keep] if others.flat[k] > 0]
    norm, colours = mpl.colors.Normalize(0, max(others.max(), 1e-9)), mpl.colormaps[HEAT + "_r"]
    for k in reversed(order):
        to, source = np.unravel_index(k, weights.shape)
        share = 0.4 if boolean else norm(others[to, source])
        ax.add_patch(FancyArrowPatch(
            PLACES[leads[source]], PLACES[leads[to]], arrowstyle="-" if boolean else "-|>",
            connectionstyle="arc3,rad=0.12", mutation_scale=9, shrinkA=11, shrinkB=12,
            linewidth=0.5 + 2.6 * share, color="#606060" if boolean else colours(share),
        ))  # fmt: skip
    for lead in leads:
        edge = VERMILION if lead in CHEST else BLUE
        ax.scatter(*PLACES[lead], s=420, color="white", edgecolor=edge, linewidth=1.5, zorder=3)
        ax.text(*PLACES[lead], lead, fontsize=8, weight="bold", ha="center", va="center", zorder=4)
    told = f"{len(order)} pairs may listen to each other."
    if not boolean:
        bar = fig.add_axes((0.86, 0.2, 0.025, 0.55))
        fig.colorbar(mpl.cm.ScalarMappable(norm, colours), bar, label="attention weight (0 to 1)")
        told = f"the {len(order)} strongest arrows are drawn. {strongest(weights, leads)}."
    what = f"graph of {len(leads)} leads, limb leads on a circle around the chest leads; "
    fig.set_label(named(title, what + told))
    return fig


@style()
def attention_matrix(weights: np.ndarray, leads: Sequence[str] = LEADS, *,
                     title: str = "") -> Figure:  # fmt: skip
    """Draw attention between leads (12, 12), row = listener, column = source, as a heat map."""
    weights = attention_of(weights, len(leads))
    fig = Figure(figsize=(5.4, 4.6), layout="constrained")
    ax = fig.subplots()
    sns.heatmap(weights, ax=ax, cmap=HEAT, vmin=0, square=True, annot=True, fmt=".2f",
                annot_kws={"fontsize": 6.5}, xticklabels=leads, yticklabels=leads,
                cbar_kws={"label": "attention weight (0 to 1)"})  # fmt: skip
    ax.set(xlabel="source lead", ylabel="listening lead", title=title)
    ax.tick_params(axis="y", rotation=0)
    text = f"attention between {len(leads)} leads. {strongest(weights, leads)}; the mean weight on "
    fig.set_label(named(title, text + f"the lead itself is {np.diag(weights).mean():.2f}."))
    return fig


@style()
def token_attention(weights: np.ndarray, window_s: float, *, title: str = "") -> Figure:
    """Draw attention between tokens (P, P) that divide a window of seconds, row = listener."""
    weights = attention_of(weights)
    fig = Figure(figsize=(5.0, 4.2), layout="constrained")
    ax = fig.subplots()
    image = ax.imshow(weights, cmap=HEAT, extent=(0, window_s, window_s, 0), vmin=0)
    ax.set(xlabel="time looked at (s)", ylabel="time that looks (s)", title=title)
    fig.colorbar(image, ax=ax, label="attention weight (0 to 1)")
    centre = (np.arange(len(weights)) + 0.5) * window_s / len(weights)
    reach = np.average(np.abs(centre[:, None] - centre[None]), weights=np.maximum(weights, 0))
    text = f"attention between {len(weights)} tokens over {window_s:g} s. A token looks "
    fig.set_label(named(title, text + f"{reach:.2f} s away on average."))
    return fig


@style()
def training_curves(history: pd.DataFrame, *, title: str = "", kept: int | None = None) -> Figure:
    """Draw losses and validation scores over epochs.

    history: one row per epoch, with a column `epoch` or epochs as index. Columns whose name ends
    in "loss" go to the left panel, those that begin with "val_" and are no loss to the right one
    as scores in [0, 1]; other columns are left out. kept: the epoch that was kept, marked.
    """
    table = history.set_index("epoch") if "epoch" in history else history
    losses = [name for name in table if name.endswith("loss")]
    scores = [name for name in table if name.startswith("val_") and name not in losses]
    if not losses or not len(table):
        raise ConfigError("the history has no loss to draw", expected="a column ending in 'loss'",
                          found=list(history))  # fmt: skip
    fig = Figure(figsize=(WIDTH_IN, 2.7), layout="constrained")
    panels = [("loss (nats)", losses)] + ([("validation score (0 to 1)", scores)] if scores else [])
    for ax, (ylabel, names) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels,
                                   strict=True):  # fmt: skip
        draw_curves(ax, table[names], kept)
        ax.set(xlabel="epoch (passes over the training set)", ylabel=ylabel)
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    first, last = table[losses].iloc[0], table[losses].iloc[-1]
    told = [f"{name.replace('_', ' ')} from {first[name]:.3f} to {last[name]:.3f}"
            for name in losses]  # fmt: skip
    told += [f"{name.replace('_', ' ')} at best {table[name].max():.3f}" for name in scores]
    fig.set_label(named(title, f"training over {len(table)} epochs. {'; '.join(told)}."))
    return fig


def draw_curves(ax: Axes, table: pd.DataFrame, kept: int | None) -> None:
    """Draw each column over the epochs, and a line at the epoch that was kept."""
    for name in table:
        ax.plot(table.index, table[name], marker="o", markersize=3, label=name.replace("_", " "))
    if kept is not None:
        ax.axvline(kept, color="#707070", linestyle="--", linewidth=1, label="epoch kept")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    ax.legend()
