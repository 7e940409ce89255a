"""Three published networks beside ours: small re-implementations, trained by the same code.

resnet1d_wang and xresnet1d101 as Strodthoff et al. (IEEE JBHI 2021, doi 10.1109/JBHI.2020.3022989)
ran them on PTB-XL, and the CNN-LSTM of Alamatsaz et al. (arXiv 2209.00988). Widths, kernels,
strides and heads are theirs, each source stands in the class; the code is ours.

All map (B, 12, T) mV to six logits, of abnormal and of the five diseases, as independent labels
("one-stage"). Shapes: B recordings, T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.network.ecgnet import OneStageConfig, check_signal

SHORTEST = 137  # samples; with fewer the unpadded layers of CNN-LSTM leave nothing


class Baseline(nn.Module):
    """A published `body` (B, leads, T) -> (B, outputs), called as our network is."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.config, self.body = OneStageConfig(), body

    def forward(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits (B,) of abnormal and (B, 5) of the diseases; missing leads are zeros.

        x: (B, 12, T) mV at `config.fs_hz`. present: (B, 12) bool. SignalError for another shape.
        """
        check_signal(x, SHORTEST)
        x = x / self.config.scale_mv
        if present is not None:
            x = x * present.unsqueeze(-1)
        logits = self.body(x)
        return logits[:, 0], logits[:, 1:]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the length (over the stride), then batch normalisation."""
    layer = nn.Conv1d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False)
    return [layer, nn.BatchNorm1d(outputs)]


class Residual(nn.Module):
    """relu(path(x) + shortcut(x)), the block of both residual networks."""

    def __init__(self, path: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.path, self.shortcut = nn.Sequential(*path), nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C', T / stride)."""
        return torch.relu(self.path(x) + self.shortcut(x))


class ConcatPool(nn.Module):
    """Maximum and mean over time side by side: (B, C, T) to (B, 2C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return torch.cat([x.amax(-1), x.mean(-1)], dim=1)


def concat_head(channels: int, outputs: int) -> list[nn.Module]:
    """The benchmark's head: pooled maximum and mean, one hidden layer of 128, dropout before each.

    Source: `create_head1d` with lin_ftrs_head [128] and ps_head 0.5 of helme/ecg_ptbxl_benchmarking
    (half the dropout before the hidden layer).
    """
    hidden = [nn.BatchNorm1d(2 * channels), nn.Dropout(0.25), nn.Linear(2 * channels, 128)]
    last = [nn.BatchNorm1d(128), nn.Dropout(0.5), nn.Linear(128, outputs)]
    return [ConcatPool(), *hidden, nn.ReLU(inplace=True), *last]


def start_as_published(module: nn.Module) -> None:
    """He's normal weights and no bias in every layer, as the benchmark starts each training."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ResNet1dWang(Baseline):
    """Three residual blocks of 128 channels after Wang et al. (arXiv 1611.06455), 0.47 M numbers.

    Source: `resnet1d_wang` of helme/ecg_ptbxl_benchmarking: stem of kernel 7 without stride or
    pooling; blocks of one convolution of kernel 5 and one of 3, the second and third block halve
    the length; concatenated pooling. The count is exact: 473,349 for its five superclasses, 481,863
    for its 71 statements, 473,478 for our six outputs.
    """

    def __init__(self, outputs: int = 1 + len(DISEASES)) -> None:
        width = 128

        def block(stride: int) -> Residual:
            first, second = convolution(width, width, 5, stride), convolution(width, width, 3)
            shortcut = convolution(width, width, 1, stride) if stride > 1 else []
            return Residual([*first, nn.ReLU(inplace=True), *second], shortcut)

        stem = [*convolution(len(LEADS), width, 7), nn.ReLU(inplace=True)]
        blocks = [block(1), block(2), block(2)]
        super().__init__(nn.Sequential(*stem, *blocks, *concat_head(width, outputs)))
        self.apply(start_as_published)


class XResNet1d101(Baseline):
    """A hundred layers of bottlenecks after He et al. (arXiv 1812.01187), 1.87 M numbers.

    Source: `xresnet1d101` of helme/ecg_ptbxl_benchmarking: stem of three convolutions (32, 32, 64;
    kernel 5; the first halves the length) and a maximum pool that halves it again; 3, 4, 23 and 3
    bottlenecks of 64 channels inside and 256 outside, kernel 5 in the middle; from the second stage
    on the first bottleneck halves the length and its shortcut pools the mean before it is added;
    concatenated pooling. The count is exact: 1,872,261 for its five superclasses, 1,880,775 for its
    71 statements, 1,872,390 for our six outputs.
    """

    def __init__(self, outputs: int = 1 + len(DISEASES)) -> None:
        inner, outer, kernel = 64, 256, 5

        def block(inputs: int, stride: int) -> Residual:
            path = [
                *(*convolution(inputs, inner, 1), nn.ReLU(inplace=True)),
                *(*convolution(inner, inner, kernel, stride), nn.ReLU(inplace=True)),
                *convolution(inner, outer, 1),
            ]
            shortcut = [nn.AvgPool1d(2, ceil_mode=True)] if stride > 1 else []
            shortcut += convolution(inputs, outer, 1) if inputs != outer else []
            return Residual(path, shortcut)

        layers: list[nn.Module] = []
        for inputs, width, stride in ((len(LEADS), 32, 2), (32, 32, 1), (32, inner, 1)):
            layers += [*convolution(inputs, width, kernel, stride), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool1d(3, 2, padding=1))
        for stage, count in enumerate((3, 4, 23, 3)):
            layers.append(block(outer if stage else inner, 2 if stage else 1))
            layers += [block(outer, 1) for _ in range(count - 1)]
        super().__init__(nn.Sequential(*layers, *concat_head(outer, outputs)))
        self.apply(start_as_published)


class CNNLSTM(Baseline):
    """Three convolutions, an LSTM of 32 and two dense layers (Alamatsaz et al., arXiv 2209.00988).

    Source: the paper's table of layers, taken second-hand from a public reader's transcription:
    convolutions of 64, 32 and 16 channels with kernels 50, 10 and 5, unpadded; maximum pools over
    20, 10 and 5 samples with stride 2; the last state of the LSTM; dense layers of 32 and 16;
    dropout 0.1 after each pool, the LSTM and the first dense layer. The paper reads two leads at
    128 Hz and names nine rhythms. It states no count but a file of 0.16 MB: two leads and nine
    outputs make 37,689 numbers, 0.15 MB in single precision (Keras counts 128 fewer: PyTorch's LSTM
    has two biases where Keras's has one). Here twelve leads and six outputs make 69,638.
    """

    def __init__(self, outputs: int = 1 + len(DISEASES), leads: int = len(LEADS)) -> None:
        layers: list[nn.Module] = []
        for inputs, width, kernel, pool in ((leads, 64, 50, 20), (64, 32, 10, 10), (32, 16, 5, 5)):
            layers += [nn.Conv1d(inputs, width, kernel), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool1d(pool, 2), nn.Dropout(0.1)]
        dense = [nn.Linear(32, 32), nn.ReLU(inplace=True), nn.Dropout(0.1)]
        dense += [nn.Linear(32, 16), nn.ReLU(inplace=True), nn.Linear(16, outputs)]
        super().__init__(nn.Sequential(*layers, LastState(16, 32), nn.Dropout(0.1), *dense))


class LastState(nn.Module):
    """The last output of an LSTM along time: (B, C, T) to (B, H)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output after the last sample."""
        return self.lstm(x.transpose(1, 2))[0][:, -1]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet1d_wang": ResNet1dWang,
    "xresnet1d101": XResNet1d101,
    "CNN-LSTM": CNNLSTM,
}
