"""What the results of record say about each claim: one function a measure, nothing typed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgnet_lib.evaluation import risk
from ecgnet_lib.evaluation.results import RESULTS, ablation, load_predictions, load_result

MAIN = "B"  # the protocol of the verdicts: all databases, each recording judged once


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
        parts = [self.value] if self.low is None else [self.value, self.low, self.high]
        first, *rest = (format(part, self.form) for part in parts)
        return f"{first} [{', '.join(rest)}]" if rest else first


def _methods(protocol: str) -> dict[str, dict]:
    return load_result("comparison.json")["protocols"][protocol]["methods"]


def _pool() -> str:
    return " + ".join(load_result("comparison.json")["data_manifests"])


def _ours(protocol: str, **only: object) -> pd.DataFrame:
    """Return the first network's predictions under a protocol.

    `abnormal` is known only where a source names enough recordings of both kinds.
    """
    from ecgnet_lib.experiments.out_of_fold import known_both_ways

    rows = load_predictions("comparison.csv.gz", protocol=protocol, method="ours", seed=0, **only)
    return rows.assign(abnormal=known_both_ways(rows))


def _sources(rows: pd.DataFrame, name: str) -> str:
    """Name the sources of the rows for which the answer is known."""
    return " + ".join(rows.loc[rows[name].notna(), "source"].unique())


def _f1(name: str) -> Found | None:
    """F1 of a class under MAIN; beside it the other protocols and the leakage lab."""
    protocols = load_result("comparison.json")["protocols"]
    rows = {p: judged["methods"]["ours"]["metrics"][name] for p, judged in protocols.items()}
    if not rows[MAIN]["estimable"]:
        return None
    beside = [f"protocol {p} {_with(row, 'f1')}" for p, row in rows.items() if p != MAIN]
    alone = protocols[MAIN]["methods"]["ours"]["sources"].get("ptb-xl")
    if alone and name != "abnormal":
        beside.insert(0, f"PTB-XL alone {_with(alone['metrics'][name], 'f1')}")
    leaks = _leaks(name)
    beside += [f"with leakage, {who}, {how}: {f1:.2f}" for who, (how, f1) in leaks.items()]
    return Found(
        rows[MAIN]["f1"], rows[MAIN]["f1_low"], rows[MAIN]["f1_high"], rows[MAIN]["n"],
        f"{MAIN}, by patient", _sources(_ours(MAIN, set="test"), name), "; ".join(beside),
        leaks.get("network", (None, None))[1],
    )  # fmt: skip


def _leaks(name: str) -> dict[str, tuple[str, float]]:
    """Return for each learner of the leakage lab the unsound protocol with the highest F1."""
    best: dict[str, tuple[str, float]] = {}
    for how, judged in load_result("leakage.json")["protocols"].items():
        for who, method in judged["methods"].items():
            row = method["metrics"][name]
            better = row["estimable"] and row["f1"] > best.get(who, ("", 0.0))[1]
            if better and not judged["sound"]:
                best[who] = (how, row["f1"])
    return best


def _with(row: dict, metric: str) -> str:
    if not row["estimable"]:
        return "not estimable"
    if row[metric] is None:
        return "no threshold"
    return f"{row[metric]:.2f} [{row[f'{metric}_low']:.2f}, {row[f'{metric}_high']:.2f}]"


def _rarest(_: object) -> Found | None:
    """F1 of the estimable class with the fewest positives."""
    rows = {n: m for n, m in _methods(MAIN)["ours"]["metrics"].items() if m["estimable"]}
    return _f1(min(rows, key=lambda name: rows[name]["positives"])) if rows else None


def _single(_: object) -> Found:
    """Share of the diseased recordings of record that carry exactly one class."""
    truth = pd.read_csv(RESULTS / "comparison_truth.csv")
    classes = truth.columns[truth.columns.get_loc("abnormal") + 1 :]
    count = truth[classes].fillna(0).sum(axis=1)
    ill, one = int((count > 0).sum()), int((count == 1).sum())
    return Found(one / ill, *risk.wilson(one, ill), ill, "all recordings of record", _pool())


def _difference(row: dict, protocol: str, data: str, beside: str = "", n: int | None = None):
    return Found(
        row["value"], row["low"], row["high"], row.get("n", n), protocol, data, beside, form="+.3f"
    )


def _rivals(names: list[str]) -> Found | None:
    """The peer whose macro AUC lies furthest above ours, as far as the interval vouches for it."""
    rows = {n: m["difference_to_ours"] for n, m in _methods(MAIN).items() if n in names}
    if not rows:
        return None
    best = max(rows, key=lambda name: rows[name]["low"])
    others = [f"{n} {rows[n]['value']:+.3f}" for n in rows if n != best]
    beside = f"the peer is {best}; the others: {', '.join(others) or 'none'}"
    return _difference(rows[best], f"{MAIN}, by patient", _pool(), beside)


def _denoising(pair: list[str]) -> Found | None:
    """Macro AUC with one way of denoising minus that with another, from stored predictions."""
    from ecgnet_lib.experiments.common import NAMES, macro

    result = load_result("denoising.json")
    rows = result["rows"]
    if not set(pair) <= set(rows):
        return None
    names = [p["recording"] for p in rows[pair[0]]["predictions"]]
    runs = {
        name: pd.DataFrame([p["score"] for p in rows[name]["predictions"]], names, NAMES)
        for name in pair
    }
    truth = pd.DataFrame([p["truth"] for p in rows[pair[0]]["predictions"]], names, NAMES)
    truth["patient"] = [p["patient"] for p in rows[pair[0]]["predictions"]]
    row = macro(truth, runs, pair[1])[pair[0]][f"difference_to_{pair[1]}"]
    plain = {n: r["difference_to_none"] for n, r in rows.items() if n != "none"}
    told = ", ".join(f"{n} {r['value']:+.3f}" for n, r in plain.items())
    data, beside = result["data"].partition(", read")[0], f"against no denoising: {told}"
    return _difference(row, result["protocol"], data, beside, result["n"]["test"])


def _blocks(names: list[str]) -> Found | None:
    """The block whose removal costs least."""
    taken_out = ablation(*names)
    rows = {name: taken_out[name]["difference_to_full"] for name in names if name in taken_out}
    if not rows:
        return None
    least = max(rows, key=lambda name: rows[name]["high"])
    others = [f"{n} {row['value']:+.3f}" for n, row in rows.items() if n != least]
    beside = f"the network is the one with {least}; the others: {', '.join(others) or 'none'}"
    return _difference(rows[least], f"{MAIN}, by patient", _pool(), beside)


def _transfer(_: object) -> Found | None:
    """Mean AUC on left-out databases minus MAIN's on the same recordings."""
    return moved(_ours("C", set="test"), _ours(MAIN, set="test"))


def moved(left_out: pd.DataFrame, pooled: pd.DataFrame) -> Found | None:
    """Compare test rows of a network that never saw a database with those of one that did.

    Each left-out database counts whose network learned from at least half as many recordings as
    the others did, with each class that can be estimated on it. The interval is a paired bootstrap
    over patients.
    """
    from ecgnet_lib.evaluation.metrics import MIN_POSITIVES, macro_auc_samples, patient_resamples
    from ecgnet_lib.experiments.common import NAMES, RESAMPLES, interval

    there = pooled.set_index("recording")
    least = 0.5 * (1 - 1 / there.part.nunique()) * len(there)
    sums, count, recordings, told = 0.0, 0, 0, []
    for _, rows in left_out.groupby("part"):
        enough = {n: min((rows[n] == 1).sum(), (rows[n] == 0).sum()) for n in NAMES}
        columns = [n for n, least_of in enough.items() if least_of >= MIN_POSITIVES]
        if len(there) - len(rows) < least or not columns:
            continue
        drawn = patient_resamples(rows.patient.to_numpy(), RESAMPLES, seed=0)
        counts = np.vstack([np.ones((1, len(rows)), drawn.dtype), drawn])
        scores = [
            each[[f"p_{n}" for n in columns]].set_axis(columns, axis=1)
            for each in (rows, there.loc[rows.recording])
        ]
        apart, within = (macro_auc_samples(rows[columns], s, counts) for s in scores)
        sums, count = sums + (apart - within) * len(columns), count + len(columns)
        recordings += len(rows)
        told.append(f"{_sources(rows, columns[0])}: {apart[0]:.3f} against {within[0]:.3f}, over "
                    f"{', '.join(columns)}")  # fmt: skip
    if not count:
        return None
    found = interval(sums / count)
    return Found(
        found["value"], found["low"], found["high"], recordings, f"C against {MAIN}",
        "the databases that could be left out", "; ".join(told), form="+.3f",
    )  # fmt: skip


def _lightweight(names: list[str]) -> Found | None:
    """The larger ratio, of parameters or of operations, to the best of some peers."""
    from ecgnet_lib.network.baselines import NETWORKS
    from ecgnet_lib.network.checkpoint import load_networks
    from ecgnet_lib.network.ecgnet import count_parameters

    methods, cost = _methods(MAIN), load_result("comparison.json")["cost"]
    peers = [name for name in names if name in methods]
    if not peers:
        return None
    best = max(peers, key=lambda name: methods[name]["macro_auc"]["value"])
    (ours, strip, _), peer = load_networks(), NETWORKS[best]()
    parameters = sum(map(count_parameters, (ours, strip))) / count_parameters(peer)
    work = sum(_operations(net, 10.0) for net in (ours, strip)) / _operations(peer, 10.0)
    alike, whole = (cost[name]["seconds"] / cost[best]["seconds"] for name in ("real only", "ours"))
    return Found(
        max(parameters, work), None, None, None, "counted, not timed", "the network of record",
        f"the peer is {best}: {parameters:.2f} of its parameters, {work:.2f} of its operations; "
        f"training on as many crops takes {alike:.2f} of its time, with teacher and the crops that "
        f"it wants {whole:.2f}",
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
    beside = f"{count[0] / 1e6:.1f} million operations for {lengths_s[0]:g} s, " \
             f"{count[1] / 1e6:.1f} million for {lengths_s[1]:g} s"  # fmt: skip
    return Found(slope, None, None, None, "counted, not timed", "the network of record", beside)


def _deletion(forms: dict[str, str]) -> Found:
    """The attention map that falls furthest behind random deletion, or gains least over it."""
    result = load_result("explanation.json")
    areas = result["deletion"]["forms"]
    rows = {name: areas[form]["areas"][name]["all"] for name, form in forms.items()}
    least = min(rows, key=lambda name: rows[name]["low"])
    others = {n: row["value"] for n, row in rows.items() if n != least}
    gradients = areas["cells"]["areas"]["integrated gradients"]["all"]
    beside = ", ".join(f"{n} {value:+.2f}" for n, value in others.items())
    return Found(
        rows[least]["value"], rows[least]["low"], rows[least]["high"], result["n"]["test"],
        result["protocol"], result["data"].partition(", read")[0],
        f"the map is that of {least}; the others: {beside}; "
        f"integrated gradients, which any network allows: {gradients['value']:+.2f}",
        form="+.2f",
    )  # fmt: skip


def _level(name: str) -> Found:
    """Observed share of abnormal recordings in a triage level."""
    return in_level(_ours(MAIN), name)


def in_level(rows: pd.DataFrame, name: str) -> Found:
    """Calibrate and cut on the validation rows of each part, then count in its test rows.

    A level that nobody is in keeps no promise: its share is not a number.
    """
    from ecgnet_lib.experiments.common import NAMES

    truth, p, levels = [], [], []
    for _, part in rows.groupby("part"):
        scores = part[[f"p_{n}" for n in NAMES]].set_axis(NAMES, axis=1)
        val, test = part.set == "val", (part.set == "test") & part.abnormal.notna()
        fit = risk.calibrate(part.loc[val, NAMES], scores[val])
        after = risk.apply_platt(scores[test], fit["platt"])["abnormal"]
        truth.append(part.loc[test, "abnormal"].to_numpy(bool))
        p.append(after.to_numpy())
        levels.append([risk.triage_level(x, fit["triage_cuts"]) for x in after])
    truth, p, levels = (np.concatenate(each) for each in (truth, p, levels))
    rates = risk.observed_rates(levels, truth)
    row = rates.loc[name]
    error, (_, chance) = risk.ece(truth, p), risk.noise_floor(p)
    told = [f"{level} {r['rate']:.3f} of {r['n']:,.0f}" for level, r in rates.iterrows()]
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
