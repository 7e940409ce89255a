"""What the stored results say about each claim: one function a measure, nothing typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.evaluation import risk
from ecgnet_lib.evaluation.results import (
    RESULTS,
    ablation,
    format_interval,
    load_predictions,
    load_result,
)

MAIN = "B"  # the protocol of the verdicts: all databases, each recording in one test set


@dataclass(frozen=True)
class Found:
    """What we measured for a claim.

    value, with the ends of its 95 % interval where it has one; n: recordings; protocol and data in
    words; beside: further measurements that help to read it; leaky: the best value of the same
    network under a protocol that is not sound; form: how the numbers are written.
    """

    value: float
    low: float | None
    high: float | None
    n: int | None
    protocol: str
    data: str
    beside: str = ""
    leaky: float | None = None
    form: str = ".2f"

    def text(self) -> str:
        """Write the value with its interval."""
        if self.low is None:
            return format(self.value, self.form)
        return format_interval(vars(self), form=self.form)


def _methods(protocol: str = MAIN) -> dict[str, dict]:
    return load_result("comparison.json")["protocols"][protocol]["methods"]


def _pool() -> str:
    return " + ".join(load_result("comparison.json")["data_manifests"])


def _ours(protocol: str, **only: object) -> pd.DataFrame:
    """Return the first network's predictions under a protocol, see `methods.known_abnormal`."""
    from ecgnet_lib.evaluation.methods import known_abnormal

    rows = load_predictions("comparison.csv.gz", protocol=protocol, method="ours", seed=0, **only)
    return rows.assign(abnormal=known_abnormal(rows))


def _sources(rows: pd.DataFrame, name: str) -> str:
    """Name the sources of the rows for which the truth is known."""
    return " + ".join(rows.loc[rows[name].notna(), "source"].unique())


def _difference(row: Mapping, protocol: str, data: str, beside: str = "") -> Found:
    ends = (row[end] for end in ("value", "low", "high", "n"))
    return Found(*ends, protocol, data, beside, form="+.3f")


def _others(rows: Mapping[str, dict], but: str) -> str:
    return ", ".join(f"{n} {row['value']:+.3f}" for n, row in rows.items() if n != but) or "none"


def _f1(name: str) -> Found | None:
    """F1 of a class under MAIN; beside it the other protocols and the leakage lab."""
    protocols = load_result("comparison.json")["protocols"]
    rows = {p: found["methods"]["ours"]["metrics"][name] for p, found in protocols.items()}
    if not rows[MAIN]["estimable"]:
        return None
    beside = [f"protocol {p} {format_interval(r, 'f1')}" for p, r in rows.items() if p != MAIN]
    alone = protocols[MAIN]["methods"]["ours"]["sources"].get("ptb-xl")
    if alone and name != "abnormal":
        beside.insert(0, f"PTB-XL alone {format_interval(alone['metrics'][name], 'f1')}")
    leaks = _leaks(name)
    beside += [f"with leakage, {who}, {how}: {f1:.2f}" for who, (how, f1) in leaks.items()]
    return Found(
        *(rows[MAIN][key] for key in ("f1", "f1_low", "f1_high", "n")),
        f"{MAIN}, by patient",
        _sources(_ours(MAIN, set="test"), name),
        "; ".join(beside),
        leaks.get("network", (None, None))[1],
    )


def _leaks(name: str) -> dict[str, tuple[str, float]]:
    """Return for each learner of the leakage lab the unsound protocol with the highest F1."""
    best: dict[str, tuple[str, float]] = {}
    for how, found in load_result("leakage.json")["protocols"].items():
        for who, method in found["methods"].items():
            row = method["metrics"][name]
            better = row["estimable"] and row["f1"] > best.get(who, ("", 0.0))[1]
            if better and not found["sound"]:
                best[who] = (how, row["f1"])
    return best


def _rarest(_: object) -> Found | None:
    """F1 of the estimable class with the fewest positives."""
    rows = {n: m for n, m in _methods()["ours"]["metrics"].items() if m["estimable"]}
    return _f1(min(rows, key=lambda name: rows[name]["positives"])) if rows else None


def _single(_: object) -> Found:
    """Share of the diseased stored recordings that carry exactly one class."""
    truth = pd.read_csv(RESULTS / "comparison_truth.csv")
    count = truth.iloc[:, truth.columns.get_loc("abnormal") + 1 :].fillna(0).sum(axis=1)
    ill, one = int((count > 0).sum()), int((count == 1).sum())
    return Found(one / ill, *risk.wilson(one, ill), ill, "all stored recordings", _pool())


def _rivals(names: list[str]) -> Found | None:
    """The peer whose macro AUC lies furthest above ours, as far as the interval vouches for it."""
    rows = {n: m["difference_to_ours"] for n, m in _methods().items() if n in names}
    if not rows:
        return None
    best = max(rows, key=lambda name: rows[name]["low"])
    beside = f"the peer is {best}; the others: {_others(rows, best)}"
    return _difference(rows[best], f"{MAIN}, by patient", _pool(), beside)


def _denoising(pair: list[str]) -> Found | None:
    """Macro AUC with one way of denoising minus that with another, from the predictions.

    Their truth is denoising_truth.csv.
    """
    from ecgnet_lib.evaluation.methods import evaluate

    result, predictions = load_result("denoising.json"), load_predictions("denoising.csv.gz")
    rows = result["protocols"]["A"]["methods"]
    if not set(pair) <= set(rows):
        return None
    found = evaluate(predictions[predictions["method"].isin(pair)], [pair[1]])["methods"]
    plain = {n: r["difference_to_none"] for n, r in rows.items() if n != "none"}
    row, data = found[pair[0]][f"difference_to_{pair[1]}"], result["data"].partition(", read")[0]
    beside = f"against no denoising: {_others(plain, but='')}"
    return _difference(row, result["protocol"], data, beside)


def _blocks(names: list[str]) -> Found | None:
    """The block whose removal costs least."""
    taken_out = ablation(*names)
    rows = {name: taken_out[name]["difference_to_full"] for name in names if name in taken_out}
    if not rows:
        return None
    least = max(rows, key=lambda name: rows[name]["high"])
    beside = f"the network is the one with {least}; the others: {_others(rows, least)}"
    return _difference(rows[least], f"{MAIN}, by patient", _pool(), beside)


def _transfer(_: object) -> Found | None:
    """Mean AUC on left-out databases minus MAIN's on the same recordings."""
    return transferred(_ours("C", set="test"), _ours(MAIN, set="test"))


def transferred(left_out: pd.DataFrame, pooled: pd.DataFrame) -> Found | None:
    """Compare test rows of a network that never saw a database with those of one that did.

    Each left-out database counts whose network learned from at least half as many recordings as
    the others did, with each class that can be estimated on it. The interval is a paired bootstrap
    over patients.
    """
    from ecgnet_lib.evaluation.methods import NAMES, interval, macro_samples, patient_counts
    from ecgnet_lib.evaluation.metrics import MIN_POSITIVES

    there = pooled.set_index("recording")
    least = 0.5 * (1 - 1 / there["fold"].nunique()) * len(there)
    total, count, recordings, told = 0.0, 0, 0, []
    for _, rows in left_out.set_index("recording").groupby("fold"):
        fewer = {n: min((rows[n] == 1).sum(), (rows[n] == 0).sum()) for n in NAMES}
        columns = [n for n in NAMES if fewer[n] >= MIN_POSITIVES]
        if len(there) - len(rows) < least or not columns:
            continue
        counts = patient_counts(rows)
        truth = there.loc[rows.index].assign(**{n: rows[n] for n in columns})
        apart, within = (macro_samples([t], rows.index, columns, counts) for t in (rows, truth))
        total, count = total + (apart - within) * len(columns), count + len(columns)
        recordings += len(rows)
        told.append(
            f"{_sources(rows, columns[0])}: {apart[0]:.3f} against {within[0]:.3f}, over "
            f"{', '.join(columns)}"
        )
    if not count:
        return None
    row, where = interval(total / count) | {"n": recordings}, "the databases that could be left out"
    return _difference(row, f"C against {MAIN}", where, "; ".join(told))


def _lightweight(names: list[str]) -> Found | None:
    """The larger ratio, of parameters or of operations, to the best of some peers."""
    from ecgnet_lib.network.baselines import NETWORKS
    from ecgnet_lib.network.checkpoint import load_networks
    from ecgnet_lib.network.ecgnet import count_parameters

    methods, cost = _methods(), load_result("comparison.json")["cost"]
    peers = [name for name in names if name in methods]
    if not peers:
        return None
    best = max(peers, key=lambda name: methods[name]["macro_auc"]["value"])
    *ours, _ = load_networks()
    peer = NETWORKS[best]()
    parameters = sum(map(count_parameters, ours)) / count_parameters(peer)
    work = sum(_operations(net, 10.0) for net in ours) / _operations(peer, 10.0)
    alike, whole = (cost[n]["seconds"] / cost[best]["seconds"] for n in ("labels only", "ours"))
    return Found(
        max(parameters, work), None, None, None, "counted, not timed", "the default network",
        f"the peer is {best}: {parameters:.2f} of its parameters, {work:.2f} of its operations; "
        f"training on as many crops takes {alike:.2f} of its time, with distillation and 60,000 "
        f"crops {whole:.2f}",
    )  # fmt: skip


def _operations(model: object, seconds: float) -> int:
    """Count the operations of one pass over a recording."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 12, round(seconds * model.config.fs_hz)))
    return counter.get_total_flops()


def _scaling(_: object) -> Found:
    """Slope of log operations over log length, from a crop to ten seconds."""
    from ecgnet_lib.network.checkpoint import load_checkpoint

    model, said = load_checkpoint()
    lengths_s = (said["train_config"]["crop_s"], 10.0)
    count = [_operations(model, seconds) for seconds in lengths_s]
    slope = math.log(count[1] / count[0]) / math.log(lengths_s[1] / lengths_s[0])
    pairs = zip(count, lengths_s, strict=True)
    beside = ", ".join(f"{n / 1e6:.1f} million operations for {s:g} s" for n, s in pairs)
    return Found(slope, None, None, None, "counted, not timed", "the default network", beside)


def _deletion(forms: dict[str, str]) -> Found:
    """The attention map that falls furthest behind random deletion, or gains least over it."""
    result = load_result("explanation.json")
    areas = result["deletion"]["forms"]
    rows = {name: areas[form]["areas"][name]["all"] for name, form in forms.items()}
    least = min(rows, key=lambda name: rows[name]["low"])
    others = ", ".join(f"{n} {row['value']:+.2f}" for n, row in rows.items() if n != least)
    gradients = areas["cells"]["areas"]["integrated gradients"]["all"]["value"]
    return Found(
        *(rows[least][end] for end in ("value", "low", "high")), result["n"]["test"],
        result["protocol"], result["data"].partition(", read")[0],
        f"the map is that of {least}; the others: {others}; "
        f"integrated gradients, which any network allows: {gradients:+.2f}",
        form="+.2f",
    )  # fmt: skip


def _level(name: str) -> Found:
    """Observed share of abnormal recordings in a triage level."""
    return in_level(_ours(MAIN), name)


def in_level(rows: pd.DataFrame, name: str) -> Found:
    """Calibrate and cut on the validation rows of each fold, then count in its test rows.

    A level that nobody is in keeps no promise: its share is not a number.
    """
    from ecgnet_lib.evaluation.methods import NAMES

    truth, p, levels = [], [], []
    for _, fold in rows.groupby("fold"):
        scores = fold[[f"p_{n}" for n in NAMES]].set_axis(NAMES, axis=1)
        val, test = fold["set"] == "val", (fold["set"] == "test") & fold["abnormal"].notna()
        fit = risk.calibrate(fold.loc[val, NAMES], scores[val])
        after = risk.apply_platt(scores[test], fit["platt"])["abnormal"]
        truth.append(fold.loc[test, "abnormal"].to_numpy(bool))
        p.append(after.to_numpy())
        levels.append([risk.triage_level(x, fit["triage_cuts"]) for x in after])
    truth, p, levels = (np.concatenate(each) for each in (truth, p, levels))
    rates = risk.observed_rates(levels, truth)
    error, (_, chance) = risk.ece(truth, p), risk.noise_floor(p)
    told = [f"{level} {r['rate']:.3f} of {r['n']:,.0f}" for level, r in rates.iterrows()]
    row = rates.loc[name]
    share = [row[k] if row["n"] else np.nan for k in ("rate", "low", "high")]
    return Found(
        *share, int(row["n"]), f"{MAIN}, by patient", _sources(rows, "abnormal"),
        f"all levels: {', '.join(told)}; calibration error {error:.3f}, by chance at most "
        f"{chance:.3f}", form=".3f",
    )  # fmt: skip


MEASURES: dict[str, Callable[[object], Found | None]] = {
    "f1": _f1,
    "rarest": _rarest,
    "single": _single,
    "rivals": _rivals,
    "denoising": _denoising,
    "blocks": _blocks,
    "transfer": _transfer,
    "lightweight": _lightweight,
    "scaling": _scaling,
    "deletion": _deletion,
    "level": _level,
}
