"""VGG16 and VGG19 for 32×32 images: the convolutions of [SZ15] with batch norms, and linear layers of 512.

As [IC20] count it: 15.25 million parameters and 313.7 million MACs for VGG16 on CIFAR-10.

[SZ15] Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015.
[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import nn

from networks.init import start

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
HIDDEN = 512


def vgg(
    input_shape: Sequence[int],
    num_classes: int,
    depth: Literal[16, 19],
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
) -> nn.Sequential:
    """Build the VGG of `depth` layers with weights, which are called `conv1_1` … `conv5_3`, `fc1` … `fc3`.

    Weights start at He's variance, biases at zero. Raises `ValueError` for images below 32×32, of which five poolings
    leave nothing.
    """
    channels, height, width = input_shape
    if min(height, width) < 32:
        raise ValueError(f"it needs images of at least 32×32 pixels, got {height}×{width}; take network=resnet20")
    layers = OrderedDict[str, nn.Module]()
    for stage, (size, num) in enumerate(zip(WIDTHS, CONVOLUTIONS[depth], strict=True), start=1):
        for index in range(1, num + 1):
            layers[f"conv{stage}_{index}"] = nn.Conv2d(channels, size, 3, padding=1)
            layers[f"bn{stage}_{index}"] = nn.BatchNorm2d(size)
            layers[f"relu{stage}_{index}"] = nn.ReLU()
            channels = size
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    size = channels * (height // 32) * (width // 32)
    for index in (1, 2):
        layers[f"dropout{index}"] = nn.Dropout(dropout)
        layers[f"fc{index}"] = nn.Linear(size, HIDDEN)
        layers[f"fc_relu{index}"] = nn.ReLU()
        size = HIDDEN
    layers["fc3"] = nn.Linear(size, num_classes)
    return start(nn.Sequential(layers))
