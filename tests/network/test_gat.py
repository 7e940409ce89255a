"""Dense graph attention against torch-geometric's layers with copied weights."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import GATConv, GATv2Conv

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network import gat
from ecgnet_lib.network.gat import GAT, GATv2, lead_graph

IN, OUT, HEADS = 10, 5, 3


def random_graph(nodes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(nodes, nodes, generator=generator) < 0.4) | torch.eye(nodes).bool()


@pytest.fixture(autouse=True)
def along_edges(monkeypatch) -> None:
    """Let few graphs go the way of many; the dense form is what that is compared with."""
    monkeypatch.setattr(gat, "FEW", 0)


def pair_v1(graph: torch.Tensor) -> tuple[GAT, GATConv, list]:
    """Return our layer, the peer, and their weights in pairs."""
    ours, peer = GAT(IN, OUT, HEADS, graph), GATConv(IN, OUT, HEADS, add_self_loops=False)
    weights = [(ours.lin.weight, peer.lin.weight), (ours.bias, peer.bias)]
    weights += [(ours.att_source[:, 0], peer.att_src[0]), (ours.att_target[:, 0], peer.att_dst[0])]
    return ours, peer, weights


def pair_v2(graph: torch.Tensor) -> tuple[GATv2, GATv2Conv, list]:
    ours, peer = GATv2(IN, OUT, HEADS, graph), GATv2Conv(IN, OUT, HEADS, add_self_loops=False)
    weights = [(ours.lin_source.weight, peer.lin_l.weight), (ours.bias, peer.bias)]
    weights += [(ours.lin_source.bias, peer.lin_l.bias), (ours.att[:, 0, 0], peer.att[0])]
    weights += [
        (ours.lin_target.weight, peer.lin_r.weight),
        (ours.lin_target.bias, peer.lin_r.bias),
    ]
    return ours, peer, weights


@pytest.mark.parametrize("pair", [pair_v1, pair_v2])
@pytest.mark.parametrize("kind", ["anatomy", "all", 1, 2])
def test_equals_torch_geometric(pair, kind) -> None:
    graph = lead_graph(LEADS, kind) if isinstance(kind, str) else random_graph(7, kind)
    torch.manual_seed(3)
    ours, peer, weights = pair(graph)
    with torch.no_grad():
        for mine, theirs in weights:
            mine.copy_(theirs.normal_())
    edges = graph.T.nonzero().T  # row i of the graph lists the sources of target i
    h = torch.randn(len(graph), IN)
    mine, theirs = h.clone().requires_grad_(), h.clone().requires_grad_()
    out, want = ours(mine), peer(theirs, edges)
    torch.testing.assert_close(out, want, atol=1e-4, rtol=1e-5)
    seed = torch.randn_like(out)
    out.backward(seed)
    want.backward(seed)
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)
    mine, theirs = weights[0]
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", [GAT, GATv2])
@pytest.mark.parametrize("graphs", [1, 300])  # one handful, and more than two
def test_along_the_edges_equals_the_dense_form(layer, graphs) -> None:
    torch.manual_seed(5)
    module = layer(IN, OUT, HEADS, lead_graph(LEADS)).double()
    h = torch.randn(graphs, 2, 12, IN, dtype=torch.double)
    present = torch.rand(graphs, 1, 12) < 0.7
    present[0] = False  # nobody to listen to
    seed = torch.randn(graphs, 2, 12, HEADS * OUT, dtype=torch.double)

    def both_ways(dense: bool) -> list[torch.Tensor]:
        x = h.clone().requires_grad_()
        module.zero_grad()
        out = module(x, present, return_attention=True)[0] if dense else module(x, present)
        out.backward(seed)
        return [out, x.grad, *(p.grad.clone() for p in module.parameters())]

    torch.testing.assert_close(both_ways(False), both_ways(True))


def test_few_graphs_go_the_dense_way(monkeypatch) -> None:
    module, h = GATv2(IN, OUT, HEADS, lead_graph(LEADS)), torch.randn(5, 12, IN)
    want = module(h)
    monkeypatch.setattr(gat, "FEW", 5)
    monkeypatch.setattr(gat, "EdgeAttention", None)
    torch.testing.assert_close(module(h), want, atol=1e-5, rtol=0)
    with pytest.raises(AttributeError):
        module(torch.randn(6, 12, IN))


@pytest.mark.parametrize("layer", [GAT, GATv2])
def test_attention_sums_to_one_on_the_graph_and_ignores_missing_leads(layer) -> None:
    torch.manual_seed(0)
    graph = lead_graph(LEADS)
    module = layer(IN, OUT, HEADS, graph)
    h = torch.randn(4, 12, IN)
    _, alpha = module(h, return_attention=True)
    torch.testing.assert_close(alpha.sum(-1), torch.ones(4, HEADS, 12))
    assert (alpha[..., ~graph] == 0).all()
    present = torch.ones(4, 12, dtype=torch.bool)
    present[:, 3] = False
    changed = h.clone()
    changed[:, 3] += 100
    out, alpha = module(h, present, return_attention=True)
    assert (alpha[..., 3] == 0).all()
    others = [i for i in range(12) if i != 3]
    torch.testing.assert_close(out[:, others], module(changed, present)[:, others])


def test_gat_ranks_alike_for_all_targets_and_gatv2_need_not() -> None:
    def rankings(module) -> int:
        _, alpha = module(torch.randn(12, IN) * 3, return_attention=True)
        return len({tuple(row.argsort().tolist()) for row in alpha[0]})

    torch.manual_seed(1)
    graph = lead_graph(LEADS, "all")
    assert rankings(GAT(IN, OUT, HEADS, graph)) == 1
    assert rankings(GATv2(IN, OUT, HEADS, graph)) > 1


def test_anatomy() -> None:
    graph = lead_graph(LEADS)
    assert torch.equal(graph, graph.T) and graph.diagonal().all()
    pairs = {"V1 V2": 1, "II aVF": 1, "I V6": 1, "III aVL": 1, "aVR I": 1, "V1 V6": 0, "aVR V3": 0,
             "II V2": 0}  # fmt: skip
    for pair, joined in pairs.items():
        assert graph[*(LEADS.index(lead) for lead in pair.split())] == joined, pair


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="anatomy"):
        lead_graph(LEADS, "anatomical")
    module = GAT(IN, OUT, HEADS, lead_graph(LEADS))
    for shape in [(2, 11, IN), (2, 12, IN + 1), (IN,)]:
        with pytest.raises(SignalError, match="expected"):
            module(torch.zeros(shape))
