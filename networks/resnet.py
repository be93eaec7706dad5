"""The ResNets for 32×32 images of [He16], section 4.2: 6n + 2 layers, three stages of 16, 32 and 64 channels.

Shortcuts are of option A: where a stage begins, they take every second pixel and add channels of zeros. So they have no
parameters.

[He16] He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from networks.init import start

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """`relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))`, both convolutions 3×3; the first one has the stride."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.num_added = width - width_in

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch width h_out w_out"]:
        """Add the shortcut to both convolutions."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))

    def shortcut(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch width h_out w_out"]:
        """Return every `stride`-th pixel, with channels of zeros on both sides."""
        if self.stride == 1 and self.num_added == 0:
            return x
        before = self.num_added // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.num_added - before))


def resnet(input_shape: Sequence[int], num_classes: int, depth: Annotated[int, Ge(8)]) -> nn.Sequential:
    """Build the ResNet of `depth` layers with weights; depth 20 on CIFAR-10: 269,722 parameters, 40.55 million MACs.

    Weights start at He's variance, biases at zero. Raises `ValueError` unless the depth is 6n + 2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"expected a depth of 6n + 2 from 8 on (20, 32, 44, 56, 110), got {depth}; change it to one")
    blocks_per_stage = (depth - 2) // 6
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(input_shape[0], WIDTHS[0], 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(WIDTHS[0]),
        relu=nn.ReLU(),
    )
    width_in = WIDTHS[0]
    for stage, width in enumerate(WIDTHS, start=1):
        blocks = [Block(width_in, width, stride=2 if stage > 1 else 1)]
        blocks += [Block(width, width, stride=1) for _ in range(blocks_per_stage - 1)]
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
        width_in = width
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(WIDTHS[-1], num_classes))
    return start(nn.Sequential(layers))
