"""The two CIFAR networks of [GPNV16]: six 3×3 convolutions, with one linear layer or three behind them.

Widths 64, 64, 128, 128, 128, 128, each with batch norm and ReLU; max-pooling 3/2 after the second and the fourth.
The options are what the authors' code does where their paper is silent (their configurations take them); by default
there are no biases before norms, and a padding of 1 everywhere. Weights start at He's variance.

[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization: compressing convolutional and FC layers alike,
arXiv:1611.03214, 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from networks.init import start
from runtime.identity import AsBefore

WIDTHS = (64, 64, 128, 128, 128, 128)
POOLED = (2, 4)
HIDDEN = (1536, 512)


def garipov_conv(
    input_shape: Sequence[int],
    num_classes: int,
    pool_padding: Annotated[Literal[0, 1], AsBefore(1)] = 1,
    last_padding: Annotated[Literal[0, 1], AsBefore(1)] = 1,
    biases: Annotated[Literal["linear", "convolutions"], AsBefore("linear")] = "linear",
) -> nn.Sequential:
    """Build the convolutions, the mean over all pixels, and one linear layer: 557,258 parameters on CIFAR-10.

    Args:
        input_shape: (channels, height, width).
        num_classes: the number of logits.
        pool_padding: 0 begins the pools' windows at the first pixel and cuts the last one, as TensorFlow does.
        last_padding: of the fifth and sixth convolution; 0 leaves 4×4 of 8×8 pixels.
        biases: which layers have them; with "convolutions" there are 557,888 parameters.
    """
    own = biases == "convolutions"
    layers = _convolutions(input_shape, pool_padding, last_padding, bias=own)
    fc = nn.Linear(WIDTHS[-1], num_classes, bias=not own)
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=fc)
    return start(nn.Sequential(layers))


def garipov_conv_fc(
    input_shape: Sequence[int], num_classes: int, pool_padding: Annotated[Literal[0, 1], AsBefore(1)] = 1
) -> nn.Sequential:
    """Build the convolutions and linear layers 8192-1536-512-10 with norms: 13.93 million parameters on CIFAR-10."""
    layers = _convolutions(input_shape, pool_padding)
    height, width = (-(-side // 4) for side in input_shape[1:])  # two poolings that round up
    layers["flatten"] = nn.Flatten()
    sizes = (WIDTHS[-1] * height * width, *HIDDEN)
    for index, (size, next_size) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{index}"] = nn.Linear(size, next_size, bias=False)
        layers[f"fc_bn{index}"] = nn.BatchNorm1d(next_size)
        layers[f"fc_relu{index}"] = nn.ReLU()
    layers["fc3"] = nn.Linear(HIDDEN[-1], num_classes)
    return start(nn.Sequential(layers))


def _convolutions(
    input_shape: Sequence[int], pool_padding: int, last_padding: int = 1, *, bias: bool = False
) -> OrderedDict[str, nn.Module]:
    layers = OrderedDict[str, nn.Module]()
    for index, (width_in, width) in enumerate(pairwise((input_shape[0], *WIDTHS)), start=1):
        padding = last_padding if index > POOLED[-1] else 1
        layers[f"conv{index}"] = nn.Conv2d(width_in, width, 3, padding=padding, bias=bias)
        layers[f"bn{index}"] = nn.BatchNorm2d(width)
        layers[f"relu{index}"] = nn.ReLU()
        if index in POOLED:
            layers[f"pool{index}"] = nn.MaxPool2d(3, stride=2, padding=pool_padding, ceil_mode=pool_padding == 0)
    return layers
