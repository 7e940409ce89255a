"""Do the maps explain? Deletion, territories and random weights, on the default network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.evaluation import explain
from ecgnet_lib.evaluation.explain import TERRITORY
from ecgnet_lib.experiments import common
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
    data, table, split = common.official_folds("auto")  # simulated where nothing else is at hand
    x = middle(denoise(data.signals.batch(split.test), data.fs_hz, said["denoise"]), said)
    patients = table.patient.iloc[split.test].to_numpy()
    result = common.about("explanation", data, split, TrainConfig(**said["train_config"])) | {
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
    """Cut from the middle of (N, 12, T) as much as the network was trained on."""
    length = round(said["train_config"]["crop_s"] * said["config"]["fs_hz"])
    start = (signals.shape[-1] - length) // 2
    return np.ascontiguousarray(signals[..., start : start + length])


def all_maps(model: nn.Module, x: np.ndarray, target: str) -> dict[str, np.ndarray]:
    """Return every map (N, 12, P) of x: attention, integrated gradients, and the signal's size.

    The last, the mean absolute value at a token, is the control: it knows nothing of the network.
    """
    maps: dict[str, list[np.ndarray]] = {}
    stride = model.config.stride
    for start in tqdm(range(0, len(x), 16), desc=f"maps for {target}", unit="batch"):
        part = torch.from_numpy(x[start : start + 16])
        found = explain.attention_maps(model, part)
        found[IG] = explain.per_token(explain.integrated_gradients(model, part, target), stride)
        found[SIZE] = explain.per_token(part.abs().numpy(), stride) / stride
        for name, values in found.items():
            maps.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in maps.items()}


def deletion(model: nn.Module, x: np.ndarray, patients: np.ndarray, threshold: float) -> dict:
    """Delete what each map marks; compare the fall of the predicted class with random deletion.

    The logit is negated where stage 1 says "normal". Each attention is deleted in its own form,
    beside the two other maps, summed alike.
    """
    with torch.no_grad():
        parts = [explain.logit(model, part, "abnormal") for part in torch.from_numpy(x).split(64)]
    abnormal = torch.cat(parts).sigmoid().numpy() >= threshold
    sign = np.where(abnormal, 1.0, -1.0)
    groups = {"all": np.full(len(x), True), "abnormal": abnormal, "normal": ~abnormal}
    maps = all_maps(model, x, "abnormal")
    maps[IG] = maps[IG] * sign[:, None, None]
    rng = np.random.default_rng(0)

    def fall(units: np.ndarray, form: str) -> np.ndarray:
        batches = [slice(start, start + 64) for start in range(0, len(x), 64)]
        logits = [explain.deletion_curve(model, x[b], units[b], form) for b in batches]
        return sign[:, None] * np.concatenate(logits)

    forms = {}
    for form in explain.FORMS:
        of_form = {n: m for n, m in maps.items() if FORM_OF.get(n, form) == form}
        units = {name: explain.units_of(m, form) for name, m in of_form.items()}
        draws = [rng.random(units[IG].shape) for _ in range(DRAWS)]
        curves = {
            name: fall(u, form) for name, u in tqdm(units.items(), f"deleting {form}", unit="map")
        }
        random = np.mean([fall(u, form) for u in draws], axis=0)
        areas = {name: explain.area_between(random, curve) for name, curve in curves.items()}
        forms[form] = {
            "curves": {n: plain(c.mean(0)) for n, c in (curves | {"random": random}).items()},
            "areas": {
                name: by_group(area, patients, groups)
                | {"beyond size": explain.mean_interval(area - areas[SIZE], patients)}
                for name, area in areas.items()
            },
            "per_recording": {name: plain(area) for name, area in areas.items()},
        }
    return {
        "fractions": plain(explain.FRACTIONS),
        "draws": DRAWS,
        "predicted_abnormal": abnormal.astype(int).tolist(),
        "forms": forms,
    }


def territory(model: nn.Module, said: dict) -> dict:
    """Do the leads of the wall light up? Virtual patients, each with a twin without infarction."""
    rng = np.random.default_rng(0)
    walls = np.repeat(list(TERRITORY), PER_WALL)
    sick = [{str(wall): float(rng.uniform(*SEVERITY))} for wall in walls]
    age = rng.uniform(45, 85, len(walls))
    fs_hz, patients = said["config"]["fs_hz"], np.arange(len(walls))
    maps = {}
    for who, people in (("infarct", sick), ("twin", [{} for _ in sick])):
        signals = simulate(people, fs_hz=fs_hz, seed=0, age=age).signals
        signals = denoise(signals - signals.mean(axis=2, keepdims=True), fs_hz, said["denoise"])
        maps[who] = all_maps(model, middle(signals, said), "MI")
        if who == "infarct":
            p = predict_crops(model, signals)[1][:, DISEASES.index("MI")]
    chance = np.array([len(TERRITORY[wall]) / len(LEADS) for wall in walls])
    recognised = p >= said["thresholds"]["MI"]
    groups = {"all": np.full(len(walls), True), "recognised": recognised}
    groups |= {wall: walls == wall for wall in TERRITORY}
    rows = {}
    for name in maps["infarct"]:
        if name == "TST":  # the same for all leads
            continue
        share = {}
        for who, of in maps.items():  # `walls` has the order of TERRITORY
            parts = [explain.territory_share(of[name][walls == w], w) for w in TERRITORY]
            share[who] = np.concatenate(parts)
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
        for part, drawn in explain.cascade(model, seed):
            for name, values in all_maps(drawn, x, "abnormal").items():
                if name in trained:
                    form = FORM_OF.get(name, "cells")
                    pair = explain.units_of(trained[name], form), explain.units_of(values, form)
                    found[name].setdefault(part, []).append(explain.rank_correlation(*pair))
    means = {n: {p: np.mean(c, axis=0) for p, c in parts.items()} for n, parts in found.items()}
    return {
        "seeds": SEEDS,
        "parts": list(next(iter(means.values()))),
        "per_recording": {n: {p: plain(c) for p, c in by.items()} for n, by in means.items()},
        "correlation": {
            name: {part: explain.mean_interval(c, patients) for part, c in by_part.items()}
            for name, by_part in means.items()
        },
    }


def by_group(values: np.ndarray, patients: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    """Return the mean and its interval in each group that has anybody in it."""
    held = {name: rows for name, rows in groups.items() if rows.any()}
    return {n: explain.mean_interval(values[rows], patients[rows]) for n, rows in held.items()}


def plain(values: Iterable[float]) -> list[float]:
    """Return numbers for JSON: six decimals recompute any interval."""
    return [round(float(value), 6) for value in values]
