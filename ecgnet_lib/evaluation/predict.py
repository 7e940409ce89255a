"""Recordings in, probabilities out: `python -m ecgnet_lib predict`.

Not a medical device: the numbers are those of a research network trained on a few thousand ECGs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import find, in_standard_order, read, resample
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.errors import EcgnetError, RecordingError
from ecgnet_lib.evaluation.risk import apply_platt, triage_level
from ecgnet_lib.network.checkpoint import DEFAULT, load_networks
from ecgnet_lib.network.rhythm import RhythmNet, predict_with_rhythm


def predict_files(paths: Iterable[str | Path], checkpoint: Path = DEFAULT) -> list[dict]:
    """Classify every recording in the files and folders, in order.

    Each answer is {"file", ...} as in `assess`, or {"file", "refused": why}. Recordings need the 12
    leads, 100 to 1000 Hz and at least 2.5 s; a flat lead counts as missing. Raises ConfigError when
    the checkpoint cannot be used; a bad recording never raises.
    """
    model, rhythm, about = load_networks(checkpoint)
    answers = []
    for path in paths:
        try:
            headers = find(path)
        except EcgnetError as error:
            answers.append({"file": str(path), "refused": str(error)})
            continue
        for header in headers:
            try:
                answers.append({"file": str(header), **answer(header, model, rhythm, about)})
            except EcgnetError as error:
                answers.append({"file": str(header), "refused": str(error)})
    return answers


def answer(header: Path, model: nn.Module, rhythm: RhythmNet | None, about: dict) -> dict:
    """Read, denoise and classify one recording; raises EcgnetError for one that cannot be."""
    recording = read(header)
    if not 100 <= recording.fs_hz <= 1000:
        what, found = "the sampling rate is out of range", f"{recording.fs_hz:g} Hz"
        raise RecordingError(what, file=header, expected="100 to 1000 Hz", found=found)
    signal = in_standard_order(recording)
    present = np.ptp(signal, axis=1) > 0
    if not present.any():
        raise RecordingError("every lead is flat", file=header, remedy="check the recording")
    x = resample(signal, recording.fs_hz, about["config"]["fs_hz"])
    x = denoise(x, about["config"]["fs_hz"], about["denoise"])
    return assess(x, model, rhythm, about, present)


def assess(
    x: np.ndarray,
    model: nn.Module,
    rhythm: RhythmNet | None,
    about: dict,
    present: np.ndarray | None = None,
) -> dict:
    """Return {"abnormal", "classes": {"ARR", ...}, "triage"} of one recording.

    x: (12, T) mV at the network's rate, denoised as about["denoise"] says. model, rhythm, about:
    see `load_networks`. present: (12,), False where a lead is missing. The probabilities of the
    classes are joint with abnormal and never above it; see `risk.calibrate` for about["platt"] and
    about["triage_cuts"].
    """
    present = None if present is None else present[None]
    p, joint = predict_with_rhythm(model, rhythm, x[None], present)
    scores = pd.DataFrame(np.column_stack([p, joint]), columns=["abnormal", *DISEASES])
    classes = apply_platt(scores, about.get("platt", {})).iloc[0].to_dict()
    abnormal = classes.pop("abnormal")
    triage = triage_level(abnormal, about["triage_cuts"])
    return {"abnormal": abnormal, "classes": classes, "triage": triage}
