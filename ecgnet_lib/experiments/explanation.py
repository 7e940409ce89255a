"""Do the maps explain? Deletion, territories and random weights, on the default network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ecgnet_lib import datasets
from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.datasets.splits import audit, duplicates, merge_duplicates, official
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.evaluation.explain import (
    FORMS,
    FRACTIONS,
    TERRITORY,
    area_between,
    attention_maps,
    cascade,
    deletion_curve,
    integrated_gradients,
    logit,
    mean_interval,
    per_token,
    rank_correlation,
    territory_share,
    units_of,
)
from ecgnet_lib.evaluation.methods import RESAMPLES
from ecgnet_lib.experiments.common import about
from ecgnet_lib.network.checkpoint import load_checkpoint
from ecgnet_lib.simulation.simulator import simulate
from ecgnet_lib.training.loop import TrainConfig, predict_crops

IG, SIZE = "integrated gradients", "signal size"
FORM_OF = {"CBAM": "cells", "GAT": "leads", "TST": "tokens"}  # where each attention says something
DRAWS = 4  # random deletions of each recording, averaged
PER_WALL = 50  # virtual patients with an infarction of each wall
SEVERITY = (0.6, 1.0)  # from meeting the criterion to a textbook picture
SANITY, SEEDS = 40, 2  # recordings, and how often the weights are drawn anew


def explanation() -> dict:
    """Test the maps of the default network on the official test fold and on virtual patients."""
    model, said = load_checkpoint()
    data = datasets.load()  # simulated patients where there are no others
    table = merge_duplicates(data.table, duplicates(data.signals, data.table))
    split = official(table)
    audit(split, table, data.signals)
    x = middle(denoise(data.signals.batch(split.test), data.fs_hz, said["denoise"]), said)
    patients = table.patient.iloc[split.test].to_numpy()
    result = about("explanation", data, split, TrainConfig(**said["train_config"])) | {
        "weights_sha256": said["weights_sha256"],
        "crop_s": said["train_config"]["crop_s"],
        "recordings": list(table.index[split.test]),
        "patients": list(patients),
    }
    return result | {
        "deletion": deletion(model, x, patients, said["thresholds"]["abnormal"]),
        "territory": territory(model, said),
        "sanity": sanity(model, x[:SANITY], patients[:SANITY]),
    }


def middle(signals: np.ndarray, said: dict) -> np.ndarray:
    """Cut the middle of (N, 12, T): as long as the crops that the network was trained on."""
    length = round(said["train_config"]["crop_s"] * said["config"]["fs_hz"])
    start = (signals.shape[-1] - length) // 2
    return np.ascontiguousarray(signals[..., start : start + length])


def all_maps(model: nn.Module, x: np.ndarray, target: str) -> dict[str, np.ndarray]:
    """Return every map (N, 12, P) of x: attention, integrated gradients, and the signal's size.

    The mean absolute value of the signal at a token knows nothing of the network. A map that finds
    no more than it does has only found the heartbeat.
    """
    maps: dict[str, list[np.ndarray]] = {}
    for start in tqdm(range(0, len(x), 16), desc=f"maps for {target}", unit="batch"):
        part = torch.from_numpy(x[start : start + 16])
        found = attention_maps(model, part)
        found[IG] = per_token(integrated_gradients(model, part, target), model.config.stride)
        found[SIZE] = per_token(part.abs().numpy(), model.config.stride) / model.config.stride
        for name, values in found.items():
            maps.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in maps.items()}


def deletion(model: nn.Module, x: np.ndarray, patients: np.ndarray, threshold: float) -> dict:
    """Delete what each map marks; compare the fall of the predicted class with random deletion.

    The logit counts for the class that stage 1 chose: it is negated where that is "normal". Each
    attention is deleted in its own form, and the other two maps, summed alike, beside it.
    """
    with torch.no_grad():
        scores = torch.cat([logit(model, p, "abnormal") for p in torch.from_numpy(x).split(64)])
    abnormal = torch.sigmoid(scores).numpy() >= threshold
    sign = np.where(abnormal, 1.0, -1.0)
    maps = all_maps(model, x, "abnormal")
    maps[IG] = maps[IG] * sign[:, None, None]
    rng = np.random.default_rng(0)
    forms = {}
    for form in FORMS:
        of_form = {n: m for n, m in maps.items() if FORM_OF.get(n, form) == form}
        units = {name: units_of(m, form) for name, m in of_form.items()}
        shape = next(iter(units.values())).shape
        draws = {f"random {k}": rng.random(shape) for k in range(DRAWS)}
        curves = {
            name: np.concatenate([
                sign[start : start + 64, None]
                * deletion_curve(model, x[start : start + 64], u[start : start + 64], form)
                for start in range(0, len(x), 64)
            ])
            for name, u in tqdm((units | draws).items(), desc=f"deleting {form}", unit="map")
        }  # fmt: skip
        random = np.mean([curves.pop(name) for name in draws], axis=0)
        areas = {name: area_between(random, curve) for name, curve in curves.items()}
        forms[form] = {
            "curves": {n: plain(c.mean(0)) for n, c in (curves | {"random": random}).items()},
            "areas": {
                name: {
                    "all": mean_interval(area, patients, RESAMPLES),
                    "beyond size": mean_interval(area - areas[SIZE], patients, RESAMPLES),
                }
                | {
                    group: mean_interval(area[rows], patients[rows], RESAMPLES)
                    for group, rows in (("abnormal", abnormal), ("normal", ~abnormal))
                    if rows.any()
                }
                for name, area in areas.items()
            },
            "per_recording": {name: plain(area) for name, area in areas.items()},
        }
    return {
        "fractions": plain(FRACTIONS),
        "draws": DRAWS,
        "predicted_abnormal": abnormal.astype(int).tolist(),
        "forms": forms,
    }


def territory(model: nn.Module, said: dict) -> dict:
    """Do the leads of the wall light up? Virtual patients, each with a healthy twin.

    Twins share the anatomy and the beats and differ in the infarction alone, without noise.
    """
    rng = np.random.default_rng(0)
    walls = np.repeat(list(TERRITORY), PER_WALL)
    sick = [{str(wall): float(rng.uniform(*SEVERITY))} for wall in walls]
    age = rng.uniform(45, 85, len(walls))
    fs_hz, patients = said["config"]["fs_hz"], np.arange(len(walls))
    maps, recognised = {}, None
    for who, people in (("infarct", sick), ("twin", [{} for _ in sick])):
        signals = simulate(people, fs_hz=fs_hz, seed=0, age=age).signals
        signals = denoise(signals - signals.mean(axis=2, keepdims=True), fs_hz, said["denoise"])
        maps[who] = all_maps(model, middle(signals, said), "MI")
        if who == "infarct":
            p = predict_crops(model, signals)[1][:, DISEASES.index("MI")]
            recognised = p >= said["thresholds"]["MI"]
    chance = np.array([len(TERRITORY[wall]) / len(LEADS) for wall in walls])
    rows = {}
    for name in maps["infarct"]:
        if name == "TST":  # the same for all leads: it can say nothing here
            continue
        share = {who: np.empty(len(walls)) for who in maps}
        for who, wall in ((w, k) for w in maps for k in TERRITORY):
            share[who][walls == wall] = territory_share(maps[who][name][walls == wall], wall)
        groups = {"all": np.full(len(walls), True), "recognised": recognised}
        groups |= {wall: walls == wall for wall in TERRITORY}
        rows[name] = {
            "per_patient": {who: plain(values) for who, values in share.items()},
            "share": by_group(share["infarct"], patients, groups),
            "beyond chance": by_group(share["infarct"] - chance, patients, groups),
            "beyond twin": by_group(share["infarct"] - share["twin"], patients, groups),
        }
    return {
        "target": "MI",
        "leads": {wall: list(leads) for wall, leads in TERRITORY.items()},
        "walls": walls.tolist(),
        "chance": plain(chance),
        "recognised": recognised.astype(int).tolist(),
        "maps": rows,
    }


def sanity(model: nn.Module, x: np.ndarray, patients: np.ndarray) -> dict:
    """Draw the weights anew from the head down; correlate each map with that of the trained net."""
    trained = all_maps(model, x, "abnormal")
    trained.pop(SIZE)  # has no weights
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in trained}
    for seed in range(SEEDS):
        for part, drawn in cascade(model, seed):
            for name, values in all_maps(drawn, x, "abnormal").items():
                if name in trained:
                    form = FORM_OF.get(name, "cells")
                    pair = units_of(trained[name], form), units_of(values, form)
                    found[name].setdefault(part, []).append(rank_correlation(*pair))
    means = {n: {p: np.mean(c, axis=0) for p, c in parts.items()} for n, parts in found.items()}
    return {
        "seeds": SEEDS,
        "parts": list(next(iter(means.values()))),
        "per_recording": {n: {p: plain(c) for p, c in by.items()} for n, by in means.items()},
        "correlation": {
            name: {part: mean_interval(c, patients, RESAMPLES) for part, c in by_part.items()}
            for name, by_part in means.items()
        },
    }


def by_group(values: np.ndarray, patients: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    """Return the mean and its interval in each group that has anybody in it."""
    return {
        name: mean_interval(values[rows], patients[rows], RESAMPLES)
        for name, rows in groups.items()
        if rows.any()
    }


def plain(values: Iterable[float]) -> list[float]:
    """Return numbers for JSON: six decimals recompute any interval."""
    return [round(float(value), 6) for value in values]
