"""The attention of `gat.py` along the edges only, some graphs at a time, gradient written out.

The numbers are those of the dense form. Two things make it several times as fast on a CPU: most
pairs of leads have no edge, and what one handful of graphs needs stays in the processor's cache, in
both directions, for the backward pass computes it again instead of fetching it from memory. Inside,
graphs stand last, so that every operation runs along contiguous numbers.

Shapes: N graphs, L nodes, H heads, E edges; P features a head that the logits look at, D features a
head that are mixed; k graphs at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_A_TIME, SLOPE = 128, 0.2


def graphs_last(x: Tensor) -> Tensor:
    """Copy (k, L, F) to (L, F, k)."""
    return x.reshape(len(x), -1).t().contiguous().view(*x.shape[1:], len(x))


def put(x: Tensor, into: Tensor) -> None:
    """Copy (L, F, k) to (k, L, F), in place."""
    into.view(len(into), -1).copy_(x.view(-1, len(into)).t())


def ends(target: Tensor, source: Tensor, nodes: int, like: Tensor) -> Tensor:
    """Return which edge ends where, as 0 and 1: targets (L, E) and sources (L, E), (2, L, E).

    Sums over the edges of a node, and sums of an edge's two ends, are then matrix products: on a
    CPU faster than gathering and scattering.
    """
    one = torch.eye(nodes, dtype=like.dtype, device=like.device)
    return torch.stack([one[:, target], one[:, source]])


def add_up(edges: Tensor, end: Tensor) -> Tensor:
    """Sum (E, F, k) over the edges of each node: (L, F, k)."""
    return (end @ edges.flatten(1)).view(-1, *edges.shape[1:])


def pairs(here: Tensor, looked: int, both: Tensor) -> Tensor:
    """LeakyReLU(left of the target + right of the source): (L, X, k) to (E, H*P, k)."""
    sides = here[:, : 2 * looked].reshape(2 * len(here), -1)  # left, right of node 0, of node 1 ...
    z = both.permute(2, 1, 0).flatten(1) @ sides
    return F.leaky_relu_(z, SLOPE).view(both.shape[2], looked, -1)


class EdgeAttention(torch.autograd.Function):
    """Mix the sources of each target by softmax(sum_p att * LeakyReLU(left_i + right_j)).

    terms: (N, L, X), what one matrix product makes of the nodes: left (H*P), right (H*P) and values
    (H*D) side by side; without values, right is mixed. att: (H, P); graph: (L, L) bool, row i lists
    the sources of target i; present: (N, L) bool or None. Returns (N, L, H*D).
    """

    @staticmethod
    def forward(ctx, terms, att, graph, present):
        """Return the mixture; a target that may listen to nobody gets zeros."""
        (target, source), heads, alphas = graph.nonzero().T, len(att), []
        looked = att.numel()
        mixes = slice(2 * looked, None) if terms.shape[2] > 2 * looked else slice(looked, None)
        weigh = torch.block_diag(*att)  # (H, H*P)
        nodes = terms.shape[1]
        both = ends(target, source, nodes, terms)
        mixed = terms.new_empty(*terms.shape[:2], terms.shape[2] - mixes.start)
        for start in range(0, len(mixed), AT_A_TIME):
            now = slice(start, start + AT_A_TIME)
            here = graphs_last(terms[now])
            logits = weigh @ pairs(here, looked, both)  # (E, H, k)
            if present is not None:
                silent = ~present[now].T.index_select(0, source).unsqueeze(1)
                logits.masked_fill_(silent, torch.finfo(logits.dtype).min)
            table = logits.new_full(
                (nodes, nodes, *logits.shape[1:]), torch.finfo(logits.dtype).min
            )
            table[target, source] = logits
            alpha = table.softmax(1)[target, source]
            if present is not None:
                alpha.masked_fill_(silent, 0)
            heard = here[:, mixes].index_select(0, source)
            heard.unflatten(1, (heads, -1)).mul_(alpha.unsqueeze(2))
            put(add_up(heard, both[0]), mixed[now])
            alphas.append(alpha)
        ctx.save_for_backward(terms, att, target, source, *alphas)
        ctx.mixes = mixes
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """Return the gradients of terms and att."""
        terms, att, target, source, *alphas = ctx.saved_tensors
        heads, looked, mixes = len(att), att.numel(), ctx.mixes
        weigh = torch.block_diag(*att)
        ones = torch.block_diag(*att.new_ones(heads, gradient.shape[2] // heads))
        both = ends(target, source, terms.shape[1], terms)
        d_terms, d_weigh = torch.empty_like(terms), torch.zeros_like(weigh)
        for number, alpha in enumerate(alphas):
            now = slice(number * AT_A_TIME, (number + 1) * AT_A_TIME)
            here = graphs_last(terms[now])
            z = pairs(here, looked, both)
            arrived = graphs_last(gradient[now]).index_select(0, target)  # (E, H*D, k)
            heard = here[:, mixes].index_select(0, source)
            d_alpha = (ones @ heard.mul_(arrived)).mul_(alpha)
            mean = add_up(d_alpha, both[0]).index_select(0, target)
            d_logits = d_alpha.sub_(mean.mul_(alpha))  # (E, H, k)
            d_weigh += (d_logits @ z.transpose(1, 2)).sum(0)
            d_z = torch.ops.aten.leaky_relu_backward(weigh.T @ d_logits, z, SLOPE, True)
            arrived.unflatten(1, (heads, -1)).mul_(alpha.unsqueeze(2))
            d_here = torch.empty_like(here)
            d_here[:, :looked] = add_up(d_z, both[0])
            if mixes.start == looked:
                d_here[:, looked:] = add_up(d_z.add_(arrived), both[1])
            else:
                d_here[:, looked : 2 * looked] = add_up(d_z, both[1])
                d_here[:, mixes] = add_up(arrived, both[1])
            put(d_here, d_terms[now])
        of_its_head = torch.block_diag(*torch.ones_like(att)).bool()
        return d_terms, d_weigh[of_its_head].view_as(att), None, None
