"""Graph attention over the leads of an ECG, dense, for one small fixed graph.

GAT (Velickovic et al., ICLR 2018) and GATv2 (Brody, Alon and Yahav, ICLR 2022): the same numbers as
`torch_geometric.nn.GATConv` and `GATv2Conv`. Every pair of nodes has a place in a dense matrix; for
many graphs, and without the attention, `gat_edges.py` computes the same several times as fast.

Shapes: ... any batch, L nodes (leads), H heads, F features in, D features a head.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network.gat_edges import SLOPE, EdgeAttention

CABRERA = ("aVL", "I", "aVR", "II", "aVF", "III")  # limb leads by angle in the frontal plane
CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")  # from the right sternal border to the left side
LATERAL = ("I", "aVL", "V5", "V6")
INFERIOR = ("II", "III", "aVF")
FEW = 32  # graphs for which the dense form is the faster one


def lead_graph(leads: tuple[str, ...], kind: str = "anatomy") -> Tensor:
    """Return which lead attends to which: (L, L) bool, symmetric, with self loops.

    "anatomy" joins neighbours on the limb ring (Cabrera order), neighbours on the chest, and the
    leads that face the same wall of the heart (lateral, inferior); "all" joins every pair.
    """
    if kind == "all":
        return torch.ones(len(leads), len(leads), dtype=torch.bool)
    if kind != "anatomy":
        raise ConfigError("unknown lead graph", expected="'anatomy' or 'all'", found=repr(kind))
    pairs = {(a, b) for group in (LATERAL, INFERIOR) for a in group for b in group}
    pairs |= set(zip(CABRERA, CABRERA[1:] + CABRERA[:1], strict=True))
    pairs |= set(pairwise(CHEST))
    joined = [[a == b or (a, b) in pairs or (b, a) in pairs for b in leads] for a in leads]
    return torch.tensor(joined)


def attend(logits: Tensor, values: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax the logits (..., H, L, L) over the allowed sources; mix the values (..., H, L, D).

    Row i of the attention holds the weights of the sources of node i, zeros where it has none.
    """
    alpha = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min).softmax(-1)
    alpha = alpha.masked_fill(~allowed, 0.0)
    return alpha @ values, alpha


class GraphAttention(nn.Module):
    """What GAT and GATv2 share: the graph, the heads, the bias, and the mixing."""

    def __init__(self, in_features: int, out_features: int, heads: int, graph: Tensor) -> None:
        super().__init__()
        self.in_features, self.heads, self.out_features = in_features, heads, out_features
        self.bias = nn.Parameter(torch.zeros(heads * out_features))
        self.register_buffer("graph", graph.bool(), persistent=False)

    def split_heads(self, h: Tensor) -> Tensor:
        """Map (..., L, H*D) to (..., H, L, D)."""
        return h.unflatten(-1, (self.heads, self.out_features)).transpose(-3, -2)

    def forward(
        self, h: Tensor, present: Tensor | None = None, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Map node features (..., L, F) to (..., L, H*D).

        present: bool, broadcastable to (..., L); a lead that is False sends nothing.
        With `return_attention` also the attention (..., H, L, L). SignalError for another L or F.
        """
        if h.dim() < 2 or h.shape[-1] != self.in_features or h.shape[-2] != len(self.graph):
            expected = f"(..., {len(self.graph)}, {self.in_features})"
            raise SignalError("wrong node features", expected=expected, found=tuple(h.shape))
        few = h.shape[:-2].numel() <= FEW
        if not (return_attention or few or h.is_cuda or torch.compiler.is_compiling()):
            return self.along_edges(h, present)
        allowed = self.graph
        if present is not None:
            allowed = allowed & present.unsqueeze(-2).unsqueeze(-3)  # (..., 1, L, L)
        logits, values = self.logits_values(h)
        out, alpha = attend(logits, values, allowed)
        out = out.transpose(-3, -2).flatten(-2) + self.bias
        return (out, alpha) if return_attention else out

    def along_edges(self, h: Tensor, present: Tensor | None) -> Tensor:
        """Return what `forward` does without the attention, computed by `gat_edges.py`."""
        nodes = h.reshape(-1, *h.shape[-2:])
        if present is not None and present.all():
            present = None
        if present is not None:
            present = present.expand(h.shape[:-1]).reshape(len(nodes), -1)
        weight, bias, att = self.edge_weights()
        mixed = EdgeAttention.apply(F.linear(nodes, weight, bias), att, self.graph, present)
        return mixed.add_(self.bias).view(*h.shape[:-1], -1)


class GAT(GraphAttention):
    """e_ij = LeakyReLU(a_target . W h_i + a_source . W h_j), Velickovic et al. eq. 3.

    The ranking of the sources is the same for every target ("static" attention), since the target
    only adds a constant before the LeakyReLU.
    """

    def __init__(self, in_features: int, out_features: int, heads: int, graph: Tensor) -> None:
        super().__init__(in_features, out_features, heads, graph)
        self.lin = nn.Linear(in_features, heads * out_features, bias=False)
        self.att_source = nn.Parameter(torch.empty(heads, 1, out_features))
        self.att_target = nn.Parameter(torch.empty(heads, 1, out_features))
        for weight in (self.lin.weight, self.att_source, self.att_target):
            nn.init.xavier_uniform_(weight)

    def logits_values(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (..., H, L, L) and messages (..., H, L, D)."""
        values = self.split_heads(self.lin(h))
        source = (values * self.att_source).sum(-1)  # (..., H, L)
        target = (values * self.att_target).sum(-1)
        return F.leaky_relu(target.unsqueeze(-1) + source.unsqueeze(-2), SLOPE), values

    def edge_weights(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the matrix and bias of left, right and values for EdgeAttention, and its att."""
        split = self.lin.weight.unflatten(0, (self.heads, -1))  # (H, D, F)
        left, right = (att @ split for att in (self.att_target, self.att_source))
        weight = torch.cat([left.squeeze(1), right.squeeze(1), self.lin.weight])
        return weight, None, weight.new_ones(self.heads, 1)


class GATv2(GraphAttention):
    """e_ij = a . LeakyReLU(W_target h_i + W_source h_j), Brody et al. eq. 7: "dynamic" attention.

    The nonlinearity stands before the dot product, so each target can prefer its own sources.
    """

    def __init__(self, in_features: int, out_features: int, heads: int, graph: Tensor) -> None:
        super().__init__(in_features, out_features, heads, graph)
        self.lin_source = nn.Linear(in_features, heads * out_features)
        self.lin_target = nn.Linear(in_features, heads * out_features)
        self.att = nn.Parameter(torch.empty(heads, 1, 1, out_features))
        for weight in (self.lin_source.weight, self.lin_target.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.xavier_uniform_(self.att)

    def logits_values(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (..., H, L, L) and messages (..., H, L, D)."""
        values = self.split_heads(self.lin_source(h))
        target = self.split_heads(self.lin_target(h))
        pair = F.leaky_relu(target.unsqueeze(-2) + values.unsqueeze(-3), SLOPE)  # (..., H, L, L, D)
        return (pair * self.att).sum(-1), values

    def edge_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the matrix and bias of left and right for EdgeAttention, and its att."""
        both = self.lin_target, self.lin_source
        weight, bias = (torch.cat([getattr(lin, n) for lin in both]) for n in ("weight", "bias"))
        return weight, bias, self.att[:, 0, 0]
