"""What the stored results say about each claim: one function a measure, nothing typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from ecgnet_lib.evaluation import methods, risk
from ecgnet_lib.evaluation.methods import NAMES
from ecgnet_lib.evaluation.metrics import MIN_POSITIVES
from ecgnet_lib.evaluation.results import RESULTS, ablation, format_interval, load_predictions
from ecgnet_lib.evaluation.results import load_result as load

MAIN = "B"  # the protocol of the verdicts: all databases, each recording in one test set
BY_PATIENT = f"{MAIN}, by patient"
COUNTED = (None, None, None, "counted, not timed", "the default network")


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


def _methods() -> dict[str, dict]:
    return load("comparison.json")["protocols"][MAIN]["methods"]


def _pool() -> str:
    return " + ".join(load("comparison.json")["data_manifests"])


def _ours(protocol: str, **only: object) -> pd.DataFrame:
    """Return the first network's predictions under a protocol, see `methods.known_abnormal`."""
    rows = load_predictions("comparison.csv.gz", protocol=protocol, method="ours", seed=0, **only)
    return rows.assign(abnormal=methods.known_abnormal(rows))


def _sources(rows: pd.DataFrame, name: str) -> str:
    """Name the sources of the rows for which the truth is known."""
    return " + ".join(rows.loc[rows[name].notna(), "source"].unique())


def _found(row: Mapping, protocol: str, data: str, beside: str, form: str = "+.3f") -> Found:
    ends = (row[end] for end in ("value", "low", "high", "n"))
    return Found(*ends, protocol, data, beside, form=form)


def _listed(rows: Mapping[str, dict], form: str = "+.3f") -> str:
    return ", ".join(f"{name} {row['value']:{form}}" for name, row in rows.items())


def f1(name: str) -> Found | None:
    """F1 of a class under MAIN; beside it the other protocols and the leakage experiment.

    The class "rarest" is the estimable one with the fewest positives.
    """
    protocols = load("comparison.json")["protocols"]
    ours = protocols[MAIN]["methods"]["ours"]
    if name == "rarest":
        positives = {n: m["positives"] for n, m in ours["metrics"].items() if m["estimable"]}
        name = min(positives, key=positives.get)
    main = ours["metrics"][name]
    if not main["estimable"]:
        return None
    rows = {} if name == "abnormal" else {"PTB-XL alone": ours["sources"]["ptb-xl"]["metrics"]}
    for protocol, found in protocols.items():
        if protocol != MAIN:
            rows[f"protocol {protocol}"] = found["methods"]["ours"]["metrics"]
    beside = [f"{where} {format_interval(row[name], 'f1')}" for where, row in rows.items()]
    leaks: dict[str, tuple[float, str]] = {}  # of each learner the unsound protocol with most F1
    for how, found in load("leakage.json")["protocols"].items():
        for who, method in found["methods"].items():
            row = method["metrics"][name]
            if row["estimable"] and not found["sound"]:
                leaks[who] = max(leaks.get(who, (0.0, "")), (row["f1"], how))
    beside += [f"with leakage, {who}, {how}: {best:.2f}" for who, (best, how) in leaks.items()]
    return Found(
        *(main[key] for key in ("f1", "f1_low", "f1_high", "n")),
        BY_PATIENT,
        _sources(_ours(MAIN, set="test"), name),
        "; ".join(beside),
        leaks["network"][0] if "network" in leaks else None,
    )


def single(_: object) -> Found:
    """Share of the diseased stored recordings that carry exactly one class."""
    count = pd.read_csv(RESULTS / "comparison_truth.csv")[NAMES[1:]].fillna(0).sum(axis=1)
    ill, one = int((count > 0).sum()), int((count == 1).sum())
    return Found(one / ill, *risk.wilson(one, ill), ill, "all stored recordings", _pool())


def rivals(names: list[str]) -> Found | None:
    """The peer whose macro AUC lies furthest above ours, as far as the interval vouches for it."""
    rows = {n: m["difference_to_ours"] for n, m in _methods().items() if n in names}
    return _best(rows, "low", "the peer is")


def blocks(names: list[str]) -> Found | None:
    """The block whose removal costs least."""
    rows = {n: m["difference_to_full"] for n, m in ablation(*names).items() if n in names}
    return _best(rows, "high", "the network is the one with")


def _best(rows: Mapping[str, dict], end: str, said: str) -> Found | None:
    """Return the row with the highest end of its interval; the others stand beside it."""
    if not rows:
        return None
    best = max(rows, key=lambda name: rows[name][end])
    others = {name: row for name, row in rows.items() if name != best}
    beside = f"{said} {best}; the others: {_listed(others)}"
    return _found(rows[best], BY_PATIENT, _pool(), beside)


def denoising(pair: list[str]) -> Found:
    """Macro AUC with one way of denoising minus that with another (see denoising_truth.csv)."""
    result, predictions = load("denoising.json"), load_predictions("denoising.csv.gz")
    found = methods.evaluate(predictions[predictions["method"].isin(pair)], [pair[1]])["methods"]
    rows = result["protocols"]["A"]["methods"].items()
    plain = {name: row["difference_to_none"] for name, row in rows if name != "none"}
    row, data = found[pair[0]][f"difference_to_{pair[1]}"], result["data"].partition(", read")[0]
    return _found(row, result["protocol"], data, f"against no denoising: {_listed(plain)}")


def transfer(_: object) -> Found | None:
    """Mean AUC on left-out databases minus MAIN's on the same recordings."""
    return transferred(_ours("C", set="test"), _ours(MAIN, set="test"))


def transferred(left_out: pd.DataFrame, pooled: pd.DataFrame) -> Found | None:
    """Compare test rows of a network that never saw a database with those of one that did.

    Each left-out database counts whose network learned from at least half as many recordings as
    the others did, with each class that can be estimated on it. The interval is a paired bootstrap
    over patients.
    """
    there = pooled.set_index("recording")
    least = 0.5 * (1 - 1 / there["fold"].nunique()) * len(there)
    total, count, recordings, told = 0.0, 0, 0, []
    for _, rows in left_out.set_index("recording").groupby("fold"):
        fewer = {n: min((rows[n] == 1).sum(), (rows[n] == 0).sum()) for n in NAMES}
        columns = [n for n in NAMES if fewer[n] >= MIN_POSITIVES]
        if len(there) - len(rows) < least or not columns:
            continue
        counts = methods.patient_counts(rows)
        truth = there.loc[rows.index].assign(**{n: rows[n] for n in columns})
        apart, within = (
            methods.macro_samples([t], rows.index, columns, counts) for t in (rows, truth)
        )
        total, count = total + (apart - within) * len(columns), count + len(columns)
        recordings += len(rows)
        where = f"{_sources(rows, columns[0])}: {apart[0]:.3f} against {within[0]:.3f}"
        told.append(f"{where}, over {', '.join(columns)}")
    if not count:
        return None
    row, where = (
        methods.interval(total / count) | {"n": recordings},
        "the databases that could be left out",
    )
    return _found(row, f"C against {MAIN}", where, "; ".join(told))


def lightweight(names: list[str]) -> Found:
    """The larger ratio, of parameters or of operations, to the best of some peers."""
    from ecgnet_lib.network.baselines import NETWORKS
    from ecgnet_lib.network.checkpoint import load_networks
    from ecgnet_lib.network.ecgnet import count_parameters

    cost, compared = load("comparison.json")["cost"], _methods()
    best = max(names, key=lambda name: compared[name]["macro_auc"]["value"])
    *ours, _ = load_networks()
    peer = NETWORKS[best]()
    parameters = sum(map(count_parameters, ours)) / count_parameters(peer)
    work = sum(_operations(net, 10.0) for net in ours) / _operations(peer, 10.0)
    alike, whole = (cost[n]["seconds"] / cost[best]["seconds"] for n in ("labels only", "ours"))
    beside = (
        f"the peer is {best}: {parameters:.2f} of its parameters, {work:.2f} of its operations; "
        f"training on as many crops takes {alike:.2f} of its time, with distillation and 60,000 "
        f"crops {whole:.2f}"
    )
    return Found(max(parameters, work), *COUNTED, beside)


def scaling(_: object) -> Found:
    """Slope of log operations over log length, from a crop to ten seconds."""
    from ecgnet_lib.network.checkpoint import load_checkpoint

    model, said = load_checkpoint()
    count = {
        seconds: _operations(model, seconds) for seconds in (said["train_config"]["crop_s"], 10)
    }
    (short, few), (long, many) = count.items()
    told = "{:.1f} million operations for {:g} s".format
    beside = f"{told(few / 1e6, short)}, {told(many / 1e6, long)}"
    return Found(math.log(many / few) / math.log(long / short), *COUNTED, beside)


def _operations(model: object, seconds: float) -> int:
    """Count the operations of one pass over a recording."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 12, round(seconds * model.config.fs_hz)))
    return counter.get_total_flops()


def deletion(forms: dict[str, str]) -> Found:
    """The attention map that falls furthest behind random deletion, or gains least over it."""
    result = load("explanation.json")
    areas = {form: found["areas"] for form, found in result["deletion"]["forms"].items()}
    rows = {name: areas[form][name]["all"] for name, form in forms.items()}
    least = min(rows, key=lambda name: rows[name]["low"])
    row = rows.pop(least) | {"n": result["n"]["test"]}
    gradients = {"which any network allows:": areas["cells"]["integrated gradients"]["all"]}
    beside = f"the map is that of {least}; the others: {_listed(rows, '+.2f')}; "
    beside += f"integrated gradients, {_listed(gradients, '+.2f')}"
    return _found(row, result["protocol"], result["data"].partition(", read")[0], beside, "+.2f")


def level(name: str) -> Found:
    """Observed share of abnormal recordings in a triage level."""
    return in_level(_ours(MAIN), name)


def in_level(rows: pd.DataFrame, name: str) -> Found:
    """Calibrate and cut on the validation rows of each fold, then count in its test rows.

    The share of a level that nobody is in is not a number, its interval is 0 to 1.
    """
    tests = []
    for _, fold in rows.groupby("fold"):
        scores = fold[[f"p_{n}" for n in NAMES]].set_axis(NAMES, axis=1)
        val, test = fold["set"] == "val", (fold["set"] == "test") & fold["abnormal"].notna()
        fit = risk.calibrate(fold.loc[val, NAMES], scores[val])
        p = risk.apply_platt(scores[test], fit["platt"])["abnormal"]
        levels = [risk.triage_level(one, fit["triage_cuts"]) for one in p]
        tests.append(pd.DataFrame({"p": p, "level": levels, "truth": fold.loc[test, "abnormal"]}))
    test = pd.concat(tests).astype({"truth": bool})
    rates = risk.observed_rates(test["level"], test["truth"])
    error, (_, chance) = risk.ece(test["truth"], test["p"]), risk.noise_floor(test["p"])
    told = [f"{level} {r['rate']:.3f} of {r['n']:,.0f}" for level, r in rates.iterrows()]
    beside = f"all levels: {', '.join(told)}; calibration error {error:.3f}, by chance at most "
    share, n = rates.loc[name, ["rate", "low", "high"]], int(rates.loc[name, "n"])
    where = _sources(rows, "abnormal")
    return Found(*share, n, BY_PATIENT, where, f"{beside}{chance:.3f}", form=".3f")


ALL = (f1, single, rivals, blocks, denoising, transfer, lightweight, scaling, deletion, level)
MEASURES: dict[str, Callable[[object], Found | None]] = {one.__name__: one for one in ALL}
