"""3-D convolutions on clips, after C3D [Tran15]: 3×3×3 everywhere, poolings that halve frames and pixels.

Differs from [Tran15]: batch norms, which let it train from scratch on small data; pooling stops at one frame, so that
clips of any number of frames fit; the last map is pooled to 1×4×4, so that images of any size do.

[Tran15] Tran, Bourdev, Fergus, Torresani & Paluri, Learning spatiotemporal features with 3D convolutional networks,
ICCV 2015.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt, MinLen
from torch import nn

from networks.init import start

LAST_MAP = (1, 4, 4)


def c3d(
    input_shape: Sequence[int],
    num_classes: int,
    widths: Annotated[list[Annotated[list[Annotated[int, Ge(1)]], MinLen(1)]], MinLen(1)],
    hidden: list[Annotated[int, Ge(1)]],
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
) -> nn.Sequential:
    """Build one stage of convolutions per list of `widths`, then linear layers of `hidden` units.

    `input_shape` is (channel, frame, height, width). A stage ends with a pooling that halves height and width and, from
    the second stage on, the frames. Layers are called `conv1_1`, …, `fc1`, …. Weights start at He's variance. Raises
    `ValueError` for samples that are no clips or too small for the poolings.
    """
    if len(input_shape) != 4:
        raise ValueError(
            f"it reads clips (channel, frame, height, width), got samples of {list(input_shape)}; take "
            "dataset=ucf11 dataset.view=clips"
        )
    channels, frames, height, width = input_shape
    if min(height, width) < 2 ** len(widths):
        raise ValueError(f"it needs frames of at least {2 ** len(widths)} pixels a side, got {height}×{width}")
    layers = OrderedDict[str, nn.Module]()
    for stage, sizes in enumerate(widths, start=1):
        for index, size in enumerate(sizes, start=1):
            layers[f"conv{stage}_{index}"] = nn.Conv3d(channels, size, 3, padding=1, bias=False)
            layers[f"bn{stage}_{index}"] = nn.BatchNorm3d(size)
            layers[f"relu{stage}_{index}"] = nn.ReLU()
            channels = size
        step = 2 if stage > 1 and frames > 1 else 1
        frames //= step
        layers[f"pool{stage}"] = nn.MaxPool3d((step, 2, 2))
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool3d(LAST_MAP), flatten=nn.Flatten())
    size = channels * LAST_MAP[0] * LAST_MAP[1] * LAST_MAP[2]
    for index, next_size in enumerate(hidden, start=1):
        layers[f"fc{index}"] = nn.Linear(size, next_size)
        layers[f"fc_relu{index}"] = nn.ReLU()
        layers[f"dropout{index}"] = nn.Dropout(dropout)
        size = next_size
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(size, num_classes)
    return start(nn.Sequential(layers))
