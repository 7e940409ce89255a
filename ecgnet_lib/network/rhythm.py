"""Rhythm branch: a small network for arrhythmia in ten seconds of lead II.

A printed ECG shows 2.5 s of every lead, and below them lead II over ten seconds: rhythm can only be
read from the latter, since 2.5 s hold two to four beats. The paper names no such part.

Shapes: B recordings, C channels, T samples, P steps of 80 ms (T / 8).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.network.ecgnet import OneStageConfig, check_signal
from ecgnet_lib.network.inference import Signals, batch_getter, predict_crops

LEAD, ARR = LEADS.index("II"), 1 + DISEASES.index("ARR")  # ARR: its place among the six logits
RHYTHM_S = 10.0
CHANNELS = 48
REACH = (1, 2, 4, 8, 16)  # dilation of each block: steps from the middle of a kernel to its ends


class Dilated(nn.Module):
    """A residual block; its kernel of three sees `reach` steps before and after: (B, C, P)."""

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.look = nn.Conv1d(channels, channels, 3, padding=reach, dilation=reach, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Keep the shape (B, C, P)."""
        return h + self.mix(nn.functional.gelu(self.norm(self.look(h))))


class RhythmNet(nn.Module):
    """The rhythm branch: (B, 12, T) mV in, logits (B,) and (B, 5) out, from lead II alone.

    Only the logit of ARR depends on the signal; the others are learned constants. Three
    convolutions of stride 2 give one step every 80 ms. Blocks of doubling dilation (van den Oord et
    al. 2016, arXiv 1609.03499, section 2.1; here in both directions and without gates) then see 63
    steps at once, 5 s. Mean and maximum of each channel over time give the logit.
    """

    def __init__(self, config: OneStageConfig | None = None) -> None:
        super().__init__()
        self.config = config or OneStageConfig()
        sizes = ((1, CHANNELS // 2, 9), (CHANNELS // 2, CHANNELS, 7), (CHANNELS, CHANNELS, 5))
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in sizes:
            layers.append(nn.Conv1d(inputs, outputs, kernel, 2, kernel // 2, bias=False))
            layers += [nn.BatchNorm1d(outputs), nn.GELU()]
        self.narrow = nn.Sequential(*layers)  # T samples to T / 8 steps
        self.blocks = nn.Sequential(*(Dilated(CHANNELS, reach) for reach in REACH))
        self.head = nn.Linear(2 * CHANNELS, 1)
        self.usual = nn.Parameter(torch.zeros(1 + len(DISEASES)))  # the constant logits

    def forward(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits, lead II flat where `present` (B, 12) lacks it, or SignalError."""
        check_signal(x)
        lead = x[:, LEAD : LEAD + 1] / self.config.scale_mv  # (B, 1, T)
        if present is not None:
            lead = lead * present[:, LEAD, None, None]
        h = self.blocks(self.narrow(lead))  # (B, C, P)
        arrhythmia = self.head(torch.cat([h.mean(2), h.amax(2)], dim=1))  # (B, 1)
        logits = F.pad(arrhythmia, (ARR, len(DISEASES) - ARR)) + self.usual
        return logits[:, 0], logits[:, 1:]


def predict_with_rhythm(
    model: nn.Module,
    rhythm: RhythmNet | None,
    signals: Signals,
    present: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict as `predict_crops` does; P(ARR) is the mean of the crops' and the rhythm branch's.

    So P(ARR) may exceed P(abnormal). Without a rhythm branch, and for a recording without lead II,
    the crops' P(ARR) stays. The rhythm branch sees a recording of less than ten seconds whole.
    """
    abnormal, diseases = predict_crops(model, signals, present=present, rows=rows)
    if rhythm is not None:
        total = batch_getter(signals)(np.arange(1) if rows is None else rows[:1]).shape[-1]
        seconds = min(RHYTHM_S, total / rhythm.config.fs_hz)
        of_rhythm = predict_crops(rhythm, signals, seconds, present, rows=rows)[1][:, ARR - 1]
        of_crops = diseases[:, ARR - 1]
        has_lead = True if present is None else present[:, LEAD]
        diseases[:, ARR - 1] = np.where(has_lead, (of_crops + of_rhythm) / 2, of_crops)
    return abnormal, diseases
