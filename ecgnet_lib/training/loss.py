"""Targets, two-stage loss, distillation loss, validation score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.network.ecgnet import combine

NAMES = ("abnormal", *DISEASES)
MIN_TRAIN = 2  # positives, and negatives, below which a label predicts its prevalence
DISTILLATION_WEIGHT = 0.9  # of the distillation loss beside the two-stage loss
MIN_CHOICE = 5  # positives, and negatives, that a class needs to count in the validation AUC


@dataclass(frozen=True)
class Labels:
    """Targets of the two stages: abnormal (N,) and diseases (N, 5), float32 in {0, 1}.

    known (N,) is False where the source states neither normal nor abnormal; such a recording trains
    stage 2 only, and only when it carries a disease.
    """

    abnormal: np.ndarray
    diseases: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> Labels:
        """Take the labels from a table of recordings (columns of `labels.py`)."""
        return cls(
            table["abnormal"].fillna(False).to_numpy(np.float32),
            table[list(DISEASES)].to_numpy(np.float32),
            table["abnormal"].notna().to_numpy(),
        )

    def tensors(self, rows: np.ndarray, device: torch.device) -> Iterator[Tensor]:
        """Yield abnormal, diseases and known of some rows."""
        for values in (self.abnormal, self.diseases, self.known):
            yield torch.from_numpy(values[rows]).to(device)


def two_stage_loss(
    logits: tuple[Tensor, Tensor],
    abnormal: Tensor,
    diseases: Tensor,
    known: Tensor,
    head: str,
    gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy of stage 1 where it is known, plus that of stage 2 among the abnormal.

    abnormal, known: (B,); diseases: (B, 5). The softmax head learns from recordings with exactly
    one disease; the one-stage head from all whose labels are known. gamma: see `focal`.
    """
    stage1, stage2 = logits
    part1 = focal(F.binary_cross_entropy_with_logits(stage1, abnormal, reduction="none"), gamma)
    loss = (part1 * known).sum() / known.sum().clamp(min=1)
    if head == "softmax":
        chosen = diseases.sum(1) == 1
        part2 = focal(F.cross_entropy(stage2, diseases.argmax(1), reduction="none"), gamma)
    else:
        chosen = (abnormal > 0) | (known > 0) if head == "one-stage" else abnormal > 0
        part2 = F.binary_cross_entropy_with_logits(stage2, diseases, reduction="none")
        part2 = focal(part2, gamma).sum(1)
    return loss + (part2 * chosen).sum() / chosen.sum().clamp(min=1)


def distillation_loss(logits: tuple[Tensor, Tensor], soft_labels: Tensor, head: str) -> Tensor:
    """Cross-entropy between the probabilities of the network and soft labels (B, 6).

    Hinton et al. 2015, section 2, at temperature 1, for each label alone: P(abnormal) and the joint
    P(abnormal and disease) of `ecgnet.combine`.
    """
    abnormal, joint = combine(*logits, head)
    p = torch.cat([abnormal.unsqueeze(1), joint], dim=1).clamp(1e-5, 1 - 1e-5)
    return F.binary_cross_entropy(p, soft_labels, reduction="none").sum(1).mean()


def focal(entropy: Tensor, gamma: float) -> Tensor:
    """Down-weight easy labels: (1 - p)^gamma (-log p), Lin et al. 2017 eq. 4, for each label alone.

    entropy: -log p, where p is the probability given to the truth; gamma 0 leaves it as it is.
    Rare classes have many easy negatives; weights by inverse frequency help little, since a weight
    on one class moves those that come with it (Wu et al. 2020, section 1).
    """
    # The lower bound keeps the slope finite where p is 1 and gamma below 1.
    return entropy * (-torch.expm1(-entropy)).clamp(min=1e-8) ** gamma if gamma else entropy


def macro_auc(
    labels: Labels, rows: np.ndarray, abnormal: np.ndarray, diseases: np.ndarray
) -> float:
    """Return the mean AUC over abnormal and the diseases; NaN when no column counts.

    A column counts with MIN_CHOICE positives and as many negatives: else chance would choose.
    """
    known = labels.known[rows]
    columns = [(labels.abnormal[rows][known], abnormal[known])]
    columns += [(labels.diseases[rows, c], diseases[:, c]) for c in range(len(DISEASES))]
    counted = [c for c in columns if MIN_CHOICE <= c[0].sum() <= len(c[0]) - MIN_CHOICE]
    return float(np.mean([roc_auc_score(*c) for c in counted])) if counted else float("nan")


def truth_of(labels: Labels) -> np.ndarray:
    """Return 0, 1 or NaN (unknown) of every recording and label, (N, 6) in order of NAMES.

    Where abnormal is unknown, so are the diseases, unless the recording carries one.
    """
    truth = np.column_stack([labels.abnormal, labels.diseases]).astype(float)
    truth[~labels.known, 0] = np.nan
    truth[~(labels.known | (labels.abnormal > 0)), 1:] = np.nan
    return truth
