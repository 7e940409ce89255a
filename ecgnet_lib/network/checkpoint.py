"""A trained network on disk: weights as safetensors, everything else as JSON beside them.

No pickle: opening a checkpoint runs no code. The JSON holds configuration, classes, leads, sampling
rate, denoising, decision thresholds, the origin of the weights and their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from ecgnet_lib import __version__
from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError, EcgnetError
from ecgnet_lib.files import write_atomic, write_json
from ecgnet_lib.network.ecgnet import FoundationalECGNet, ModelConfig, OneStageConfig
from ecgnet_lib.network.rhythm import RhythmNet
from ecgnet_lib.paths import WEIGHTS

DEFAULT = WEIGHTS / "default.json"
VIRTUAL = DEFAULT.with_name("virtual.json")  # trained on virtual patients only
RHYTHM = DEFAULT.with_name("rhythm.json")  # the rhythm branch of the default network
VIRTUAL_RHYTHM = DEFAULT.with_name("virtual_rhythm.json")
REMEDY = "restore the files of the checkpoint together, or train anew with this version"


def save_checkpoint(model: FoundationalECGNet | RhythmNet, path: Path, about: dict) -> None:
    """Write `path` (.json) and the weights beside it (.safetensors).

    about: plain values; `train_config`, `thresholds`, `data` and what else explains the weights.
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
    """Return the network in eval mode and the content of the JSON.

    Raises ConfigError when a file is missing, damaged, altered, or made for other classes, leads,
    or a configuration that this version of the code does not know.
    """
    file = path
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        file = path.with_suffix(".safetensors")
        weights = file.read_bytes()
    except (OSError, ValueError) as error:
        remedy = "give the .json of a checkpoint; its .safetensors must stand beside it"
        raise ConfigError("cannot be read", file=file, found=error, remedy=remedy) from error
    ours = {"format": 1, "diseases": list(DISEASES), "leads": list(LEADS)}
    ours["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    for key, expected in ours.items():
        check(path, key, expected, about.get(key) if isinstance(about, dict) else about)
    try:
        if about.get("network") == RhythmNet.__name__:
            model = RhythmNet(OneStageConfig(**about["config"]))
        else:
            model = FoundationalECGNet(ModelConfig(**about["config"]))
        model.load_state_dict(load(weights))
    except (EcgnetError, RuntimeError, SafetensorError, TypeError, KeyError) as error:
        what = "the weights do not fit their configuration"
        raise ConfigError(what, file=path, found=error, remedy=REMEDY) from error
    return model.eval(), about


def load_networks(path: Path = DEFAULT) -> tuple[FoundationalECGNet, RhythmNet | None, dict]:
    """Return a network, the rhythm branch that its JSON names, if any, and the content of the JSON.

    Raises ConfigError as `load_checkpoint` does, and when the rhythm branch is not the one named.
    """
    model, about = load_checkpoint(path)
    if isinstance(model, RhythmNet):
        what = "a rhythm branch alone predicts one class only"
        raise ConfigError(what, file=path, remedy=f"give its network, such as {DEFAULT.name}")
    if "rhythm_branch" not in about:
        return model, None, about
    named = about["rhythm_branch"]
    beside = path.with_name(named["weights"])
    rhythm, theirs = load_checkpoint(beside)
    check(beside, "weights_sha256", named["weights_sha256"], theirs["weights_sha256"])
    return model, rhythm, about


def check(path: Path, key: str, expected: object, found: object) -> None:
    """Raise ConfigError when a value of the JSON is not the expected one."""
    if found != expected:
        what = f"the checkpoint has another {key}"
        raise ConfigError(what, file=path, expected=expected, found=found, remedy=REMEDY)
