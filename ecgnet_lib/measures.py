"""What the results of record say about each claim: one function a measure, nothing typed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from ecgnet_lib import risk
from ecgnet_lib.claims import Found
from ecgnet_lib.results import RESULTS, ablations, load_predictions, load_result

MAIN = "B"  # the protocol of the verdicts: all databases, each recording judged once


def _methods(protocol: str) -> dict[str, dict]:
    return load_result("comparison.json")["protocols"][protocol]["methods"]


def _pool() -> str:
    return " + ".join(load_result("comparison.json")["data_manifests"])


def _f1(name: str) -> Found | None:
    """F1 of a class under MAIN; beside it the other protocols and the leakage lab."""
    protocols = load_result("comparison.json")["protocols"]
    rows = {p: judged["methods"]["ours"]["metrics"][name] for p, judged in protocols.items()}
    if not rows[MAIN]["estimable"]:
        return None
    beside = [f"protocol {p} {_with(row, 'f1')}" for p, row in rows.items() if p != MAIN]
    leaks = _leaks(name)
    beside += [f"with leakage, {who}, {how}: {f1:.2f}" for who, (how, f1) in leaks.items()]
    return Found(
        rows[MAIN]["f1"], rows[MAIN]["f1_low"], rows[MAIN]["f1_high"], rows[MAIN]["n"],
        f"{MAIN}, by patient", _pool(), "; ".join(beside), leaks.get("network", (None, None))[1],
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
    if not row["estimable"] or row[metric] is None:
        return "not estimable"
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


def _denoising(method: str) -> Found | None:
    """Macro AUC with a way of denoising minus without any."""
    result = load_result("denoising.json")
    rows = {name: row["difference_to_none"] for name, row in result["rows"].items()}
    if method not in rows:
        return None
    others = [f"{n} {row['value']:+.3f}" for n, row in rows.items() if n not in (method, "none")]
    data, beside = result["data"].partition(", read")[0], f"other ways: {', '.join(others)}"
    return _difference(rows[method], result["protocol"], data, beside, result["n"]["test"])


def _blocks(names: list[str]) -> Found | None:
    """The block whose removal costs least."""
    taken_out = ablations(load_result("comparison.json"), *names)
    rows = {name: taken_out[name]["difference_to_full"] for name in names if name in taken_out}
    if not rows:
        return None
    least = max(rows, key=lambda name: rows[name]["high"])
    others = [f"{n} {row['value']:+.3f}" for n, row in rows.items() if n != least]
    beside = f"the network is the one with {least}; the others: {', '.join(others) or 'none'}"
    return _difference(rows[least], f"{MAIN}, by patient", _pool(), beside)


def _transfer(_: object) -> Found | None:
    """Mean AUC of protocol C minus MAIN over the classes that both can estimate."""
    left_out, pooled = (_methods(p)["ours"]["metrics"] for p in ("C", MAIN))
    shared = [n for n in pooled if pooled[n]["estimable"] and left_out[n]["estimable"]]
    if not shared:
        return None

    def mean(rows: dict, key: str) -> float:
        return float(np.mean([rows[name][key] for name in shared]))

    return Found(
        mean(left_out, "auc") - mean(pooled, "auc"),
        mean(left_out, "auc_low") - mean(pooled, "auc_high"),
        mean(left_out, "auc_high") - mean(pooled, "auc_low"),
        load_result("comparison.json")["protocols"]["C"]["n"],
        f"C against {MAIN}", _pool(),
        f"{mean(left_out, 'auc'):.3f} against {mean(pooled, 'auc'):.3f}, over {', '.join(shared)}; "
        "the interval is a cautious one, from the ends of both",
        form="+.3f",
    )  # fmt: skip


def _lightweight(names: list[str]) -> Found | None:
    """The larger ratio, of parameters or of processor time, to the best of some peers."""
    methods, cost = _methods(MAIN), load_result("comparison.json")["cost"]
    peers = [name for name in names if name in methods and name in cost]
    if not peers:
        return None
    best = max(peers, key=lambda name: methods[name]["macro_auc"]["value"])
    same = cost["real only"]  # our network on the crops of its peers; "ours" saw more
    ratios = {k: same[k] / cost[best][k] for k in ("parameters", "seconds")}
    told = [
        f"{name} {row['parameters']:,.0f} in {row['seconds']:.0f} s"
        for name, row in cost.items()
        if row["parameters"] and name in ("real only", *peers, "CNN-LSTM")
    ]
    share = f"{ratios['parameters']:.2f} of its parameters, {ratios['seconds']:.2f} of its time"
    return Found(
        max(ratios.values()), None, None, None, "one training of the same crops", _pool(),
        f"the peer is {best}: {share}; parameters and time: {', '.join(told)}",
    )  # fmt: skip


def _scaling(_: object) -> Found:
    """Slope of log operations over log length, from a crop to ten seconds."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ecgnet_lib.checkpoint import load_checkpoint

    model, said = load_checkpoint()
    lengths_s, count = (said["train_config"]["crop_s"], 10.0), []
    for seconds in lengths_s:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 12, round(seconds * model.config.fs_hz)))
        count.append(counter.get_total_flops())
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


def _calibrated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, calibrated P(abnormal) and triage level of each recording that MAIN judged."""
    from ecgnet_lib.experiments.common import NAMES
    from ecgnet_lib.experiments.out_of_fold import known_both_ways

    rows = load_predictions("comparison.csv.gz", protocol=MAIN, method="ours", seed=0)
    rows["abnormal"] = known_both_ways(rows)
    truth, p, levels = [], [], []
    for _, part in rows.groupby("part"):
        scores = part[[f"p_{name}" for name in NAMES]].set_axis(NAMES, axis=1)
        val, test = part.set == "val", (part.set == "test") & part.abnormal.notna()
        fit = risk.calibrate(part.loc[val, NAMES], scores[val])
        after = risk.apply_platt(scores[test], fit["platt"])["abnormal"]
        truth.append(part.loc[test, "abnormal"].to_numpy(bool))
        p.append(after.to_numpy())
        levels.append([risk.triage_level(x, fit["triage_cuts"]) for x in after])
    return np.concatenate(truth), np.concatenate(p), np.concatenate(levels)


def _level(name: str) -> Found | None:
    """Observed share of abnormal recordings in a triage level."""
    truth, _, levels = _calibrated()
    rates = risk.observed_rates(levels, truth)
    row = rates.loc[name]
    if not row["n"]:
        return None
    told = [f"{level} {r['rate']:.3f} of {r['n']:,.0f}" for level, r in rates.iterrows()]
    return Found(
        row["rate"], row["low"], row["high"], int(row["n"]), f"{MAIN}, by patient", _pool(),
        f"all levels: {', '.join(told)}", form=".3f",
    )  # fmt: skip


def _calibration(_: object) -> Found:
    """Calibration error above what chance explains."""
    truth, p, _ = _calibrated()
    error, (_, chance) = risk.ece(truth, p), risk.noise_floor(p)
    return Found(error - chance, None, None, len(truth), f"{MAIN}, by patient", _pool(),
                 f"error {error:.3f}, by chance at most {chance:.3f}", form="+.3f")  # fmt: skip


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
    "calibration": _calibration,
}
