"""The network against its peers: training, latency, size, graph layers, one recording end to end.

xresnet1d101 and resnet1d_wang are those of `ecgnet_lib.network.baselines`; the graph layers beside
ours are torch-geometric's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgnet_lib.bench import Row, interleaved, ratios, row
from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS, in_standard_order, read
from ecgnet_lib.denoising.daubechies import denoise
from ecgnet_lib.network.baselines import NETWORKS
from ecgnet_lib.network.ecgnet import FoundationalECGNet, count_parameters, predict
from ecgnet_lib.network.gat import GAT, GATv2, lead_graph
from ecgnet_lib.network.inference import predict_crops
from ecgnet_lib.network.rhythm import RHYTHM_S, RhythmNet
from ecgnet_lib.simulation.simulator import simulate

FS_HZ, WHOLE, CROP = 100, 1000, 250  # samples: a recording of 10 s, a crop of 2.5 s
BATCH, GRAPHS = 64, 8000
PEERS = ("xresnet1d101", "resnet1d_wang")
TRAINING, CROPS, LATENCY, GRAPH, CHAIN = 2.0, 5.0, 3.0, 3.0, 6.5  # times faster
PARAMETERS = 650_000


def run() -> list[Row]:
    """Return all rows, in about three minutes of a core."""
    torch.set_num_threads(1)
    return [*training(), *latency(), *size(), *graphs(), *one_recording()]


def network(name: str) -> nn.Module:
    """Return ours or a peer, freshly drawn."""
    torch.manual_seed(0)
    return FoundationalECGNet() if name == "ours" else NETWORKS[name]()


def stepper(name: str, samples: int) -> Callable[[], None]:
    """Return a function that does one training step on 64 recordings of `samples` samples."""
    model = network(name).train()
    x = 0.3 * torch.randn(BATCH, len(LEADS), samples)
    truth = torch.randint(2, (BATCH, 1 + len(DISEASES))).float()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        abnormal, diseases = model(x)
        logits = torch.cat([abnormal.unsqueeze(1), diseases], dim=1)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, truth).backward()
        optimizer.step()

    return step


def training() -> list[Row]:
    """Training steps (forward, backward, AdamW), on whole recordings and on crops."""
    cases = [(name, samples) for name in ("ours", *PEERS) for samples in (WHOLE, CROP)]
    taken = interleaved({f"{n} {s}": stepper(n, s) for n, s in cases}, rounds=5)
    rows = []
    for samples in (WHOLE, CROP):
        for peer in PEERS:
            times = ratios(taken, f"{peer} {samples}", f"ours {samples}")
            rows.append(row(f"training, 12x{samples}, times {peer}", times, "times", TRAINING))
    times = ratios(taken, f"{PEERS[0]} {WHOLE}", f"ours {CROP}")
    rows.append(row(f"training on 2.5 s crops, times {PEERS[0]} on 10 s", times, "times", CROPS))
    for name, samples in cases:
        rate = [BATCH / seconds for seconds in taken[f"{name} {samples}"]]
        rows.append(row(f"training, 12x{samples}, per CPU second: {name}", rate, "1/s"))
    return rows


def latency() -> list[Row]:
    """One recording of 10 s through the network alone."""
    x, names = torch.randn(1, len(LEADS), WHOLE), ("ours", *PEERS)
    taken = interleaved({name: partial(predict, network(name).eval(), x) for name in names})
    times = ratios(taken, PEERS[0], "ours")
    return [row(f"latency, {PEERS[0]} over ours", times, "times", LATENCY), *ms("latency", taken)]


def ms(label: str, taken: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the milliseconds of each peer."""
    return [
        row(f"{label}: {name}", [1000 * each for each in seconds], "ms")
        for name, seconds in taken.items()
    ]


def size() -> list[Row]:
    """Learned parameters."""
    ours = count_parameters(network("ours")) + count_parameters(RhythmNet())
    label = "parameters (at most): ours, with the rhythm branch"
    peers = [row(f"parameters: {n}", [count_parameters(network(n))], "") for n in PEERS]
    return [row(label, [ours], "", at_most=PARAMETERS), *peers]


def graphs() -> list[Row]:
    """8,000 graphs of the twelve leads through one layer of the default network's size and back."""
    from torch_geometric.nn import GATConv, GATv2Conv

    nodes = torch.randn(GRAPHS, len(LEADS), 48)
    offset = len(LEADS) * torch.arange(GRAPHS).view(1, -1, 1)

    def both_ways(layer: nn.Module, h: Tensor, *more: Tensor) -> None:
        out = layer(h.detach().requires_grad_(), *more)
        out.backward(torch.ones_like(out))

    rows = []
    for kind in ("anatomy", "all"):
        graph = lead_graph(LEADS, kind)
        edges = (graph.T.nonzero().T.unsqueeze(1) + offset).reshape(2, -1)
        for name, ours, peer in (("GAT", GAT, GATConv), ("GATv2", GATv2, GATv2Conv)):
            mine, listed = ours(48, 12, 4, graph), peer(48, 12, 4, add_self_loops=False)
            calls = {
                "ours": partial(both_ways, mine, nodes),
                "torch-geometric": partial(both_ways, listed, nodes.flatten(0, 1), edges),
            }
            taken = interleaved(calls, rounds=7)
            label = f"{name}, 8,000 graphs of {int(graph.sum())} edges"
            times = ratios(taken, "torch-geometric", "ours")
            rows.append(row(f"{label}, times torch-geometric", times, "times", GRAPH))
            rows += ms(label, taken)
    return rows


def one_recording() -> list[Row]:
    """From a file to probabilities: read, denoise, infer on 10 s and with the rhythm branch."""
    import neurokit2
    import wfdb

    ours, theirs, rhythm = network("ours").eval(), network(PEERS[0]).eval(), RhythmNet().eval()
    with tempfile.TemporaryDirectory() as folder:
        wfdb.wrsamp(
            "one",
            fs=FS_HZ,
            units=["mV"] * len(LEADS),
            sig_name=list(LEADS),
            p_signal=simulate([{}], fs_hz=FS_HZ).signals[0].T.astype(np.float64),
            fmt=["16"] * len(LEADS),
            write_dir=folder,
        )
        stem = Path(folder) / "one"

        def mine(crop_s: float) -> tuple[np.ndarray, np.ndarray]:
            signal = denoise(in_standard_order(read(stem.with_suffix(".hea"))), FS_HZ)[np.newaxis]
            predict_crops(rhythm, signal, RHYTHM_S)
            return predict_crops(ours, signal, crop_s)

        def usual() -> tuple[Tensor, Tensor]:
            signal, _ = wfdb.rdsamp(str(stem))
            clean = [neurokit2.ecg_clean(lead, sampling_rate=FS_HZ) for lead in signal.T]
            return predict(theirs, torch.tensor(np.stack(clean)[np.newaxis], dtype=torch.float32))

        taken = interleaved(
            {"ours": partial(mine, 10), "ours, crops": partial(mine, 2.5), "usual": usual}
        )
    label = "read, denoise, infer: times wfdb, neurokit2 and xresnet1d101"
    rows = [row(label, ratios(taken, "usual", "ours"), "times", CHAIN)]
    rows.append(row(f"{label}, crops averaged", ratios(taken, "usual", "ours, crops"), "times"))
    return rows + ms("read, denoise, infer", taken)
