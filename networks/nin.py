"""Network in network for 32×32 images [LCY14], with batch norms, as [IC20] compress it: 222.5 million MACs.

Three stages, each of a k×k and two 1×1 convolutions, with pooling and dropout between them; the logits are the maxima
over all pixels of the last stage's channels, one channel a class.

Differs from [LCY14] as [IC20]'s code does: the second and third pooling are maxima too, not means, and there are batch
norms, also on the logits' channels.

[LCY14] Lin, Chen & Yan, Network in network, ICLR 2014.
[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import nn

from networks.init import start


def nin(input_shape: Sequence[int], num_classes: int, dropout: Annotated[float, Ge(0), Lt(1)] = 0.5) -> nn.Sequential:
    """Build network in network; layers are called `conv1` … `conv9`. Weights start at He's variance, biases at zero."""
    stages = (
        ((192, 5), (160, 1), (96, 1)),
        ((192, 5), (192, 1), (192, 1)),
        ((192, 3), (192, 1), (num_classes, 1)),
    )
    layers, channels, number = OrderedDict[str, nn.Module](), input_shape[0], 0
    for stage, convolutions in enumerate(stages, start=1):
        for size, kernel in convolutions:
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(channels, size, kernel, padding=kernel // 2)
            layers[f"bn{number}"] = nn.BatchNorm2d(size)
            if number < 9:  # the last one gives the logits
                layers[f"relu{number}"] = nn.ReLU()
            channels = size
        if stage < len(stages):
            layers[f"pool{stage}"] = nn.MaxPool2d(3, stride=2, padding=1)
            layers[f"dropout{stage}"] = nn.Dropout(dropout)
    layers |= OrderedDict(pool3=nn.AdaptiveMaxPool2d(1), flatten=nn.Flatten())
    return start(nn.Sequential(layers))
