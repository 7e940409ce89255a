"""The rhythm strip: lead II over ten seconds, read for arrhythmia by a small network of its own.

Paper ECGs are printed so: 2.5 s of every lead, and below them lead II over the whole ten seconds.
Form is read from the leads, rhythm from the strip: a beat that comes early is early among its
neighbours only, and a crop of 2.5 s holds two to four beats. The paper names no such part.

Shapes: B recordings, C channels, T samples, P steps of the strip (T / 8).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError
from ecgnet_lib.network.inference import Signals, predict_crops, reader

LEAD, ARR = LEADS.index("II"), 1 + DISEASES.index("ARR")  # ARR: its place among the six logits
STRIP_S = 10.0
CHANNELS = 48
REACH = (1, 2, 4, 8, 16)  # steps from the middle of a kernel to its ends, block by block


@dataclass(frozen=True)
class RhythmConfig:
    """What training and prediction must know of the network."""

    fs_hz: int = 100  # samples a second that the network expects
    head: str = "one-stage"  # see `model.combine`
    scale_mv: float = 0.25  # amplitude that the network sees as one

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return asdict(self)


class Dilated(nn.Module):
    """A residual block whose kernel of three looks `reach` steps back and ahead: (B, C, P)."""

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.look = nn.Conv1d(channels, channels, 3, padding=reach, dilation=reach, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Keep the shape (B, C, P)."""
        return h + self.mix(nn.functional.gelu(self.norm(self.look(h))))


class RhythmNet(nn.Module):
    """Look for arrhythmia in lead II: (B, 12, T) mV in, logits (B,) and (B, 5) out.

    It knows one class. Its other logits, of abnormal and of four diseases, are the same for all.

    Three convolutions bring the lead to one step every 80 ms. Blocks whose reach doubles (van den
    Oord et al. 2016, arXiv 1609.03499, section 2.1; here in both directions and without gates) then
    see 63 steps at once, 5 s: the beat before last and the one after next. What counts is the mean
    of each channel over the strip, and its largest value.
    """

    def __init__(self, config: RhythmConfig | None = None) -> None:
        super().__init__()
        self.config = config or RhythmConfig()
        sizes = ((1, CHANNELS // 2, 9), (CHANNELS // 2, CHANNELS, 7), (CHANNELS, CHANNELS, 5))
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in sizes:
            layers.append(nn.Conv1d(inputs, outputs, kernel, 2, kernel // 2, bias=False))
            layers += [nn.BatchNorm1d(outputs), nn.GELU()]
        self.narrow = nn.Sequential(*layers)
        self.blocks = nn.Sequential(*(Dilated(CHANNELS, reach) for reach in REACH))
        self.head = nn.Linear(2 * CHANNELS, 1)
        self.usual = nn.Parameter(torch.zeros(1 + len(DISEASES)))

    def forward(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits; a missing lead II (present, (B, 12) bool) is a flat line.

        Raises SignalError for a shape that does not fit.
        """
        if x.dim() != 3 or x.shape[1] != len(LEADS):
            raise SignalError(
                "the signal does not fit the network",
                expected=f"(B, {len(LEADS)}, T)",
                found=tuple(x.shape),
            )
        strip = x[:, LEAD : LEAD + 1] / self.config.scale_mv
        if present is not None:
            strip = strip * present[:, LEAD, None, None]
        h = self.blocks(self.narrow(strip))
        found = self.head(torch.cat([h.mean(2), h.amax(2)], dim=1))  # (B, 1)
        logits = F.pad(found, (ARR, len(DISEASES) - ARR)) + self.usual
        return logits[:, 0], logits[:, 1:]


def predict_with_strip(
    model: nn.Module,
    strip: RhythmNet | None,
    signals: Signals,
    present: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict as `predict_crops` does; P(ARR) is the mean of what crops and strip say.

    So P(ARR), unlike the other diseases, may exceed P(abnormal), which hears nothing of the strip.
    strip: None leaves it at the crops, and so does a recording without lead II. One of less than
    ten seconds is a strip as it is.
    """
    abnormal, diseases = predict_crops(model, signals, present=present, rows=rows)
    if strip is not None:
        total = reader(signals)(np.arange(1) if rows is None else rows[:1]).shape[-1]
        seconds = min(STRIP_S, total / strip.config.fs_hz)
        _, heard = predict_crops(strip, signals, seconds, present, rows=rows)
        both = (diseases[:, ARR - 1] + heard[:, ARR - 1]) / 2
        there = True if present is None else present[:, LEAD]
        diseases[:, ARR - 1] = np.where(there, both, diseases[:, ARR - 1])
    return abnormal, diseases
