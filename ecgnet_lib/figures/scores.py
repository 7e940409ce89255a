"""Pictures of data sets and of scores: counts, intervals, confusion, curves, reliability.

As in `figures`, each function returns a Figure whose label is its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.errors import SignalError
from ecgnet_lib.figures.style import BLUE, CLASS_COLOURS, HEAT, INK, PALETTE, WIDTH_IN, named, style

METRIC_NAMES = {"auc": "AUC", "average_precision": "average precision", "f1": "F1"}
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))


@style()
def class_counts(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw recordings per class and source.

    table: one row a recording, with booleans named like CLASSES and a column `source`. A
    recording with several classes counts in each.
    """
    counts = table.groupby("source")[list(CLASSES)].sum().astype(int)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index]
    tall = counts.reset_index().melt("source", var_name="class", value_name="recordings")
    fig = Figure(figsize=(WIDTH_IN, 1.0 + 0.22 * len(CLASSES) * (1 + len(counts)) * 0.8),
                 layout="constrained")  # fmt: skip
    ax = fig.subplots()
    sns.barplot(tall, y="class", x="recordings", hue="source", ax=ax, saturation=1,
                palette=sns.color_palette(PALETTE, len(counts)))  # fmt: skip
    for bars in ax.containers:
        ax.bar_label(bars, fontsize=8, padding=2)
    ax.set(xlabel="recordings (count)", ylabel="class", title=title)
    ax.margins(x=0.1)
    ax.legend(title=None, loc="lower right")
    ax.tick_params(axis="y", length=0)
    each = "; ".join(f"{source}: " + ", ".join(f"{name} {n:,}" for name, n in row.items())
                     for source, row in counts.iterrows())  # fmt: skip
    fig.set_label(named(title, f"bars of recordings per class. {each}."))
    return fig


@style()
def bars(values: Mapping[str, float], xlabel: str, *, form: str = ".2f", title: str = "") -> Figure:
    """Draw a number for each name as horizontal bars, the number beside its bar."""
    fig = Figure(figsize=(WIDTH_IN, 0.7 + 0.28 * len(values)), layout="constrained")
    ax = fig.subplots()
    numbers = [format(value, form) for value in values.values()]
    ax.bar_label(ax.barh(list(values), list(values.values())), numbers, fontsize=8, padding=2)
    ax.set(xlabel=xlabel, title=title)
    ax.invert_yaxis()
    ax.margins(x=0.1)
    ax.tick_params(axis="y", length=0)
    each = "; ".join(f"{name} {number}" for name, number in zip(values, numbers, strict=True))
    fig.set_label(named(title, f"{xlabel}: {each}."))
    return fig


@style()
def per_class_metrics(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("auc", "precision", "recall", "f1"),
    *,
    title: str = "",
) -> Figure:
    """Draw each class's metrics with 95 % intervals as dots and whiskers, a panel a metric.

    table: as `evaluate.per_class` returns it (index class; m, m_low, m_high, positives,
    estimable). A class that is not estimable is named, not drawn.
    """
    fig = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(table)), layout="constrained")
    axes = fig.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    rows = np.arange(len(table))
    good = table["estimable"].to_numpy(bool)
    for ax, metric in zip(axes, metrics, strict=True):
        for y, (name, row) in zip(rows[good], table[good].iterrows(), strict=True):
            colour = CLASS_COLOURS.get(name, INK)
            ax.plot([row[f"{metric}_low"], row[f"{metric}_high"]], [y, y], color=colour, lw=2)
            ax.plot(row[metric], y, "o", color=colour, markersize=6)
        for y in rows[~good]:
            ax.text(0.5, y, "not estimable", fontsize=8, color="#707070", ha="center", va="center")
        ax.set(xlim=(0, 1.02), xlabel=f"{METRIC_NAMES.get(metric, metric)} (0 to 1)")
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    names = [f"{name} (n = {int(n)})" for name, n in table["positives"].items()]
    axes[0].set_yticks(rows, names)
    axes[0].set(ylim=(len(table) - 0.5, -0.5), ylabel="class (positive recordings)")
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    said = [
        f"{name}: " + ", ".join(f"{METRIC_NAMES.get(m, m)} {row[m]:.2f} ({row[f'{m}_low']:.2f} to "
                                f"{row[f'{m}_high']:.2f})" for m in metrics)
        if row["estimable"] else f"{name}: not estimable"
        for name, row in table.iterrows()
    ]  # fmt: skip
    fig.set_label(named(title, f"metrics with 95 % intervals. {'; '.join(said)}."))
    return fig


@style()
def compared(rows: Mapping[str, dict], against: str, *, title: str = "") -> Figure:
    """Draw the macro AUC of several networks, and its difference to one of them, with intervals.

    rows: name -> {"macro_auc": {value, low, high}, "difference_to_<against>": the same}, as
    `experiments` records them; intervals are 95 % paired bootstraps over patients.
    """
    fig = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(rows)), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    keys = ("macro_auc", f"difference_to_{against}")
    for ax, key in zip((left, right), keys, strict=True):
        for y, (name, row) in enumerate(rows.items()):
            if key == keys[1] and name == against:
                continue
            value, low, high = (row[key][part] for part in ("value", "low", "high"))
            ax.plot([low, high], [y, y], color=BLUE, lw=2)
            ax.plot(value, y, "o", color=BLUE)
    right.axvline(0, color="#808080", lw=1)
    left.set(yticks=range(len(rows)), yticklabels=rows, xlabel="macro AUC (0 to 1)")
    left.set(ylim=(len(rows) - 0.5, -0.5))
    right.locator_params(axis="x", nbins=5)
    right.set(xlabel=f"difference to {against}")
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    said = "; ".join(
        f"{name} {row['macro_auc']['value']:.3f} [{row['macro_auc']['low']:.3f}, "
        f"{row['macro_auc']['high']:.3f}]"
        for name, row in rows.items()
    )
    fig.set_label(named(title, f"macro AUC with 95 % intervals: {said}."))
    return fig


@style()
def confusion_matrix(counts: np.ndarray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K) of counts, row = truth, column = prediction.

    Colour is the share of the row, so that rare classes show. Raises SignalError for a bad shape.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(names), len(names)):
        raise SignalError("the confusion matrix cannot be drawn", found=counts.shape,
                          expected=(len(names), len(names)))  # fmt: skip
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = [[f"{n:,}\n{s:.0%}" for n, s in zip(*row, strict=True)]
             for row in zip(counts, share, strict=True)]  # fmt: skip
    side = 1.6 + 0.72 * len(names)
    fig = Figure(figsize=(min(side + 0.7, WIDTH_IN), min(side, 5.4)), layout="constrained")
    ax = fig.subplots()
    sns.heatmap(share, ax=ax, annot=words, fmt="", cmap=HEAT, vmin=0, vmax=1, square=True,
                annot_kws={"fontsize": 8.5}, xticklabels=names, yticklabels=names,
                cbar_kws={"label": "share of the row (0 to 1)"})  # fmt: skip
    ax.set(xlabel="predicted class", ylabel="true class", title=title)
    ax.tick_params(axis="y", rotation=0)
    right = ", ".join(f"{name} {counts[k, k]:,} of {counts[k].sum():,}"
                      for k, name in enumerate(names))  # fmt: skip
    fig.set_label(named(title, f"confusion matrix. Right predictions: {right}."))
    return fig


@style()
def ranking_curves(truth: pd.DataFrame, scores: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw ROC and precision-recall curves, one line a column of `truth` (N, K) and `scores`.

    Columns without both a positive and a negative are left out; recordings whose truth is missing
    do not count.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    fig = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
    roc, pr = fig.subplots(1, 2)
    said = []
    for k, name in enumerate(truth):
        known = truth[name].notna().to_numpy()
        y, score = truth[name][known].to_numpy(bool), scores[name].to_numpy(float)[known]
        if y.all() or not y.any():
            continue
        look = {"color": CLASS_COLOURS.get(name, INK), "linestyle": DASHES[k % len(DASHES)]}
        false_positive, recall, _ = roc_curve(y, score)
        area, average = auc(false_positive, recall), average_precision_score(y, score)
        roc.plot(false_positive, recall, label=f"{name}, AUC {area:.2f}", **look)
        precision, recall, _ = precision_recall_curve(y, score)
        pr.step(recall, precision, where="post", label=f"{name}, AP {average:.2f}", **look)
        said.append(f"{name}: AUC {area:.2f}, average precision {average:.2f}")
    roc.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=0.8, zorder=0)
    roc.set(xlabel="false positive rate (0 to 1)", ylabel="sensitivity (0 to 1)")
    pr.set(xlabel="recall (0 to 1)", ylabel="precision (0 to 1)")
    for ax, place in ((roc, "lower right"), (pr, "lower left")):
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
        ax.grid()
        ax.legend(loc=place, frameon=True, framealpha=0.85, edgecolor="none", handlelength=2.4)
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=10)
    fig.set_label(named(title, f"ROC and precision-recall curves. {'; '.join(said)}."))
    return fig


@style()
def reliability(truth: np.ndarray, probability: np.ndarray, *, bins: int = 10,
                title: str = "") -> Figure:  # fmt: skip
    """Draw observed against predicted probability in equal bins, with 95 % Wilson intervals.

    truth, probability: (N,). Below, how many recordings fall into each bin. Raises SignalError
    unless every probability lies in [0, 1].
    """
    y, p = np.asarray(truth, dtype=float), np.asarray(probability, dtype=float)
    if y.shape != p.shape or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise SignalError("the probabilities cannot be drawn", found=f"{p.shape} for {y.shape}",
                          expected="one value in [0, 1] per truth")  # fmt: skip
    which = np.minimum((p * bins).astype(int), bins - 1)
    n = np.bincount(which, minlength=bins)
    full = n > 0
    mean = np.bincount(which, p, bins)[full] / n[full]
    rate = np.bincount(which, y, bins)[full] / n[full]
    z2 = 1.96**2 / n[full]  # Wilson (1927)
    centre = (rate + z2 / 2) / (1 + z2)
    half = np.sqrt(rate * (1 - rate) * z2 + z2**2 / 4) / (1 + z2)
    fig = Figure(figsize=(4.6, 4.4), layout="constrained")
    ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    ax.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=1, label="perfect calibration")
    ax.vlines(mean, centre - half, centre + half, color=BLUE, linewidth=1.6)
    ax.plot(mean, rate, "o-", color=BLUE, label="observed, with 95 % interval")
    ax.set(ylabel="observed share (0 to 1)", title=title, xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
    ax.grid()
    ax.legend()
    edges = np.linspace(0, 1, bins + 1)
    below.bar(edges[:-1], n, width=1 / bins, align="edge", color=BLUE, edgecolor="white")
    below.set(xlabel="predicted probability (0 to 1)", ylabel="recordings\n(count)")
    error = float((n[full] * np.abs(mean - rate)).sum() / n.sum())
    fig.set_label(named(title, (
        f"reliability of {len(p):,} probabilities in {bins} bins; the expected calibration error "
        f"is {error:.3f}. Predictions average {p.mean():.2f}, the observed share is {y.mean():.2f}."
    )))  # fmt: skip
    return fig
