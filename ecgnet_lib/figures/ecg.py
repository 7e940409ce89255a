"""Figures of ECGs: the 12-lead printout, a few leads as a strip, heat on leads; on ECG paper.

ECG paper follows Kligfield et al. (2007): 25 mm/s and 10 mm/mV, so 1 s is as wide as 2.5 mV is
high; small squares of 1 mm are 0.04 s by 0.1 mV, large squares of 5 mm are 0.2 s by 0.5 mV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures.style import (
    BLUE,
    HEAT,
    INK,
    LAYERS,
    PURPLE,
    VERMILION,
    WAVES,
    WIDTH_IN,
    described,
)

PAPER, MINOR, MAJOR = "#fffafa", "#f7dede", "#edb9b9"
GRID = np.arange(12).reshape(4, 3).T  # rows of a printout: I aVR V1 V4, II aVL V2 V5, III aVF V3 V6
RHYTHM = LEADS.index("II")
LIMIT_S = 30.0  # a longer strip cannot be read in a column
FOR_AND_AGAINST = LinearSegmentedColormap.from_list("for", [BLUE, "white", VERMILION])

Marks = Mapping[str, Sequence[tuple[float, float]]]  # intervals (start_s, stop_s) by wave


def checked(signal: np.ndarray, leads: Sequence[str], what: str = "signal") -> np.ndarray:
    """Return the signal as (L, T) floats; raise SignalError unless it has one row per lead."""
    array = np.atleast_2d(np.asarray(signal, dtype=float))
    if array.ndim != 2 or array.shape[0] != len(leads) or array.shape[1] < 2:
        raise SignalError(
            f"the {what} cannot be drawn",
            expected=f"({len(leads)}, T), one row per lead {', '.join(leads)}",
            found=tuple(np.shape(signal)),
        )
    return array


def extremes(signal: np.ndarray, leads: Sequence[str]) -> str:
    """Describe the largest deflections in a sentence for the alternative text."""
    signal = np.where(np.isfinite(signal), signal, 0.0)
    high, low = signal.max(axis=1), signal.min(axis=1)
    return (
        f"Highest point {high.max():+.1f} mV in {leads[int(high.argmax())]}, "
        f"lowest {low.min():+.1f} mV in {leads[int(low.argmin())]}."
    )


def stack(rows: np.ndarray, room_mv: float, least_mv: float) -> tuple[np.ndarray, float, float]:
    """Place rows (R, pieces, n) mV below each other: baselines, bottom and top of the paper.

    Baselines fall on large squares; a wild row is cut at 3 mV and does not push the others away.
    """
    rows = np.where(np.isfinite(rows), rows, 0.0)
    high, low = rows.max(axis=2).clip(0.5, 3.0), rows.min(axis=2).clip(-3.0, -0.3)
    gaps = np.ceil(((high[1:] - low[:-1]).max(axis=1, initial=0.0) + room_mv) * 2) / 2
    base = -np.cumsum([0.0, *np.maximum(gaps, least_mv)])
    bottom, top = base[-1] + low[-1].min() - room_mv, max(high[0].max(), 1.0) + room_mv
    return base, np.floor(bottom * 2) / 2, np.ceil(top * 2) / 2


def paper(
    seconds: float, y: tuple[float, float], title: str, before_s: float = 0.4
) -> tuple[Figure, Axes]:
    """Return an empty sheet of ECG paper over y millivolts, in true proportions.

    Seconds are numbered; up to 3 s every large square is. `before_s` is for names and calibration.
    """
    side, foot, head = 0.3, 0.5, 0.32 if title else 0.08  # inches around the paper
    x = (-before_s, np.ceil(seconds * 5) / 5 + 0.2)
    width_mm, height_mm = 25 * (x[1] - x[0]), 10 * (y[1] - y[0])
    # as wide as the column, but no more than 1.5 times life size unless that is under 4 inches
    inch_per_mm = min((WIDTH_IN - side - 0.05) / width_mm, max(0.06, 4 / width_mm))
    w, h = width_mm * inch_per_mm, height_mm * inch_per_mm
    size = (w + side + 0.05, h + foot + head)
    fig = Figure(figsize=size)
    ax = fig.add_axes((side / size[0], foot / size[1], w / size[0], h / size[1]))
    ax.set(xlim=x, ylim=y, facecolor=PAPER, aspect=10 / 25)
    for axis, minor, major in ((ax.xaxis, 0.04, 0.2), (ax.yaxis, 0.1, 0.5)):
        axis.set_minor_locator(MultipleLocator(minor))
        axis.set_major_locator(MultipleLocator(major))
    ax.grid(which="minor", color=MINOR, linewidth=0.35)
    ax.grid(which="major", color=MAJOR, linewidth=0.6)
    ax.tick_params(which="both", length=0, labelleft=False, pad=2)
    ax.spines[:].set(visible=True, color=MAJOR)
    ax.set_xlabel("time (s); paper: 25 mm/s, 10 mm/mV", labelpad=2)
    ax.set_ylabel("amplitude (mV)", labelpad=3)
    ax.set_title(title)
    step = 0.2 if seconds <= 3 else 1.0

    def numbered(value: float, _position: int) -> str:
        near = abs(value / step - round(value / step)) < 1e-6
        return f"{value:g}" if near and 0 <= value <= seconds + 1e-6 else ""

    ax.xaxis.set_major_formatter(FuncFormatter(numbered))
    return fig, ax


def label_lead(ax: Axes, x: float, y: float, lead: str) -> None:
    """Write a lead's name; the trace stays on top."""
    card = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.8}
    ax.text(x, y, lead, fontsize=9, weight="bold", color=INK, va="center", bbox=card, zorder=2.5)


def calibrate(ax: Axes, x: float, base: float) -> None:
    """Draw the calibration pulse: 1 mV for 0.2 s."""
    seconds, mv = np.array([0, 0.04, 0.04, 0.24, 0.24, 0.28]), np.array([0, 0, 1, 1, 0, 0])
    ax.plot(x + seconds, base + mv, color=INK, linewidth=0.9)


def shade(ax: Axes, marks: Marks, y: tuple[float, float]) -> None:
    """Shade intervals in seconds between two heights, one colour a wave."""
    for wave, spans in marks.items():
        for start, stop in spans:
            look = {"color": WAVES.get(wave, PURPLE), "alpha": 0.35, "linewidth": 0}
            ax.fill_between([start, stop], *y, zorder=1.5, label=wave, **look)


def draw_trace(
    ax: Axes, values: np.ndarray, fs_hz: float, base: float, start_s: float = 0.0, **look
) -> None:
    """Draw values (T,) in mV above `base`."""
    look = {"color": INK, "linewidth": 0.9, "zorder": 3} | look
    ax.plot(start_s + np.arange(len(values)) / fs_hz, base + values, **look)


def legend(ax: Axes) -> None:
    """Name layers and waves above the paper, once each."""
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(handles)}
        ax.legend(handles.values(), handles, borderpad=0.1, handlelength=1.6, **place)


def ecg_paper(
    signal: np.ndarray, fs_hz: float, *, title: str = "", marks: Marks | None = None
) -> Figure:
    """Draw a 12-lead ECG as it is printed: four columns of three leads, and a rhythm strip of II.

    signal: (12, T) mV, of which at most 10 s are drawn. marks: shaded on the rhythm strip.
    """
    signal = checked(signal, LEADS)
    seconds = min(10.0, signal.shape[1] / fs_hz)
    shown = signal[:, : round(seconds * fs_hz)]
    pieces = np.stack(np.split(shown[:, : shown.shape[1] // 4 * 4], 4, axis=1), axis=1)
    rows = np.concatenate([pieces[GRID, range(4)], pieces[[RHYTHM]]])  # (4 rows, 4 pieces, n)
    base, bottom, top = stack(rows, room_mv=0.6, least_mv=2.0)
    fig, ax = paper(seconds, (bottom, top), title, before_s=0.6)
    for line, height in zip([*GRID, [RHYTHM]], base, strict=True):
        calibrate(ax, -0.48, height)
        width = seconds / len(line)
        for column, row in enumerate(line):
            start, stop = (round((column + k) * width * fs_hz) for k in (0, 1))
            piece = signal[row, start : stop + 1]
            draw_trace(ax, piece, fs_hz, height, start / fs_hz)
            name_at = top_of(piece[: round(0.5 * fs_hz)], height) + 0.05
            label_lead(ax, column * width + 0.04, name_at, LEADS[row])
            if column:  # a short bar where one lead ends and the next begins
                ends = height + np.array([-0.25, 0.25])
                ax.plot([column * width] * 2, ends, color=INK, linewidth=0.9)
    if marks:
        shade(ax, marks, (base[-1] - 0.4, top_of(shown[RHYTHM], base[-1])))
        legend(ax)
    what = f"12-lead ECG on paper, {seconds:g} s at {fs_hz:g} Hz, 25 mm/s and 10 mm/mV. "
    return described(fig, title, what + extremes(shown, LEADS) + first_marks(marks))


def first_marks(marks: Marks | None) -> str:
    """Describe in words where the first marks are."""
    spans = [(wave, *found[0]) for wave, found in (marks or {}).items() if found]
    first = [f"{wave} from {start:.2f} to {stop:.2f} s" for wave, start, stop in spans]
    return f" Marked: {', '.join(first)}." if first else ""


def top_of(trace: np.ndarray, base: float) -> float:
    """Return the height in mV just above a trace that stands on `base`."""
    return base + max(0.5, float(np.nanmax(trace, initial=0.0))) + 0.25


def ecg_strip(
    signal: np.ndarray,
    fs_hz: float,
    leads: Sequence[str],
    *,
    title: str = "",
    overlay: Mapping[str, np.ndarray] | None = None,
    name: str = "as recorded",
    marks: Marks | None = None,
    heat: np.ndarray | None = None,
    heat_name: str = "attention",
) -> Figure:
    """Draw one lead (T,) or a few (L, T) in mV below each other on ECG paper.

    overlay: further signals (L, T) by name, drawn over the first, which is then called `name`.
    marks: shaded on every lead. heat: (L, P) in [0, 1], P equal steps over the strip, a band below
    each trace. Raises SignalError when a shape does not fit or the strip is longer than 30 s.
    """
    layers = {name: checked(signal, leads)}
    layers |= {key: checked(value, leads, key) for key, value in (overlay or {}).items()}
    seconds = layers[name].shape[1] / fs_hz
    if seconds > LIMIT_S:
        expected, found = f"at most {LIMIT_S:g} s", f"{seconds:g} s"
        raise SignalError("the strip is too long to read", expected=expected, found=found)
    every = np.concatenate(list(layers.values()), axis=1)[:, None]  # (L, 1, T of all layers)
    base, bottom, top = stack(every, room_mv=0.8 if heat is not None else 0.4, least_mv=1.5)
    fig, ax = paper(seconds, (bottom, top), title)
    looks = [{"color": ink, "label": key} for key, ink in zip(layers, LAYERS, strict=False)]
    looks = looks if overlay else [{}]
    for row, lead in enumerate(leads):
        calibrate(ax, -0.34, base[row])
        for values, look in zip(layers.values(), looks, strict=False):
            draw_trace(ax, values[row], fs_hz, base[row], **look)
        label_lead(ax, -0.32, base[row] - 0.38, lead)
        if marks:
            shade(ax, marks, (base[row] - 0.4, top_of(every[row], base[row])))
    legend(ax)
    over = f" Drawn over it: {', '.join(overlay)}." if overlay else ""
    alt = f"ECG strip of {', '.join(leads)}, {seconds:g} s at {fs_hz:g} Hz. "
    alt += extremes(layers[name], leads) + over + first_marks(marks)
    if heat is not None:
        heat = checked(heat, leads, "heat")
        edges = np.linspace(0, seconds, heat.shape[1] + 1)
        for values, trace, height in zip(heat, every[:, 0], base, strict=True):
            y = height + max(np.nanmin(trace, initial=0.0), -3.0) - np.array([0.35, 0.15])
            mesh = ax.pcolormesh(edges, y, values[None], cmap=HEAT, vmin=0, vmax=1)
        heat_bar(fig, ax, mesh, f"{heat_name} (0 to 1)", [0, 1])
        hottest = (np.nanargmax(heat.max(axis=0)) + 0.5) * seconds / heat.shape[1]
        alt += f" {heat_name.capitalize()} is highest at {hottest:.1f} s."
    return described(fig, title, alt)


def heat_bar(fig: Figure, ax: Axes, mesh: QuadMesh, label: str, ticks: Sequence[int]) -> None:
    """Draw a colour bar below the paper, right of the label of time."""
    width, height = fig.get_size_inches()
    bar = fig.add_axes((1 - 1.75 / width, 0.2 / height, 1.65 / width, 0.09 / height))
    fig.colorbar(mesh, cax=bar, orientation="horizontal", ticks=ticks)
    bar.set_xlim(ticks[0], ticks[-1])
    bar.tick_params(length=0, pad=1, labelsize=8)
    bar.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8.5)
    ax.xaxis.set_label_coords(0.0, -0.24 / (height * ax.get_position().height))
    ax.xaxis.label.set_horizontalalignment("left")


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
    one is divided by its largest absolute value: orange is for the class, blue against.
    """
    signal, heat = checked(signal, LEADS), checked(heat, LEADS, "heat")
    signed = heat.min() < 0
    low = 0.0 if signed else heat.min()
    shades = (heat - low) / max(np.abs(heat - low).max(), 1e-12)
    seconds = signal.shape[1] / fs_hz
    base, bottom, top = stack(signal[GRID], room_mv=0.5, least_mv=2.0)
    fig, ax = paper(4 * seconds, (bottom, top), title)
    for line, height in zip(GRID, base, strict=True):
        calibrate(ax, -0.34, height)
        for column, row in enumerate(line):
            start = column * seconds
            edges = np.linspace(start, start + seconds, heat.shape[1] + 1)
            span = height + np.array([min(signal[line].min(), -0.3), max(signal[line].max(), 0.5)])
            look = {"cmap": FOR_AND_AGAINST, "vmin": -1, "vmax": 1, "alpha": 0.75, "linewidth": 0}
            look |= {"zorder": 1.2, "rasterized": True}
            mesh = ax.pcolormesh(edges, span.clip(bottom, top), shades[row][None], **look)
            draw_trace(ax, signal[row], fs_hz, height, start, linewidth=0.8)
            name_at = top_of(signal[row, : round(0.5 * fs_hz)], height)
            label_lead(ax, start + 0.04, name_at, LEADS[row])
            if column:
                ax.plot([start] * 2, span, color=INK, linewidth=0.6)
    ax.set_xticks([])
    ax.set_xlabel(f"the same {seconds:g} s of every lead; 25 mm/s, 10 mm/mV", labelpad=4)
    heat_bar(fig, ax, mesh, heat_name, [-1, 0, 1] if signed else [0, 1])
    lead, step = np.unravel_index(heat.argmax(), heat.shape)
    marked = np.sort(heat.clip(0), axis=None)[::-1]
    tenth = marked[: max(1, round(len(marked) / 10))].sum() / max(marked.sum(), 1e-12)
    at_s = (step + 0.5) * seconds / heat.shape[1]
    alt = f"{heat_name} on {seconds:g} s of the 12 leads. It is highest in {LEADS[lead]} at "
    alt += f"{at_s:.2f} s; its highest tenth holds {tenth:.0%} of what it marks."
    return described(fig, title, alt)
