"""The published networks: their counts, their shapes, and that they learn; see each docstring."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ecgnet_lib.errors import SignalError
from ecgnet_lib.network.baselines import CNNLSTM, NETWORKS, ResNet1dWang, XResNet1d101
from ecgnet_lib.network.ecgnet import count_parameters, predict


def convolutions(inputs: int, outputs: int, *kernels: int) -> int:
    """Count unbiased convolutions in a row, each with batch normalisation."""
    widths = [inputs, *[outputs] * len(kernels)]
    layers = zip(widths, widths[1:], kernels, strict=False)
    return sum(a * b * k + 2 * b for a, b, k in layers)


def head(channels: int, outputs: int) -> int:
    """Count the benchmark's head: two normalisations and two linear layers."""
    return 4 * channels + (2 * channels + 1) * 128 + 2 * 128 + 129 * outputs


@pytest.mark.parametrize(("outputs", "millions"), [(5, 0.47), (71, 0.48)])
def test_resnet1d_wang_has_the_published_count(outputs, millions) -> None:
    blocks = 3 * convolutions(128, 128, 5, 3) + 2 * convolutions(128, 128, 1)
    want = convolutions(12, 128, 7) + blocks + head(128, outputs)
    assert count_parameters(ResNet1dWang(outputs)) == want
    assert round(want / 1e6, 2) == millions


@pytest.mark.parametrize(("outputs", "millions"), [(5, 1.87), (71, 1.88)])
def test_xresnet1d101_has_the_published_count(outputs, millions) -> None:
    stem = convolutions(12, 32, 5, 5) + convolutions(32, 64, 5)
    block = convolutions(256, 64, 1, 5) + convolutions(64, 256, 1)
    first = block - (256 - 64) * 64 + convolutions(64, 256, 1)  # narrower, with a shortcut
    want = stem + first + 32 * block + head(256, outputs)
    assert count_parameters(XResNet1d101(outputs)) == want
    assert round(want / 1e6, 2) == millions


def test_cnn_lstm_fills_the_published_file() -> None:
    lstm, bias = 4 * 32 * (16 + 32 + 1), 4 * 32  # Keras has one bias a gate, PyTorch two
    layers = 64 * (2 * 50 + 1) + 32 * (64 * 10 + 1) + 16 * (32 * 5 + 1) + 33 * 32 + 33 * 16
    want = layers + lstm + bias + 17 * 9
    assert count_parameters(CNNLSTM(outputs=9, leads=2)) == want
    assert 0.14e6 < 4 * (want - bias) < 0.16e6  # bytes; the file holds more than the numbers


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("samples", [250, 1000])
def test_a_peer_is_a_network_to_which_missing_leads_are_zeros(name, samples) -> None:
    torch.manual_seed(0)
    network, x = NETWORKS[name]().eval(), torch.randn(2, 12, samples)
    assert (network.config.fs_hz, network.config.head) == (100, "one-stage")
    abnormal, diseases = network(x)
    assert (abnormal.shape, diseases.shape) == ((2,), (2, 5))
    p, q = predict(network, x, torch.ones(2, 12, dtype=torch.bool))
    torch.testing.assert_close(p, torch.sigmoid(abnormal))
    torch.testing.assert_close(q, torch.sigmoid(diseases))  # judged apart from abnormal
    present = (torch.arange(12) < 3).expand(2, 12)
    zeroed = network(x * present.unsqueeze(-1))
    torch.testing.assert_close(network(x, present), zeroed)
    assert not torch.allclose(diseases, zeroed[1])


def test_strides_are_the_published_ones() -> None:
    def lengths(network: nn.Module) -> list[int]:
        seen = set()

        def note(_layer, _inputs, output) -> None:
            seen.update(output.shape[2:])

        for layer in network.body:
            layer.register_forward_hook(note)
        network.eval()(torch.zeros(1, 12, 1000))
        return sorted(seen, reverse=True)

    assert lengths(ResNet1dWang()) == [1000, 500, 250]
    assert lengths(XResNet1d101()) == [500, 250, 125, 63, 32]
    # Unpadded: 1000 - 49, pooled over 20 by 2, - 9, pooled over 10 by 2, - 4, pooled over 5 by 2.
    assert lengths(CNNLSTM()) == [951, 466, 457, 224, 220, 108]


@pytest.mark.parametrize("shape", [(12, 250), (2, 11, 250), (2, 12, 136)])
def test_wrong_shapes_are_refused(shape) -> None:
    with pytest.raises(SignalError, match="at least 137"):
        CNNLSTM()(torch.zeros(shape))
    CNNLSTM()(torch.zeros(1, 12, 137))
