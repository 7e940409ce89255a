"""The two pictures of the cover: what is honest, and how 99 % can be reached.

Both are drawn from results of record. As in `figures`, each function returns a Figure whose label
is its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from ecgnet_lib.figures.leakage import HONEST, LEAKY
from ecgnet_lib.figures.style import BLUE, INK, VERMILION, style

REPORTED = {"abnormal": 0.99, "CD": 0.99, "HYP": 0.99, "ARR": 0.989}  # F1 in the abstract
DECISIONS = {"abnormal": "normal or\nabnormal", "CD": "conduction", "HYP": "hypertrophy",
             "ARR": "arrhythmia"}  # fmt: skip
PROTOCOLS = {
    "patient": "patients\nkept apart",
    "record": "recordings\nmixed",
    "windows": "windows\nmixed",
    "overlapping windows": "overlapping\nwindows mixed",
}
SIZE_IN = (3.6, 3.0)


@style()
def honest(comparison: Mapping) -> Figure:
    """Draw the F1 of the paper's abstract and ours under protocol B, decision by decision."""
    metrics = comparison["protocols"]["B"]["methods"]["ours"]["metrics"]
    fig = Figure(figsize=SIZE_IN, layout="constrained")
    ax = fig.subplots()
    said = []
    for y, (name, title) in enumerate(DECISIONS.items()):
        row, paper = metrics[name], REPORTED[name]
        ax.plot(paper, y, "D", color=INK, markerfacecolor="white", markersize=7, zorder=3)
        text = "not estimable"
        if row["estimable"]:
            ax.plot([row["f1"], paper], [y, y], ":", color="#808080", linewidth=1)
            ax.plot([row["f1_low"], row["f1_high"]], [y, y], color=BLUE, linewidth=2.5)
            ax.plot(row["f1"], y, "o", color=BLUE, markersize=8)
            ax.annotate(f"{row['f1']:.2f}", (row["f1"], y), (0, 7), textcoords="offset points",
                        ha="center", color=BLUE, weight="bold", fontsize=8)  # fmt: skip
            text = f"{row['f1']:.2f} ({row['f1_low']:.2f} to {row['f1_high']:.2f})"
        said.append(f"{title} {paper:.3g} and {text}".replace("\n", " "))
    ax.plot([], [], "D", color=INK, markerfacecolor="white", label="the paper's abstract")
    ax.plot([], [], "o", color=BLUE, label="rebuilt, patients apart")
    finish(fig, ax, DECISIONS, "What we measured")
    fig.set_label("What we measured. F1 in the paper's abstract, and of our rebuilt network with "
                  f"patients kept apart (95 % interval): {'; '.join(said)}.")  # fmt: skip
    return fig


@style()
def leaky(leakage: Mapping) -> Figure:
    """Draw the F1 for abnormal by what of a test patient may stand in the training set."""
    protocols = leakage["protocols"]
    fig = Figure(figsize=SIZE_IN, layout="constrained")
    ax = fig.subplots()
    said = []
    looks = {
        "network": ("the network", BLUE, -0.14, 7),
        "trees": ("a forest", VERMILION, 0.14, -14),
    }
    for y, name in enumerate(PROTOCOLS):
        ground = HONEST if protocols[name]["sound"] else LEAKY
        ax.axhspan(y - 0.5, y + 0.5, color=ground, linewidth=0, zorder=0)
        texts = []
        for method, (title, colour, shift, above) in looks.items():
            row = protocols[name]["methods"][method]["metrics"]["abnormal"]
            place = y + shift
            ax.plot([row["f1_low"], row["f1_high"]], [place, place], color=colour, linewidth=2)
            ax.plot(row["f1"], place, "o", color=colour, markersize=6.5)
            ax.annotate(f"{row['f1']:.2f}", (row["f1"], place), (0, above),
                        textcoords="offset points", ha="center", color=colour, weight="bold",
                        fontsize=8)  # fmt: skip
            texts.append(f"{title} {row['f1']:.2f}")
        said.append(f"{PROTOCOLS[name]}: {', '.join(texts)}".replace("\n", " "))
    ax.axvline(REPORTED["abnormal"], color=INK, linewidth=1, linestyle="--")
    for title, colour, *_ in looks.values():
        ax.plot([], [], "o", color=colour, label=title)
    ax.plot([], [], "--", color=INK, linewidth=1, label="the abstract")
    finish(fig, ax, PROTOCOLS, "How 99 % can be reached")
    fig.set_label("How 99 % can be reached. F1 for normal or abnormal on one small data set, by "
                  f"what is kept apart: {'; '.join(said)}.")  # fmt: skip
    return fig


def finish(fig: Figure, ax, rows: Mapping[str, str], title: str) -> None:
    """Give both pictures the same axes."""
    low = min(0.5, ax.dataLim.x0 - 0.03)
    ax.set(
        xlim=(low, 1.02), ylim=(len(rows) - 0.35, -0.65), xlabel="F1 (1 is perfect)", title=title
    )
    ax.set_yticks(range(len(rows)), rows.values())
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside lower center", ncols=3, handletextpad=0.2, columnspacing=0.8)
