"""The two CIFAR networks of [GPNV16]: six 3×3 convolutions, with one linear layer or three behind them.

Widths 64, 64, 128, 128, 128, 128, each with batch norm and ReLU; max-pooling 3/2 after the second and the fourth.
Where their paper is silent, paddings and biases are those of their code. Weights start at He's variance.

[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization: compressing convolutional and FC layers alike,
arXiv:1611.03214, 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from networks.init import start

WIDTHS = (64, 64, 128, 128, 128, 128)
POOLED = (2, 4)
HIDDEN = (1536, 512)


def garipov_conv(input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Build the convolutions, the mean over all pixels, and one linear layer: 557,888 parameters on CIFAR-10.

    The convolutions have biases and the linear layer has none. The fifth and the sixth have no padding: 4×4 of 8×8
    pixels are left.
    """
    layers = _convolutions(input_shape, last_padding=0, bias=True)
    fc = nn.Linear(WIDTHS[-1], num_classes, bias=False)
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=fc)
    return start(nn.Sequential(layers))


def garipov_conv_fc(input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Build the convolutions and linear layers 8192-1536-512-10 with norms: 13.93 million parameters on CIFAR-10.

    No layer that a norm follows has biases.
    """
    layers = _convolutions(input_shape, last_padding=1, bias=False)
    height, width = (-(-side // 4) for side in input_shape[1:])  # two poolings that round up
    layers["flatten"] = nn.Flatten()
    sizes = (WIDTHS[-1] * height * width, *HIDDEN)
    for index, (size, next_size) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{index}"] = nn.Linear(size, next_size, bias=False)
        layers[f"fc_bn{index}"] = nn.BatchNorm1d(next_size)
        layers[f"fc_relu{index}"] = nn.ReLU()
    layers["fc3"] = nn.Linear(HIDDEN[-1], num_classes)
    return start(nn.Sequential(layers))


def _convolutions(input_shape: Sequence[int], *, last_padding: int, bias: bool) -> OrderedDict[str, nn.Module]:
    """Build all convolutions; `last_padding` is that of the fifth and the sixth."""
    layers = OrderedDict[str, nn.Module]()
    for index, (width_in, width) in enumerate(pairwise((input_shape[0], *WIDTHS)), start=1):
        padding = last_padding if index > POOLED[-1] else 1
        layers[f"conv{index}"] = nn.Conv2d(width_in, width, 3, padding=padding, bias=bias)
        layers[f"bn{index}"] = nn.BatchNorm2d(width)
        layers[f"relu{index}"] = nn.ReLU()
        if index in POOLED:  # as TensorFlow pads: windows begin at the first pixel, and the last one is cut
            layers[f"pool{index}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return layers
