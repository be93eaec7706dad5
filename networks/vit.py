"""A vision transformer [Dos21] for small images: patches of 4×4 pixels, torchvision's encoder.

[Dos21] Dosovitskiy et al., An image is worth 16x16 words: transformers for image recognition at scale, ICLR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer


def vit(
    input_shape: Sequence[int],
    num_classes: int,
    patch: Annotated[int, Ge(1)] = 4,
    depth: Annotated[int, Ge(1)] = 6,
    width: Annotated[int, Ge(1)] = 192,
    heads: Annotated[int, Ge(1)] = 3,
    hidden: Annotated[int, Ge(1)] = 768,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> VisionTransformer:
    """Build a ViT of `depth` blocks of `width` features; 32×32 RGB, 10 classes: 2.69 million parameters.

    `hidden` units are in each block's MLP; a token of `patch`×`patch` pixels, and one for the class, go through all
    blocks. Weights start as torchvision's, the head at zero. Raises `ValueError` for images that are no squares of
    whole patches, and for a width that is no multiple of the heads.
    """
    if len(input_shape) != 3 or input_shape[1] != input_shape[2] or input_shape[1] % patch:
        raise ValueError(
            f"it takes square images (channel, side, side) of whole patches of {patch}×{patch} pixels, got samples of "
            f"{list(input_shape)}; change network.patch, or take other data"
        )
    if width % heads:
        raise ValueError(f"network.width: expected a multiple of network.heads={heads}, got {width}; change one")
    network = VisionTransformer(input_shape[1], patch, depth, heads, width, hidden, dropout, num_classes=num_classes)
    if input_shape[0] != network.conv_proj.in_channels:  # torchvision's takes RGB alone
        network.conv_proj = nn.Conv2d(input_shape[0], width, patch, patch)
        nn.init.trunc_normal_(network.conv_proj.weight, std=math.sqrt(1 / (input_shape[0] * patch**2)))
        assert network.conv_proj.bias is not None
        nn.init.zeros_(network.conv_proj.bias)
    return network
