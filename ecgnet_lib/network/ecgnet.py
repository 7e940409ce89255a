"""FoundationalECGNet, rebuilt: patches -> CBAM -> graph attention -> transformer -> two stages.

The paper (arXiv 2509.08961) names the blocks and their order; sizes and wiring are ours.

Shapes: B recordings, L leads, T samples, C channels a lead, P tokens, E width of the transformer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network.cbam import CBAM
from ecgnet_lib.network.gat import GAT, GATv2, lead_graph
from ecgnet_lib.network.tst import TST

HEADS = ("sigmoid", "softmax", "one-stage")


@dataclass(frozen=True)
class ModelConfig:
    """Configuration of the network; a block that is switched off gives its ablation."""

    fs_hz: int = 100  # samples a second that the network expects
    patch: int = 20  # samples a token sees: 200 ms
    stride: int = 10  # samples from token to token: 100 ms
    channels: int = 48  # features of a lead at a token
    stem_layers: int = 2  # residual blocks after the patches
    cbam: bool = True
    cbam_reduction: int = 8
    gat: str = "v2"  # "v2", "v1" or "none"
    gat_heads: int = 4
    graph: str = "anatomy"  # "anatomy" or "all"
    graph_tokens: int = 10  # tokens averaged into one graph: 1 s
    tst: bool = True
    width: int = 96  # embedding of the transformer
    tst_heads: int = 4
    tst_layers: int = 2
    d_ff: int = 192
    dropout: float = 0.1
    head: str = "sigmoid"  # "sigmoid", "softmax" or "one-stage", see `combine`
    scale_mv: float = 0.25  # the signal is divided by this (mV)

    def __post_init__(self) -> None:
        for name, choices in {"gat": ("v2", "v1", "none"), "head": HEADS}.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"unknown {name}", expected=choices, found=getattr(self, name))
        if self.patch < self.stride or (self.patch - self.stride) % 2:
            found = f"patch {self.patch}, stride {self.stride}"
            raise ConfigError("patch - stride must be even and not negative", found=found)
        if self.gat != "none" and self.channels % self.gat_heads:
            raise ConfigError(f"{self.gat_heads} gat_heads must divide {self.channels} channels")

    to_dict = asdict  # plain values for JSON


@dataclass(frozen=True)
class OneStageConfig:
    """Configuration of a baseline or of the rhythm branch."""

    fs_hz: int = 100  # samples a second that the network expects
    head: str = "one-stage"  # see `combine`
    # About the standard deviation of PTB-XL, by which Strodthoff et al. divide; batch
    # normalisation makes it immaterial for all but CNN-LSTM.
    scale_mv: float = 0.25

    to_dict = asdict  # plain values for JSON


class Stem(nn.Module):
    """Turn each lead, alone and with shared weights, into tokens: (N, T) -> (N, P, C).

    A patch of samples becomes a vector by one matrix product; residual blocks follow in which each
    token sees its two neighbours. All of it is matrix products at the low token rate, with the
    channels last: on a CPU faster than convolutions of so few channels.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch, self.stride, c = config.patch, config.stride, config.channels
        self.embed = nn.Linear(config.patch, c, bias=False)
        self.norm = nn.BatchNorm1d(c)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(3 * c, c, bias=False), nn.BatchNorm1d(c), nn.GELU(), nn.Linear(c, c)
            )
            for _ in range(config.stem_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T) to (N, P, C) with P = T / stride."""
        side = (self.patch - self.stride) // 2
        first, last = (x[:, end].unsqueeze(1).expand(-1, side) for end in (0, -1))
        x = torch.cat([first, x, last], dim=1)  # faster than F.pad(mode="replicate")
        patches = x.unfold(-1, self.patch, self.stride)  # (N, P, patch)
        n, tokens, _ = patches.shape
        h = self.norm(self.embed(patches).flatten(0, 1)).view(n, tokens, -1)
        for block in self.blocks:
            wide = F.pad(h, (0, 0, 1, 1))  # a token of zeros before and after
            seen = torch.cat([wide[:, :-2], h, wide[:, 2:]], dim=-1)  # (N, P, 3C)
            h = h + block(seen.flatten(0, 1)).view(n, tokens, -1)
        return h


class FoundationalECGNet(nn.Module):
    """The whole network: (B, 12, T) mV in, logits of both stages out.

    Stage 1 is one logit of "abnormal". Stage 2 holds five logits of the diseases *given* abnormal;
    `predict` multiplies the two. Leads may be missing: pass `present` (B, 12).
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        c, leads = config.channels, len(LEADS)
        self.stem = Stem(config)
        self.cbam = CBAM(c, config.cbam_reduction) if config.cbam else None
        self.gat = None
        if config.gat != "none":
            layer = {"v1": GAT, "v2": GATv2}[config.gat]
            self.lead_code = nn.Parameter(0.02 * torch.randn(leads, c))
            graph, heads = lead_graph(LEADS, config.graph), config.gat_heads
            self.gat = layer(c, c // heads, heads, graph)
        width, drop = config.width, config.dropout
        self.embed = nn.Linear(leads * c, width)
        sizes = width, config.tst_heads, config.tst_layers, config.d_ff
        self.tst = TST(*sizes, drop) if config.tst else None
        self.trunk = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(drop))
        self.head_abnormal = nn.Linear(width, 1)
        self.head_diseases = nn.Linear(width, len(DISEASES))

    def forward(
        self, x: Tensor, present: Tensor | None = None, return_maps: bool = False
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return logits (B,) of abnormal and (B, 5) of the diseases given abnormal.

        x: (B, 12, T) mV at `config.fs_hz`, T a multiple of the stride. present: (B, 12) bool, False
        where a lead is missing. With `return_maps` also a dict of attention maps: "channel"
        (B, L, C), "temporal" (B, L, P), "leads" (B, S, H, L, L) for S graphs, "tokens"
        (B, layers, H, P, P). Raises SignalError for a shape that does not fit.
        """
        check_signal(x, self.config.patch, self.config.stride)
        batch, leads, _ = x.shape
        maps: dict[str, Tensor] = {}

        h = self.stem(x.flatten(0, 1) / self.config.scale_mv).transpose(1, 2)  # (B*L, C, P)
        if self.cbam is not None:
            h, channel, temporal = self.cbam(h, return_maps=True)
            maps["channel"] = channel.view(batch, leads, -1)
            maps["temporal"] = temporal.view(batch, leads, -1)
        h = h.transpose(1, 2).unflatten(0, (batch, leads))  # (B, L, P, C)

        if self.gat is not None:
            h = self.attend_leads(h, present, maps if return_maps else None)
        if present is not None:
            h = h * present[..., None, None]

        tokens = self.embed(h.transpose(1, 2).flatten(2))  # (B, P, E)
        if self.tst is not None and return_maps:
            tokens, layer_maps = self.tst(tokens, return_attention=True)
            maps["tokens"] = torch.stack(layer_maps, dim=1)
        elif self.tst is not None:
            tokens = self.tst(tokens)

        pooled = torch.cat([tokens.mean(1), tokens.amax(1)], dim=1)  # (B, 2E)
        z = self.trunk(pooled)
        logits = self.head_abnormal(z).squeeze(-1), self.head_diseases(z)
        return (*logits, maps) if return_maps else logits

    def attend_leads(
        self, h: Tensor, present: Tensor | None, maps: dict[str, Tensor] | None
    ) -> Tensor:
        """Attend over the leads of each graph, the mean of `graph_tokens` tokens: (B, L, P, C).

        The message of a graph is added to each of its tokens; `maps`, if any, receives "leads".
        """
        size, tokens = self.config.graph_tokens, h.shape[2]
        short = -tokens % size  # tokens that the last graph lacks
        if short:
            h = F.pad(h, (0, 0, 0, short))
        h = h.unflatten(2, (-1, size))  # (B, L, S, size, C)
        nodes = h.mean(3)
        if short:
            last = nodes[:, :, -1:] * (size / (size - short))
            nodes = torch.cat([nodes[:, :, :-1], last], dim=2)
        nodes = nodes.transpose(1, 2) + self.lead_code  # (B, S, L, C)
        if present is not None:
            present = present.unsqueeze(1)
        if maps is None:
            out = self.gat(nodes, present)
        else:
            out, maps["leads"] = self.gat(nodes, present, return_attention=True)
        message = F.elu(out).transpose(1, 2).unsqueeze(3)  # (B, L, S, 1, C)
        return (h + message).flatten(2, 3)[:, :, :tokens]


def check_signal(x: Tensor, shortest: int = 1, stride: int = 1) -> None:
    """Raise SignalError unless x is (B, 12, T), T a multiple of stride and at least `shortest`."""
    fits = x.dim() == 3 and x.shape[1] == len(LEADS)
    if not fits or x.shape[2] % stride or x.shape[2] < shortest:
        expected = f"(B, {len(LEADS)}, T) with T a multiple of {stride}, at least {shortest}"
        what = "the signal does not fit the network"
        raise SignalError(what, expected=expected, found=tuple(x.shape))


def combine(abnormal: Tensor, diseases: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Turn the logits (B,) and (B, 5) of both stages into P(abnormal) and joint P(disease).

    "sigmoid": any of the five, given abnormal. "softmax": one of the five, given abnormal, as the
    paper's wording suggests. "one-stage": six independent labels.
    """
    p = torch.sigmoid(abnormal)
    given = diseases.softmax(-1) if head == "softmax" else torch.sigmoid(diseases)
    return p, given if head == "one-stage" else p.unsqueeze(-1) * given


@torch.inference_mode()
def predict(model: nn.Module, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return P(abnormal) (B,) and the joint P(abnormal and disease) (B, 5).

    model: ours or a baseline, called with x (B, 12, T) mV and present (B, 12). Raises SignalError
    when x holds NaN or infinity.
    """
    if not torch.isfinite(x).all():
        raise SignalError("the signal holds NaN or infinity", remedy="repair or drop the lead")
    return combine(*model(x, present), model.config.head)


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers the module learns."""
    return sum(p.numel() for p in module.parameters())
