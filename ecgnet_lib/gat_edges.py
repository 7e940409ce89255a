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


def pairs(left: Tensor, right: Tensor, target: Tensor) -> Tensor:
    """LeakyReLU(left of the target + right of the source): (L, F, k), (E, F, k) to (E, F, k)."""
    return F.leaky_relu_(left.index_select(0, target).add_(right), SLOPE)


class EdgeAttention(torch.autograd.Function):
    """Mix the sources of each target by softmax(sum_p att * LeakyReLU(left_i + right_j)).

    left, right: (N, L, H*P); att: (H, P); values: (N, L, H*D), or None where they are `right`;
    graph: (L, L) bool, row i lists the sources of target i; present: (N, L) bool or None. Returns
    (N, L, H*D).
    """

    @staticmethod
    def forward(ctx, left, right, att, values, graph, present):
        """Return the mixture; a target that may listen to nobody gets zeros."""
        (target, source), heads, alphas = graph.nonzero().T, len(att), []
        mixed = torch.empty_like(right if values is None else values)
        nodes = mixed.shape[1]
        for start in range(0, len(mixed), AT_A_TIME):
            now = slice(start, start + AT_A_TIME)
            heard = graphs_last(right[now]).index_select(0, source)
            z = pairs(graphs_last(left[now]), heard, target)
            logits = (z.unflatten(1, (heads, -1)) * att[..., None]).sum(2)  # (E, H, k)
            if present is not None:
                silent = ~present[now].T.index_select(0, source).unsqueeze(1)
                logits.masked_fill_(silent, torch.finfo(logits.dtype).min)
            table = logits.new_full((nodes, nodes, *logits.shape[1:]), torch.finfo(z.dtype).min)
            table[target, source] = logits
            alpha = table.softmax(1)[target, source]
            if present is not None:
                alpha.masked_fill_(silent, 0)
            if values is not None:
                heard = graphs_last(values[now]).index_select(0, source)
            heard.unflatten(1, (heads, -1)).mul_(alpha.unsqueeze(2))
            out = heard.new_zeros(nodes, *heard.shape[1:]).index_add_(0, target, heard)
            put(out, mixed[now])
            alphas.append(alpha)
        ctx.save_for_backward(left, right, att, values, target, source, *alphas)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """Return the gradients of left, right, att and values."""
        left, right, att, values, target, source, *alphas = ctx.saved_tensors
        heads, nodes, edges = len(att), left.shape[1], len(target)
        d_left, d_right, d_att = torch.empty_like(left), torch.empty_like(right), 0
        d_values = None if values is None else torch.empty_like(values)

        def gather(per_edge: Tensor, node: Tensor, into: Tensor) -> None:
            put(per_edge.new_zeros(nodes, *per_edge.shape[1:]).index_add_(0, node, per_edge), into)

        for number, alpha in enumerate(alphas):
            now = slice(number * AT_A_TIME, (number + 1) * AT_A_TIME)
            k = alpha.shape[-1]
            heard = graphs_last(right[now]).index_select(0, source)
            z = pairs(graphs_last(left[now]), heard, target)
            arrived = graphs_last(gradient[now]).index_select(0, target)  # (E, H*D, k)
            if values is not None:
                heard = graphs_last(values[now]).index_select(0, source)
            d_alpha = heard.mul_(arrived).unflatten(1, (heads, -1)).sum(2).mul_(alpha)
            mean = d_alpha.new_zeros(nodes, heads, k).index_add_(0, target, d_alpha)
            d_logits = d_alpha.sub_(mean.index_select(0, target).mul_(alpha))  # (E, H, k)
            z_heads = z.view(edges * heads, -1, k)
            d_att = d_att + (z_heads @ d_logits.view(-1, k, 1)).view(edges, *att.shape).sum(0)
            d_z = (d_logits.unsqueeze(2) * att[..., None]).view_as(z)
            d_z = torch.ops.aten.leaky_relu_backward(d_z, z, SLOPE, True)
            arrived.unflatten(1, (heads, -1)).mul_(alpha.unsqueeze(2))
            gather(d_z, target, d_left[now])
            if values is None:
                gather(d_z.add_(arrived), source, d_right[now])
            else:
                gather(d_z, source, d_right[now])
                gather(arrived, source, d_values[now])
        return d_left, d_right, d_att, d_values, None, None
