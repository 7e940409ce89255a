"""Attribution maps, and three tests of whether they explain the network.

A map holds how much each lead matters at each token, (B, L, P). The tests: does deleting what it
marks move the decision (`deletion_curve`), does it find the leads of a known infarction
(`territory_share`), does it change with random weights (`cascade`)?

Shapes: B recordings, L leads, T samples, P tokens (T / stride), U units that are deleted at once.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import numpy as np
import torch
from captum.attr import IntegratedGradients
from scipy.stats import rankdata
from torch import Tensor, nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError
from ecgnet_lib.evaluation.methods import RESAMPLES, interval
from ecgnet_lib.evaluation.metrics import patient_resamples

FORMS = ("cells", "leads", "tokens")  # a lead at a token, a whole lead, a token in all leads
FRACTIONS = np.arange(7) / 12  # deleted, none to one half: with 12 leads a lead a step
# Leads that face the wall, by statement: groups of contiguous leads (Thygesen et al. 2018). No
# standard lead faces the posterior wall (PMI): it has no territory here.
TERRITORY = {
    "IMI": ("II", "III", "aVF"),
    "ASMI": ("V1", "V2", "V3", "V4"),
    "AMI": ("V1", "V2", "V3", "V4"),
    "LMI": ("I", "aVL", "V5", "V6"),
}


@torch.no_grad()
def attention_maps(model: nn.Module, x: Tensor) -> dict[str, np.ndarray]:
    """Return the attention of each block that the network has, by name, each (B, L, P).

    x: (B, L, T) mV. "CBAM": the temporal gate of each lead. "GAT": the attention that a lead
    receives in the graph of its token, the mean over heads and targets; it sums to one over the
    leads. "TST": attention rollout (Abnar and Zuidema 2020, eq. 1): heads averaged, half
    of the identity added for the residual path, layers multiplied; then the mean over tokens, as
    the network pools them. It sums to one over the tokens and is the same for all leads.
    """
    *_, maps = model(x, return_maps=True)
    leads, tokens = x.shape[1], x.shape[2] // model.config.stride
    found = {}
    if "temporal" in maps:
        found["CBAM"] = maps["temporal"]
    if "leads" in maps:
        received = maps["leads"].mean((2, 3)).transpose(1, 2)  # (B, L, S)
        found["GAT"] = received.repeat_interleave(model.config.graph_tokens, dim=2)[..., :tokens]
    if "tokens" in maps:
        layers = 0.5 * (maps["tokens"].mean(2) + torch.eye(tokens))  # (B, layers, P, P)
        rollout = functools.reduce(lambda below, layer: layer @ below, layers.unbind(1))
        found["TST"] = rollout.mean(1)[:, None].expand(-1, leads, -1)
    return {name: values.numpy() for name, values in found.items()}


def logit(model: nn.Module, x: Tensor, target: str, present: Tensor | None = None) -> Tensor:
    """Return the logit (B,) of "abnormal", or of a disease given abnormal; else ConfigError."""
    if target not in ("abnormal", *DISEASES):
        raise ConfigError("no such target", expected=["abnormal", *DISEASES], found=target)
    abnormal, diseases = model(x, present)
    return abnormal if target == "abnormal" else diseases[:, DISEASES.index(target)]


def integrated_gradients(
    model: nn.Module, x: Tensor, target: str = "abnormal", steps: int = 32
) -> np.ndarray:
    """Attribute a logit to every sample: (B, L, T) in, (B, L, T) out, signed, in log-odds.

    Sundararajan et al. 2017, eq. 1: the gradient along the straight way from a flat line to x,
    averaged over `steps` Gauss-Legendre nodes, times x. The sum of the attributions is logit(x) -
    logit(flat line) ("completeness"), up to the error of the quadrature.
    """
    engine = IntegratedGradients(lambda part: logit(model, part, target))
    # 64 at a time fit the processor's cache
    return engine.attribute(x, n_steps=steps, internal_batch_size=64).detach().numpy()


def per_token(values: np.ndarray, stride: int) -> np.ndarray:
    """Sum (B, L, T) over the `stride` samples of each token: (B, L, P)."""
    return values.reshape(*values.shape[:-1], -1, stride).sum(-1)


def units_of(maps: np.ndarray, form: str) -> np.ndarray:
    """Sum maps (B, L, P) over the units that one of FORMS deletes: (B, U), U = L*P, L or P."""
    over = {"cells": (), "leads": 2, "tokens": 1}[form]
    return maps.sum(over).reshape(len(maps), -1)


def delete(x: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Replace the tokens `gone` (B, L, P) of x (B, L, T) by straight lines; returns a copy.

    A line joins the last sample kept before the gap with the first kept after it; at an end of the
    recording the last kept value is held. A lead of which nothing is left becomes zero.
    """
    kept = ~np.repeat(gone, x.shape[2] // gone.shape[2], axis=2)
    at = np.arange(x.shape[2])
    before = np.maximum.accumulate(np.where(kept, at, -1), axis=2)
    after = np.minimum.accumulate(np.where(kept, at, len(at))[..., ::-1], axis=2)[..., ::-1]
    first, last = np.where(before < 0, after, before), np.where(after == len(at), before, after)
    nothing = ~kept.any(2, keepdims=True)
    first, last = np.where(nothing, 0, first), np.where(nothing, 0, last)
    left, right = np.take_along_axis(x, first, 2), np.take_along_axis(x, last, 2)
    share = (at - first) / np.maximum(last - first, 1)
    line = np.where(nothing, 0.0, left + share * (right - left))
    return np.where(kept, x, line).astype(x.dtype)


@torch.no_grad()
def deletion_curve(
    model: nn.Module, x: np.ndarray, units: np.ndarray, form: str, target: str = "abnormal"
) -> np.ndarray:
    """Return the logit (B, F) of the target after deleting the highest of `units`, by FRACTIONS.

    x: (B, L, T) mV; units: (B, U) as `units_of` gives them (noise, to delete at random). Known as
    pixel flipping (Samek et al. 2017) or the deletion game (Petsiuk et al. 2018). A lead that is
    deleted as a whole is declared missing, which the network was trained to expect.
    """
    tokens = x.shape[2] // model.config.stride
    shape = {"cells": (x.shape[1], tokens), "leads": (-1, 1), "tokens": (1, -1)}[form]
    rank = (-units).argsort(1, kind="stable").argsort(1, kind="stable")
    curve = []
    for fraction in FRACTIONS:
        gone = (rank < round(fraction * units.shape[1])).reshape(len(x), *shape)
        gone = np.broadcast_to(gone, (len(x), x.shape[1], tokens))
        present = torch.from_numpy(~gone.all(2))
        curve.append(logit(model, torch.from_numpy(delete(x, gone)), target, present))
    return torch.stack(curve, dim=1).numpy()


def area_between(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the mean gap (B,) between two deletion curves (B, F), by the trapezoidal rule.

    In log-odds; positive where `below` falls faster.
    """
    return np.trapezoid(above - below, FRACTIONS, axis=1) / FRACTIONS[-1]


def territory_share(maps: np.ndarray, wall: str) -> np.ndarray:
    """Return the share (B,) of maps (B, L, P) that lies in the leads of a wall.

    Negative parts of a map do not count. A map that marks all leads alike, or none, gives the share
    of leads.
    """
    marked = np.clip(maps, 0, None).sum(2)
    inside = marked[:, np.isin(LEADS, TERRITORY[wall])].sum(1)
    by_chance = np.full(len(maps), len(TERRITORY[wall]) / len(LEADS))
    return np.divide(inside, marked.sum(1), out=by_chance, where=marked.any(1))


def cascade(model: nn.Module, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Randomise the weights, from the head down to the input, one part after the other.

    Yields (part, copy of the network in which that part and all above it have random weights):
    "cascading randomization", Adebayo et al. 2018.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)(model.config).state_dict()
    state = dict(model.state_dict())
    parts = list(dict.fromkeys(key.partition(".")[0] for key in state))
    for part in reversed(parts):
        state |= {key: value for key, value in fresh.items() if key.partition(".")[0] == part}
        drawn = copy.deepcopy(model)
        drawn.load_state_dict(state)
        yield part, drawn.eval()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation (B,) between maps (B, U); zero where one is constant."""
    a, b = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (a, b))
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return (a * b).sum(1) / np.where(size > 0, size, 1)


def mean_interval(values: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """Return the mean of values (N,) with its 95 % bootstrap interval over patients (N,)."""
    counts = patient_resamples(patients, RESAMPLES, seed=0)
    return interval(np.append(np.mean(values), counts @ values / counts.sum(1)))
