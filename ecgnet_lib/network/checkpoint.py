"""A trained network on disk: weights as safetensors, everything else as JSON beside them.

No pickle: opening a checkpoint runs no code. The JSON says what the weights mean (configuration,
classes, sampling rate, denoising, decision thresholds), where they come from (data manifest,
training, code version) and the SHA-256 of the weights; loading refuses what does not fit.

The state of an interrupted training is one file of tensors and plain values, which PyTorch reads
without running code.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ecgnet_lib import __version__
from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError, EcgnetError
from ecgnet_lib.files import write_atomic, write_json
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig
from ecgnet_lib.network.rhythm import RhythmConfig, RhythmNet
from ecgnet_lib.paths import WEIGHTS

DEFAULT = WEIGHTS / "default.json"
VIRTUAL = DEFAULT.with_name("virtual.json")  # trained on virtual patients only
STRIP = DEFAULT.with_name("strip.json")  # the rhythm strip that is read beside the default network
VIRTUAL_STRIP = DEFAULT.with_name("virtual_strip.json")


def save_checkpoint(model: FoundationalECGNet | RhythmNet, path: Path, about: dict) -> None:
    """Write `path` (.json) and the weights beside it (.safetensors).

    about: plain values; `train_config`, `thresholds`, `triage_cuts`, `denoise`, `data`,
    `data_manifest` and whatever else explains the weights.
    """
    weights = save({k: v.detach().contiguous() for k, v in model.state_dict().items()})
    head = {
        "format": 1,
        "code_version": __version__,
        "network": type(model).__name__,
        "config": model.config.to_dict(),
        "diseases": list(DISEASES),
        "leads": list(LEADS),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_atomic(path.with_suffix(".safetensors"), weights)
    write_json(path, head | about)


def load_checkpoint(path: Path = DEFAULT) -> tuple[FoundationalECGNet | RhythmNet, dict]:
    """Return the network in eval mode and what the JSON says.

    Raises ConfigError when a file is missing, damaged, altered, or made for other classes, leads,
    or a configuration that this version of the code does not know.
    """
    about = read_json(path)
    for key, ours in (("format", 1), ("diseases", list(DISEASES)), ("leads", list(LEADS))):
        if about.get(key) != ours:
            raise ConfigError(
                f"the checkpoint has another {key}", file=path, expected=ours, found=about.get(key),
                remedy="use a checkpoint made by this version, or train anew",
            )  # fmt: skip
    weights_path = path.with_suffix(".safetensors")
    try:
        weights = weights_path.read_bytes()
    except OSError as error:
        raise ConfigError("the weights cannot be read", file=weights_path, found=error) from error
    digest = hashlib.sha256(weights).hexdigest()
    if digest != about.get("weights_sha256"):
        raise ConfigError(
            "the weights are not those that the JSON describes", file=weights_path,
            expected=about.get("weights_sha256"), found=digest,
            remedy="restore both files together",
        )  # fmt: skip
    try:
        model = (
            RhythmNet(RhythmConfig(**about["config"]))
            if about.get("network") == RhythmNet.__name__
            else FoundationalECGNet(ModelConfig.from_dict(about["config"]))
        )
        model.load_state_dict(load(weights))
    except (EcgnetError, RuntimeError, SafetensorError, TypeError, KeyError) as error:
        raise ConfigError(
            "the weights do not fit their configuration", file=path, found=error,
            remedy="use a checkpoint made by this version, or train anew",
        ) from error  # fmt: skip
    return model.eval(), about


def load_networks(path: Path = DEFAULT) -> tuple[FoundationalECGNet, RhythmNet | None, dict]:
    """Return a network, the rhythm strip that its JSON names, if any, and what the JSON says.

    Raises ConfigError as `load_checkpoint` does, and when the strip is another than the one named.
    """
    model, about = load_checkpoint(path)
    if isinstance(model, RhythmNet):
        raise ConfigError(
            "a rhythm strip alone answers for one class only", file=path,
            remedy=f"give the network that it belongs to, such as {DEFAULT.name}",
        )  # fmt: skip
    if "strip" not in about:
        return model, None, about
    beside = path.with_name(about["strip"]["weights"])
    strip, theirs = load_checkpoint(beside)
    if theirs["weights_sha256"] != about["strip"]["weights_sha256"]:
        raise ConfigError(
            "the rhythm strip is not the one that belongs to the network", file=beside,
            expected=about["strip"]["weights_sha256"], found=theirs["weights_sha256"],
            remedy="restore all four files together",
        )  # fmt: skip
    return model, strip, about


def read_json(path: Path) -> dict:
    """Return the JSON object in `path`; ConfigError when it cannot be had."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the checkpoint cannot be read", file=path, found=error,
            remedy="give the path of the .json that stands beside the .safetensors",
        ) from error  # fmt: skip
    if not isinstance(about, dict):
        raise ConfigError("the checkpoint is not a JSON object", file=path)
    return about


def save_state(path: Path, about: dict, state: dict) -> None:
    """Write where a training stands. about: plain values that tell it from any other training."""
    buffer = io.BytesIO()
    torch.save({"about": about, "state": state}, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, about: dict) -> dict:
    """Return the state in `path`; ConfigError when it is damaged or of another training."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        theirs, state = saved["about"], saved["state"]
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise ConfigError(
            "the state of the training cannot be read", file=path,
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="delete the file; the training then starts anew",
        ) from error  # fmt: skip
    if different := [key for key in about if theirs.get(key) != about[key]]:
        raise ConfigError(
            "the state is that of another training", file=path,
            expected="the same configuration, weights, rows, labels, signals and processes",
            found=f"other {', '.join(different)}",
            remedy="call as before, or name another file",
        ) from None  # fmt: skip
    return state


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 over the shapes and bytes of some arrays, one after the other."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.shape} {array.dtype}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
