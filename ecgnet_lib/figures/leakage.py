"""The picture of the leakage lab: F1 by protocol, from honest to leaky.

As in `figures`, each function returns a Figure whose label is its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ecgnet_lib.figures.style import BLUE, GREEN, INK, VERMILION, WIDTH_IN, named, style

LOOKS = ((BLUE, "o", BLUE), (VERMILION, "s", "white"), (GREEN, "^", GREEN))
HONEST, LEAKY = "#eef4f9", "#fbf1ea"  # the ground behind the two kinds of protocol


@style()
def ladder(
    metrics: Mapping[str, Mapping[str, pd.DataFrame]],
    sound: Sequence[str],
    names: Sequence[str],
    reported: Mapping[str, float],
    *,
    title: str = "",
) -> Figure:
    """Draw F1 with 95 % intervals by protocol, a panel for each of `names`, a mark a method.

    metrics: method -> protocol -> table as `leakage.judge` returns it, all of the same protocols,
    top to bottom. sound: the protocols that leak nothing. reported: the F1 that the paper states,
    a line; a name without one has none.
    """
    protocols = list(next(iter(metrics.values())))
    rows = np.arange(len(protocols))
    fig = Figure(figsize=(WIDTH_IN, 1.3 + 0.3 * len(rows)), layout="constrained")
    axes = fig.subplots(1, len(names), sharey=True, squeeze=False)[0]
    said = []
    for ax, name in zip(axes, names, strict=True):
        for y, protocol in enumerate(protocols):
            ground = HONEST if protocol in sound else LEAKY
            ax.axhspan(y - 0.5, y + 0.5, color=ground, linewidth=0, zorder=0)
        for k, (method, tables) in enumerate(metrics.items()):
            colour, mark, face = LOOKS[k]
            place = rows + 0.26 * (k - (len(metrics) - 1) / 2)
            for y, protocol in zip(place, protocols, strict=True):
                row = tables[protocol].loc[name]
                if not row["estimable"]:
                    ax.text(0.5, y, "not estimable", fontsize=7, color="#707070", ha="center",
                            va="center")  # fmt: skip
                    continue
                ax.plot([row["f1_low"], row["f1_high"]], [y, y], color=colour, linewidth=1.8)
                ax.plot(row["f1"], y, mark, color=colour, markerfacecolor=face, markersize=5.5)
                said.append(f"{name}, {protocol}, {method}: {row['f1']:.2f} "
                            f"({row['f1_low']:.2f} to {row['f1_high']:.2f})")  # fmt: skip
            ax.plot([], [], mark, color=colour, markerfacecolor=face, markersize=5.5, label=method)
        if name in reported:
            ax.axvline(reported[name], color=INK, linewidth=1, linestyle="--",
                       label="the paper")  # fmt: skip
        ax.set(xlim=(0, 1.03), xlabel="F1 (0 to 1)", title=name)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(rows, protocols)
    axes[0].set(ylim=(len(rows) - 0.5, -0.5), ylabel="protocol (blue ground: sound)")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    lines = ", ".join(f"{name} {reported[name]:.3f}" for name in names if name in reported)
    fig.set_label(named(title, (
        f"F1 with 95 % intervals by protocol. Sound: {', '.join(sound)}. {'; '.join(said)}."
        + (f" The paper reports {lines}." if lines else "")
    )))  # fmt: skip
    return fig
