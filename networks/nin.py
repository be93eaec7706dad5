"""Network in network for 32×32 images [LCY14], with batch norms, as [IC20] compress it: 222.5 million MACs.

Three stages, each of a k×k and two 1×1 convolutions, with pooling and dropout between them; the logits are the means
over all pixels of the last stage's channels, one channel a class. [IC20]'s code pools by maxima everywhere, the last
time over all pixels, and has a batch norm before that, too.

[LCY14] Lin, Chen & Yan, Network in network, ICLR 2014.
[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import nn

from networks.init import start
from runtime.identity import AsBefore


def nin(
    input_shape: Sequence[int],
    num_classes: int,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    pooling: Annotated[Literal["mixed", "max"], AsBefore("mixed")] = "mixed",
    norm_logits: Annotated[bool, AsBefore(False)] = False,
) -> nn.Sequential:
    """Build network in network; layers are called `conv1` … `conv9`. Weights start at He's variance, biases at zero.

    With `pooling="max"` all three stages end with maxima, else the second and third with means. `norm_logits` puts a
    batch norm behind the ninth convolution, too.
    """
    stages = (
        ((192, 5), (160, 1), (96, 1)),
        ((192, 5), (192, 1), (192, 1)),
        ((192, 3), (192, 1), (num_classes, 1)),
    )
    is_max = pooling == "max"
    second = nn.MaxPool2d(3, stride=2, padding=1) if is_max else nn.AvgPool2d(3, stride=2, padding=1)
    pools = (nn.MaxPool2d(3, stride=2, padding=1), second)
    layers, channels, number = OrderedDict[str, nn.Module](), input_shape[0], 0
    for stage, convolutions in enumerate(stages):
        for size, kernel in convolutions:
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(channels, size, kernel, padding=kernel // 2)
            if number < 9 or norm_logits:
                layers[f"bn{number}"] = nn.BatchNorm2d(size)
            if number < 9:  # the last one gives the logits
                layers[f"relu{number}"] = nn.ReLU()
            channels = size
        if stage < len(pools):
            layers[f"pool{stage + 1}"] = pools[stage]
            layers[f"dropout{stage + 1}"] = nn.Dropout(dropout)
    layers |= OrderedDict(pool3=nn.AdaptiveMaxPool2d(1) if is_max else nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return start(nn.Sequential(layers))
