"""Figures of data sets and scores; `whiskers` draws what has a value and an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.errors import SignalError
from ecgnet_lib.evaluation.risk import ece, wilson
from ecgnet_lib.figures.style import (
    BLUE,
    CLASS_COLOURS,
    GREEN,
    GREY,
    HEAT,
    INK,
    ORANGE,
    PALETTE,
    PURPLE,
    VERMILION,
    WIDTH_IN,
    subplots,
    titled,
)

Look = tuple[str, str]  # colour and mark
LOOKS: tuple[Look, ...] = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"))
# Colour and mark of each map of an explanation; the controls, which use no network, are grey.
MAP_LOOKS: dict[str, Look] = {
    "CBAM": (GREEN, "s"),
    "GAT": (ORANGE, "^"),
    "TST": (PURPLE, "D"),
    "integrated gradients": (BLUE, "o"),
    "signal size": ("#8c8c8c", "v"),
    "random": (INK, "x"),
}
METRICS = ("auc", "precision", "recall", "f1")  # of `evaluation.per_class`
METRIC_NAMES = {"auc": "AUC (0 to 1)", "f1": "F1 (0 to 1)"}
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
SOUND, LEAKY = "#eef4f9", "#fbf1ea"  # the ground behind protocols without and with a leak

# The cover: F1 in the paper's abstract, and short names of the protocols of the leakage lab.
REPORTED_F1 = {"abnormal": 0.99, "CD": 0.99, "HYP": 0.99, "ARR": 0.989}
DECISIONS = {
    "abnormal": "normal or\nabnormal",
    "CD": "conduction",
    "HYP": "hypertrophy",
    "ARR": "arrhythmia",
}
COVER_PROTOCOLS = {
    "patient": "patient-\ndisjoint",
    "record": "split by\nrecording",
    "windows": "split by\nwindow",
    "overlapping windows": "overlapping\nwindows",
}


def class_counts(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw recordings per class and source; one with several classes counts in each.

    table: one row a recording, with booleans named like CLASSES and a column `source`.
    """
    counts = table.groupby("source")[list(CLASSES)].sum().astype(int)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index]
    tall = counts.reset_index().melt("source", var_name="class", value_name="recordings")
    fig, ax = subplots(1.0 + 0.176 * len(CLASSES) * (1 + len(counts)))
    look = {"palette": sns.color_palette(PALETTE, len(counts)), "saturation": 1}
    sns.barplot(tall, y="class", x="recordings", hue="source", ax=ax, **look)
    for of_source in ax.containers:
        ax.bar_label(of_source, fontsize=8, padding=2)
    ax.set(xlabel="recordings (count)", ylabel="class")
    ax.margins(x=0.1)
    ax.legend(title=None, loc="lower right")
    ax.tick_params(axis="y", length=0)
    counted = {s: ", ".join(f"{k} {n:,}" for k, n in row.items()) for s, row in counts.iterrows()}
    alt = "; ".join(f"{source}: {numbers}" for source, numbers in counted.items())
    return titled(fig, title, f"bars of recordings per class. {alt}.")


def bars(values: Mapping[str, float], xlabel: str, *, form: str = ".2f", title: str = "") -> Figure:
    """Draw a number for each name as horizontal bars, the number beside its bar."""
    fig, ax = subplots(0.7 + 0.28 * len(values))
    numbers = [format(value, form) for value in values.values()]
    ax.bar_label(ax.barh(list(values), list(values.values())), numbers, fontsize=8, padding=2)
    ax.set_xlabel(xlabel)
    ax.invert_yaxis()
    ax.margins(x=0.1)
    ax.tick_params(axis="y", length=0)
    alt = "; ".join(f"{name} {number}" for name, number in zip(values, numbers, strict=True))
    return titled(fig, title, f"{xlabel}: {alt}.")


def dot_table(
    table: pd.DataFrame, metrics: Sequence[str], xlabel: str = "", n: str = ""
) -> pd.DataFrame:
    """Return the table of `whiskers` with one line a dot: row, kind, panel, value, low, high."""
    flat = table.reset_index(names=None if "row" in (*table, *table.index.names) else "row")
    flat["kind"] = flat.get("kind", "")
    if n:
        flat["row"] = [f"{row} (n = {k:,.0f})" for row, k in zip(flat["row"], flat[n], strict=True)]
    parts = []
    for m in metrics:
        part = flat.rename(columns={m: "value", f"{m}_low": "low", f"{m}_high": "high"})
        part["panel"] = part.get("panel", "" if xlabel else METRIC_NAMES.get(m, f"{m} (0 to 1)"))
        if "estimable" in part:
            part["value"] = part["value"].where(part["estimable"].astype(bool))
        parts.append(part[["row", "kind", "panel", "value", "low", "high"]])
    return pd.concat(parts)


def whiskers(
    table: pd.DataFrame,
    value: str | Sequence[str] = "value",
    *,
    title: str = "",
    what: str = "",
    xlabel: str = "",
    ylabel: str = "",
    n: str = "",
    xlim: tuple[float, float] | None = None,
    looks: Mapping[str, Look] | None = None,
    lines: Sequence[float] | Mapping[str, Sequence[float]] = (),
    line_name: str = "",
    sound: Sequence[str] | None = None,
    digits: int = 2,
    numbers: bool = False,
    size_in: tuple[float, float] | None = None,
) -> Figure:
    """Draw values with 95 % intervals as dots and whiskers: a row a name, panels side by side.

    table: columns `value`, `low`, `high` under these names, or m, m_low, m_high of each metric in
    `value`, a panel a metric. The index, or its levels and columns called `row`, `kind` (told apart
    by colour and mark) and `panel`, name each value. A value that is NaN or whose `estimable` is
    False is called "not estimable". n: the column of a number that is written after each name.

    xlabel: one label for all panels, whose names then stand above them. looks: by kind or, without
    kinds, by row. lines: where dashed vertical lines stand, in all panels or by panel; line_name:
    what they are. sound: the rows on blue ground, if others leak. numbers: write the values.
    """
    dots = dot_table(table, [value] if isinstance(value, str) else value, xlabel, n)
    rows, kinds, panels = (list(dots[name].unique()) for name in ("row", "kind", "panel"))
    looks = looks or dict(zip(kinds, LOOKS, strict=False))
    lines = lines if isinstance(lines, Mapping) else dict.fromkeys(panels, lines)
    height = 1.2 + 0.3 * bool(line_name or len(kinds) > 1) + (0.27 + 0.03 * len(kinds)) * len(rows)
    width, height = size_in or (WIDTH_IN, height)
    fig, axes = subplots(height, 1, len(panels), width_in=width, sharey=True, squeeze=False)
    axes = axes[0]
    alt: dict[str, list[str]] = {row: [] for row in rows}
    handles = {}
    for row, kind, panel, x, low, high in dots.itertuples(index=False):
        ax, y = axes[panels.index(panel)], rows.index(row)
        y += 0.26 * (kinds.index(kind) - (len(kinds) - 1) / 2)
        colour, mark = looks.get(kind or row, (CLASS_COLOURS.get(row.split(" (")[0], INK), "o"))
        text = f"{x:.{digits}f}"
        if np.isnan(x):
            text, across = "not estimable", ax.get_yaxis_transform()
            look = {"color": GREY, "fontsize": 7.5, "ha": "center", "va": "center"}
            ax.text(0.5, y, text, transform=across, **look)
        else:
            ax.plot([low, high], [y, y], color=colour, linewidth=2)
            (handles[kind],) = ax.plot(x, y, mark, color=colour, markersize=6)
            if numbers:
                look = {"color": colour, "fontsize": 8, "ha": "right", "va": "center"}
                ax.annotate(text, (min(x, low), y), (-8, 0), textcoords="offset points", **look)
            text += f" ({low:.{digits}f} to {high:.{digits}f})" if low < high else ""
        alt[row].append(" ".join(filter(None, (panel.split(" (")[0], kind, text))))
    for ax, panel in zip(axes, panels, strict=True):
        for x in lines.get(panel, ()):
            handles[line_name] = ax.axvline(x, color=INK, linewidth=0.9, linestyle="--", zorder=1)
        for y, row in enumerate(rows if sound is not None else ()):
            ground = SOUND if row in sound else LEAKY
            ax.axhspan(y - 0.5, y + 0.5, color=ground, linewidth=0, zorder=0)
        ax.set(**{"title" if xlabel else "xlabel": panel}, xlim=xlim)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=4 if len(panels) > 1 else 6)
    names = [fill(row, 34) if len(row) > 34 else row for row in rows]
    axes[0].set(yticks=range(len(rows)), yticklabels=names, ylabel=ylabel)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    if len(xlabel) > 80 // len(axes):
        fig.supxlabel(xlabel, fontsize=9)
    for ax in axes if 0 < len(xlabel) <= 80 // len(axes) else ():
        ax.set_xlabel(xlabel)
    handles.pop("", None)
    if handles:
        fig.legend(handles.values(), handles, loc="outside lower right", ncols=len(handles))
    words = "; ".join(f"{row}: {', '.join(found)}" for row, found in alt.items())
    words = words.replace("-\n", "-").replace("\n", " ")
    if line_name:
        dashed = sorted({x for found in lines.values() for x in found})
        words += f". Dashed: {line_name}, at {', '.join(f'{x:g}' for x in dashed)}"
    what = what or xlabel or ", ".join(panel.split(" (")[0] for panel in panels)
    return titled(fig, title, f"{what}, with 95 % intervals. {words}.")


def compared(rows: Mapping[str, dict], against: str, *, title: str = "") -> Figure:
    """Draw the macro AUC of several networks, and its difference to one of them, with intervals.

    rows: name -> {"macro_auc": {value, low, high}, "difference_to_<against>": the same}, as
    `experiments` stores them; intervals are 95 % paired bootstraps over patients.
    """
    whose = "the full network" if against == "full" else f'"{against}"'
    beside = f"macro AUC minus\nthat of {whose}"
    panels = {"macro_auc": "macro AUC (0 to 1)", f"difference_to_{against}": beside}
    dots = [
        {"row": name, "panel": panel} | row[key]
        for name, row in rows.items()
        for key, panel in panels.items()
        if (name, panel) != (against, beside)
    ]
    looks = dict.fromkeys(rows, LOOKS[0])
    text = {"title": title, "what": "macro AUC", "digits": 3}
    return whiskers(pd.DataFrame(dots), looks=looks, lines={beside: [0]}, **text)


def f1_by_protocol(
    metrics: Mapping[str, Mapping[str, pd.DataFrame]],
    sound: Sequence[str],
    names: Sequence[str],
    reported: Mapping[str, float],
    *,
    title: str = "",
) -> Figure:
    """Draw F1 with 95 % intervals by protocol, a panel for each of `names`, a mark a method.

    metrics: method -> protocol -> table by class, all of the same protocols, top to bottom. sound:
    the protocols that leak nothing. reported: the F1 that the paper states, by name, a line.
    """
    tables = {
        (method, protocol): table.loc[names]
        for method, by_protocol in metrics.items()
        for protocol, table in by_protocol.items()
    }
    table = pd.concat(tables, names=["kind", "row", "panel"])
    text = {"title": title, "xlabel": "F1 (0 to 1)", "ylabel": "protocol (blue ground: sound)"}
    lines = {name: [reported[name]] for name in names if name in reported}
    text |= {"what": f"F1 by protocol (sound: {'; '.join(sound)})", "line_name": "the paper"}
    return whiskers(table, "f1", sound=sound, lines=lines, xlim=(0, 1.03), **text)


def cover_rebuilt(comparison: Mapping) -> Figure:
    """Draw the F1 of the paper's abstract and ours under protocol B, decision by decision."""
    ours = pd.DataFrame(comparison["protocols"]["B"]["methods"]["ours"]["metrics"]).T
    paper = pd.DataFrame(dict.fromkeys(("f1", "f1_low", "f1_high"), REPORTED_F1))
    paper["estimable"] = True
    kinds = {"paper's abstract": paper, "rebuilt, patient-disjoint": ours.loc[[*DECISIONS]]}
    table = pd.concat(kinds, names=["kind", "row"]).rename(DECISIONS, level="row")
    looks = dict(zip(kinds, ((INK, "D"), LOOKS[0]), strict=True))
    return cover(table, title="What we measured", what="F1 of three decisions", looks=looks)


def cover_leakage(leakage: Mapping) -> Figure:
    """Draw the F1 for abnormal by protocol of the leakage lab."""
    protocols = {row: leakage["protocols"][name] for name, row in COVER_PROTOCOLS.items()}
    rows = {
        (kind, row): protocol["methods"][method]["metrics"]["abnormal"]
        for method, kind in (("network", "network"), ("trees", "random forest"))
        for row, protocol in protocols.items()
    }
    table = pd.DataFrame(rows).T.rename_axis(["kind", "row"])
    sound = [row for row, protocol in protocols.items() if protocol["sound"]]
    what = "F1 for normal or abnormal on one small data set, by the unit of the split"
    text = {"title": "How 99 % can be reached", "what": what, "line_name": "abstract"}
    return cover(table, sound=sound, lines=[REPORTED_F1["abnormal"]], **text)


def cover(table: pd.DataFrame, **more) -> Figure:
    """Draw a figure of the cover: small, with its values written out."""
    fig = whiskers(table, "f1", xlabel="F1 (0 to 1)", numbers=True, size_in=(3.6, 3.0), **more)
    fig.axes[0].set_xlim(min(0.5, fig.axes[0].get_xlim()[0]) - 0.07, 1.02)
    return fig


def confusion_matrix(counts: np.ndarray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K) of counts, row = truth; colour is the share of the row."""
    counts = pd.DataFrame(counts, names, names)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    cells = counts.map("{:,}".format) + "\n" + share.map("{:.0%}".format)
    side = 1.6 + 0.72 * len(names)
    fig, ax = subplots(min(side, 5.4), width_in=min(side + 0.7, WIDTH_IN))
    look = {"cmap": HEAT, "vmin": 0, "vmax": 1, "square": True, "annot_kws": {"fontsize": 8.5}}
    look["cbar_kws"] = {"label": "share of the row (0 to 1)"}
    sns.heatmap(share, ax=ax, annot=cells, fmt="", **look)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(axis="y", rotation=0)
    right = ", ".join(f"{k} {row[k]:,} of {row.sum():,}" for k, row in counts.iterrows())
    return titled(fig, title, f"confusion matrix. Right predictions: {right}.")


def ranking_curves(truth: pd.DataFrame, scores: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw ROC and precision-recall curves, one line a column of `truth` (N, K) and `scores`.

    Columns without both a positive and a negative are left out, and rows of unknown truth.
    """
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

    fig, (roc, pr) = subplots(3.6, 1, 2)
    alt = []
    for k, name in enumerate(truth):
        known, dash = truth[name].notna(), DASHES[k % len(DASHES)]
        y, score = truth[name][known].to_numpy(bool), scores[name].to_numpy(float)[known]
        if y.all() or not y.any():
            continue
        look = {"curve_kwargs": {"color": CLASS_COLOURS.get(name, INK), "linestyle": dash}}
        first = RocCurveDisplay.from_predictions(y, score, ax=roc, name=name, **look)
        second = PrecisionRecallDisplay.from_predictions(y, score, ax=pr, name=name, **look)
        areas = f"AUC {first.roc_auc:.2f}, average precision {second.average_precision:.2f}"
        alt.append(f"{name}: {areas}")
    roc.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=0.8, zorder=0)
    roc.set(xlabel="false positive rate (0 to 1)", ylabel="sensitivity (0 to 1)")
    pr.set(xlabel="recall (0 to 1)", ylabel="precision (0 to 1)")
    for ax, place in ((roc, "lower right"), (pr, "lower left")):
        ax.grid()
        ax.legend(loc=place, frameon=True, framealpha=0.85, edgecolor="none", handlelength=2.4)
    return titled(fig, title, f"ROC and precision-recall curves. {'; '.join(alt)}.")


def reliability(
    truth: np.ndarray, probability: np.ndarray, *, bins: int = 10, title: str = ""
) -> Figure:
    """Draw observed against predicted probability in equal bins, with 95 % Wilson intervals.

    truth, probability: (N,); SignalError for a probability outside [0, 1].
    """
    y, p = np.asarray(truth, dtype=float), np.asarray(probability, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise SignalError("a probability is not in [0, 1]", found=f"{p.min():g} to {p.max():g}")
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    by_bin = pd.DataFrame({"y": y, "p": p}).groupby(bin_of)
    n, observed, mean = by_bin.size(), by_bin["y"].mean(), by_bin["p"].mean()
    limits = [wilson(round(k), m) for k, m in zip(by_bin["y"].sum(), n, strict=True)]
    ratios = {"sharex": True, "height_ratios": (3.4, 1)}
    fig, (ax, below) = subplots(4.4, 2, 1, width_in=4.6, **ratios)
    ax.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=1, label="perfect calibration")
    ax.vlines(mean, *np.transpose(limits), color=BLUE, linewidth=1.6)
    ax.plot(mean, observed, "o-", color=BLUE, label="observed, with 95 % interval")
    ax.set(ylabel="observed share (0 to 1)", xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
    ax.grid()
    ax.legend()
    below.bar(n.index / bins, n, width=1 / bins, align="edge", color=BLUE, edgecolor="white")
    below.set(xlabel="predicted probability (0 to 1)", ylabel="recordings\n(count)")
    what = (
        f"reliability of {len(p):,} probabilities in {bins} bins; the expected calibration error is"
    )
    means = f"Predictions average {p.mean():.2f}, the observed share is {y.mean():.2f}."
    return titled(fig, title, f"{what} {ece(y, p, bins):.3f}. {means}")


def calibration_errors(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the ECE of each label before and after scaling over its noise floor.

    table: index label; columns before, after, floor_high (97.5 % point of `risk.noise_floor`).
    """
    fig, ax = subplots(1.1 + 0.32 * len(table))
    rows = range(len(table))
    ax.barh(rows, table["floor_high"], height=0.7, color="#d9d9d9", label="chance (97.5 %)")
    ax.hlines(rows, table["before"], table["after"], color=GREY, linewidth=1)
    look = {"color": VERMILION, "markerfacecolor": "white", "label": "before Platt scaling"}
    ax.plot(table["before"], rows, "o", **look)
    ax.plot(table["after"], rows, "o", color=BLUE, label="after Platt scaling")
    ax.set(yticks=rows, yticklabels=table.index, ylim=(len(table) - 0.5, -0.5))
    ax.set(xlabel="expected calibration error (0 to 1)", ylabel="class")
    ax.set_xlim(left=0)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.legend(loc="best")
    alt = "; ".join(
        f"{row.Index}: {row.before:.3f} before, {row.after:.3f} after, floor {row.floor_high:.3f}"
        for row in table.itertuples()
    )
    return titled(fig, title, f"expected calibration errors and their noise floors. {alt}.")


def net_benefit(curves: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Draw decision curves of networks by name against acting on all and on none.

    curves: name -> table of `evaluation.decision_curve`, of the same recordings and thresholds.
    """
    fig, ax = subplots(3.2)
    for (name, table), (colour, _), dash in zip(curves.items(), LOOKS, DASHES, strict=False):
        ax.plot(table["network"], color=colour, linestyle=dash, label=name)
    ax.plot(table["all"], color=GREY, linewidth=1, label="look at all")
    ax.plot(table["none"], color=INK, linewidth=1, label="look at none")
    top = table["all"].max()
    ax.set(xlim=table.index[[0, -1]], ylim=(-0.15 * top, 1.08 * top))
    ax.set_xlabel("threshold t (0 to 1): look if P(abnormal) ≥ t")
    ax.set_ylabel("net benefit (per recording)")
    ax.grid()
    ax.legend()
    better = {k: (t["network"] > t[["all", "none"]].max(axis=1)).mean() for k, t in curves.items()}
    what = "above looking at all and at none for"
    alt = "; ".join(f"{k}: {what} {share:.0%} of the thresholds" for k, share in better.items())
    return titled(fig, title, f"decision curves. {alt}.")


def selective_f1(answered: np.ndarray, f1: np.ndarray, target: float, *, title: str = "") -> Figure:
    """Draw F1 against the share answered, with a 95 % band, and a line at `target`.

    answered, f1: (R, K) of `evaluation.abstention`; row 0 is the point, the others the resamples.
    """
    grid = np.linspace(0.05, 1, 96)
    curves = np.stack([np.interp(grid, a, v) for a, v in zip(answered, f1, strict=True)])
    low, high = pd.DataFrame(curves[1:]).quantile([0.025, 0.975]).to_numpy()  # skips NaN
    fig, ax = subplots(3.1)
    ax.fill_between(grid, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    ax.plot(grid, curves[0], color=BLUE, label="F1 of what is answered")
    ax.axhline(target, color=VERMILION, linewidth=1, linestyle="--", label=f"{target:g}")
    ax.set(xlabel="share answered, the clearest first (0 to 1)", ylabel="F1 (0 to 1)")
    ax.set(xlim=(0, 1.01), ylim=(max(0, np.nanmin(low) - 0.02), 1.005))
    ax.grid()
    ax.legend(loc="lower left")
    points = [int(np.abs(grid - share).argmin()) for share in (0.25, 0.5, 0.75, 1)]
    alt = ", ".join(f"{curves[0][i]:.3f} at {grid[i]:.2f}" for i in points)
    return titled(fig, title, f"F1 against the share answered: {alt}.")


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
    alt, handles, percent = [], {}, 100 * np.asarray(fractions)
    for ax, (form, curves) in zip(axes, forms.items(), strict=True):
        for name, curve in curves.items():
            (colour, mark), dash = MAP_LOOKS[name], "--" if name == "random" else "-"
            look = {"color": colour, "marker": mark, "markersize": 4, "linestyle": dash}
            (handles[name],) = ax.plot(percent, curve, **look)
        ax.set(title=form, xlabel=f"{form} deleted (%)")
        ax.grid(axis="y")
        last = "; ".join(f"{name} {curve[-1]:.1f}" for name, curve in curves.items())
        alt.append(f"after deleting half of the {form}: {last}")
    axes[0].set_ylabel("logit of the predicted class")
    names = [name for name in MAP_LOOKS if name in handles]
    place = {"loc": "outside lower center", "ncols": len(names)}
    fig.legend([handles[name] for name in names], names, **place)
    return titled(fig, title, f"mean logit of the predicted class. {'. '.join(alt)}.")


def cascade_curves(
    parts: Sequence[str], curves: Mapping[str, Mapping[str, Mapping]], *, title: str = ""
) -> Figure:
    """Draw how alike a map stays while weights are drawn anew at random, from the head down.

    curves: {map: {part: {"value", "low", "high"}}}, Spearman correlations with the trained map.
    """
    fig, ax = subplots(3.1)
    labels = ["trained", *(part.replace("_", "\n") for part in parts)]
    for name, by_part in curves.items():
        (colour, mark), table = MAP_LOOKS[name], pd.DataFrame(by_part)[list(parts)]
        value, low, high = ([1.0, *table.loc[key]] for key in ("value", "low", "high"))
        ax.plot(labels, value, color=colour, marker=mark, markersize=5, label=name)
        ax.fill_between(labels, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.axhline(0, color=INK, linewidth=0.8, linestyle="--")
    ax.set(ylim=(None, 1.05), ylabel="rank correlation with\nthe trained map")
    ax.set_xlabel("drawn anew: this part and all to its left")
    ax.grid(axis="y")
    ax.legend(loc="lower left")
    last = "; ".join(f"{name} {found[parts[-1]]['value']:.2f}" for name, found in curves.items())
    what = (
        "rank correlation between the maps of the trained network and of one whose parts are drawn"
    )
    return titled(fig, title, f"{what} anew from the head down. With no trained part left: {last}.")
