"""Figures of the method, with alternative text: spectra, graphs, attention, training curves."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures.style import BLUE, GREY, HEAT, INK, VERMILION, described, subplots, titled

# Direction from which each limb lead views the heart, degrees clockwise from the patient's left;
# aVR is drawn as -aVR, its opposite, which closes the gap between I and II (Cabrera's order).
CABRERA_DEG = {"aVL": -30, "I": 0, "aVR": 30, "II": 60, "aVF": 90, "III": 120}
# Where the chest electrodes sit, seen from the front: the patient's left is on our right. V1, V2
# beside the breastbone, V4 below the middle of the collarbone, V5 and V6 level with V4 towards the
# armpit (Kligfield et al. 2007).
CHEST = {"V1": (-0.24, 0.2), "V2": (0.12, 0.2), "V3": (0.34, -0.08), "V4": (0.56, -0.36),
         "V5": (0.86, -0.36), "V6": (1.14, -0.36)}  # fmt: skip
ARROWS = 32  # of an attention that are drawn
RING = 1.85  # radius of the circle of limb leads; the heart, at its centre, is the origin
PLACES = CHEST | {
    lead: (RING * np.cos(np.radians(angle)), -RING * np.sin(np.radians(angle)))
    for lead, angle in CABRERA_DEG.items()
}
# Half of a torso from the neck to the waist; its mirror image is the other half.
OUTLINE = ((0.0, 2.0), (0.27, 2.0), (0.27, 1.62), (0.5, 1.45), (1.15, 1.3), (1.5, 1.1),
           (1.6, 0.6), (1.68, -0.4), (1.38, -0.44), (1.28, 0.6), (1.24, 0.1), (1.2, -0.7),
           (1.08, -1.3), (1.12, -1.95), (0.0, -1.95))  # fmt: skip


def rounded(corners: np.ndarray) -> np.ndarray:
    """Cut the corners (N, 2) of an open line three times, which rounds them (Chaikin 1974)."""
    for _ in range(3):
        parts = corners[:-1, None] * [[0.75], [0.25]] + corners[1:, None] * [[0.25], [0.75]]
        corners = np.concatenate([corners[:1], parts.reshape(-1, 2), corners[-1:]])
    return corners


def spectrum(signals: Mapping[str, np.ndarray], fs_hz: float, *, title: str = "") -> Figure:
    """Draw Welch power spectra of signals (T,) in mV by name."""
    from scipy.signal import welch

    fig, ax = subplots(2.9)
    alt = []
    for name, x in signals.items():
        freqs, power = welch(np.asarray(x, dtype=float), fs_hz, nperseg=min(len(x), int(4 * fs_hz)))
        ax.loglog(freqs[1:], power[1:], label=name)
        half = freqs[1:][np.searchsorted(np.cumsum(power[1:]), power[1:].sum() / 2)]
        alt.append(f"{name}: half of the power lies below {half:.1f} Hz")
    ax.set(xlabel="frequency (Hz)", ylabel="power (mV²/Hz)")
    ax.xaxis.set_major_formatter("{x:g}")  # 10, not a power
    ax.grid(which="major")
    ax.legend()
    return titled(fig, title, f"power spectrum. {'; '.join(alt)}.")


def scalogram(
    power: np.ndarray,
    freqs_hz: np.ndarray,
    times_s: np.ndarray,
    signal: np.ndarray,
    *,
    title: str = "",
) -> Figure:
    """Draw wavelet power (S, T) in mV² over frequency (S,) and time (T,), the signal (T,) above.

    Colour shows decibels below the maximum.
    """
    fig, (above, ax) = subplots(3.8, 2, 1, sharex=True, height_ratios=(1, 2.6))
    above.plot(times_s, signal, color=INK, linewidth=0.9)
    above.set_ylabel("amplitude (mV)")
    decibel = 10 * np.log10(np.maximum(power / power.max(), 1e-12))
    mesh = ax.pcolormesh(times_s, freqs_hz, decibel, cmap=HEAT, vmin=-40, vmax=0, shading="nearest")
    ax.set(yscale="log", xlabel="time (s)", ylabel="frequency (Hz)")
    ax.yaxis.set_major_formatter("{x:g}")
    fig.colorbar(mesh, ax=ax, label="power (dB below max.)", pad=0.01)
    row, column = np.unravel_index(power.argmax(), power.shape)
    alt = (
        f"scalogram of {times_s[-1] - times_s[0]:.1f} s between {freqs_hz.min():.2g} and "
        f"{freqs_hz.max():.3g} Hz. Power is highest at {freqs_hz[row]:.1f} Hz, "
        f"{times_s[column]:.2f} s."
    )
    return titled(fig, title, alt)


def torso(ax: Axes) -> None:
    """Draw a body seen from the front: outline, collarbones, breastbone, heart, limb leads."""
    half = rounded(np.array(OUTLINE))
    whole = np.concatenate([half, half[::-1] * [-1, 1]])
    ax.fill(*whole.T, facecolor="#f7f1ea", edgecolor="#d3c3b3", linewidth=1.2)
    for side in (-1, 1):
        ax.plot([side * 0.1, side * 1.1], [1.16, 1.24], color="#d3c3b3", linewidth=1.2)
    ax.plot([-0.06, -0.06], [1.08, -0.05], color="#e6dbcf", linewidth=6, solid_capstyle="round")
    ax.add_patch(Ellipse((0.2, -0.1), 0.5, 0.76, angle=35, facecolor="#eec9c4", edgecolor="none"))
    for lead, angle in CABRERA_DEG.items():
        x, y = np.array(PLACES[lead]) / RING
        tip = ((RING - 0.16) * x, (RING - 0.16) * y)
        look = {"arrowstyle": "-|>", "mutation_scale": 9, "color": "#a9c6dc", "linewidth": 1.1}
        ax.add_patch(FancyArrowPatch((0, 0), tip, zorder=1, **look))
        look = {"fontsize": 7, "color": GREY, "ha": "center", "va": "center"}
        ax.text((RING + 0.27) * x, (RING + 0.24) * y, f"{angle}°", **look)
    for x, side in ((-1.3, "patient's right"), (1.45, "patient's left")):
        ax.text(x, 1.52, side, fontsize=7.5, color=GREY, ha="center", style="italic")


def lead_graph(weights: np.ndarray, *, title: str = "") -> Figure:
    """Draw which lead attends to which, on a torso seen from the front.

    weights: (12, 12) attention, row = target, column = source; the ARROWS strongest run from source
    to target. A graph of zeros and ones is drawn whole, as plain lines. Limb leads stand where they
    view the heart from (CABRERA_DEG), chest leads where their electrodes are (CHEST).
    """
    if np.shape(weights) != (12, 12):
        raise SignalError("not a graph of leads", expected=(12, 12), found=np.shape(weights))
    boolean = np.isin(weights, (0, 1)).all()
    fig = Figure(figsize=(5.2 if boolean else 5.9, 5.4))
    ax = fig.add_axes((0.01, 0.01, 0.98 if boolean else 0.84, 0.92))
    ax.set(xlim=(-1.9, 2.3), ylim=(-2.2, 2.02), aspect="equal")
    ax.set_title(title)
    ax.axis("off")
    torso(ax)
    others = np.where(np.eye(12), 0.0, np.triu(weights) if boolean else weights)
    order = [k for k in np.argsort(others, axis=None)[::-1] if others.flat[k] > 0]
    order = order if boolean else order[:ARROWS]
    norm, colours = mpl.colors.Normalize(0, max(others.max(), 1e-9)), mpl.colormaps[HEAT + "_r"]
    for k in reversed(order):
        to, source = divmod(k, 12)
        share = 0.4 if boolean else norm(others[to, source])
        look = {"connectionstyle": "arc3,rad=0.16", "linewidth": 0.5 + 2.6 * share, "zorder": 3}
        look |= {"arrowstyle": "-" if boolean else "-|>", "shrinkA": 9, "shrinkB": 10}
        look |= {"color": "#505050" if boolean else colours(share), "mutation_scale": 9}
        ax.add_patch(FancyArrowPatch(PLACES[LEADS[source]], PLACES[LEADS[to]], **look))
    for lead in LEADS:
        edge = VERMILION if lead in CHEST else BLUE
        ax.scatter(*PLACES[lead], s=360, color="white", edgecolor=edge, linewidth=1.5, zorder=4)
        look = {"fontsize": 6.4, "weight": "bold", "ha": "center", "va": "center", "zorder": 5}
        ax.text(*PLACES[lead], "-aVR" if lead == "aVR" else lead, **look)
    alt = f"{len(order)} pairs may attend to each other."
    if not boolean:
        bar = fig.add_axes((0.87, 0.2, 0.025, 0.55))
        fig.colorbar(mpl.cm.ScalarMappable(norm, colours), bar, label="attention weight (0 to 1)")
        to, source = divmod(order[0], 12)
        alt = (
            f"the {len(order)} strongest arrows are drawn. {LEADS[to]} attends most to "
            f"{LEADS[source]} (weight {others[to, source]:.2f})."
        )
    what = "graph of 12 leads on a torso, limb leads on a circle around it; "
    return described(fig, title, what + alt)


def token_attention(weights: np.ndarray, window_s: float, *, title: str = "") -> Figure:
    """Draw attention between tokens (P, P) that divide a window of seconds, row = query."""
    fig, ax = subplots(4.2, width_in=5.0)
    image = ax.imshow(weights, cmap=HEAT, extent=(0, window_s, window_s, 0), vmin=0)
    ax.set(xlabel="time of the key (s)", ylabel="time of the query (s)")
    fig.colorbar(image, ax=ax, label="attention weight (0 to 1)")
    centre = (np.arange(len(weights)) + 0.5) * window_s / len(weights)
    reach = np.average(np.abs(centre[:, None] - centre[None]), weights=np.maximum(weights, 0))
    what = f"attention between {len(weights)} tokens over {window_s:g} s. "
    return titled(fig, title, what + f"A token attends {reach:.2f} s away on average.")


def training_curves(history: pd.DataFrame, kept: int, *, title: str = "") -> Figure:
    """Draw the losses and the validation AUC of `training.fit` over epochs, `kept` the marked one.

    history: columns epoch, loss, val_loss and val_auc, one row an epoch.
    """
    fig, axes = subplots(2.7, 1, 2)
    panels = {"loss (nats)": ["loss", "val_loss"], "validation score (0 to 1)": ["val_auc"]}
    for ax, (ylabel, names) in zip(axes, panels.items(), strict=True):
        look = {"marker": "o", "markersize": 3}
        for name in names:
            ax.plot(history["epoch"], history[name], label=name.replace("_", " "), **look)
        ax.axvline(kept, color=GREY, linestyle="--", linewidth=1, label="epoch kept")
        ax.set(xlabel="epoch (passes over the training set)", ylabel=ylabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y")
        ax.legend()
    first, last = history.iloc[0], history.iloc[-1]
    alt = f"training over {len(history)} epochs. loss from {first.loss:.3f} to {last.loss:.3f}; "
    alt += f"val loss from {first.val_loss:.3f} to {last.val_loss:.3f}; "
    alt += f"val auc at best {history.val_auc.max():.3f}."
    return titled(fig, title, alt)
