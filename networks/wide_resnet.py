"""Wide residual networks for 32×32 images [ZK16]: 6n + 4 layers in three stages, k times as wide as [He16]'s.

Norm and ReLU come before each convolution; where the width changes, the shortcut is a 1×1 convolution of their output.

[ZK16] Zagoruyko & Komodakis, Wide residual networks, BMVC 2016.
[He16] He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from networks.init import start


class WideBlock(nn.Module):
    """`conv(drop(relu(bn(conv(y))))) + shortcut`, y = relu(bn(x)); the first convolution has the stride."""

    def __init__(self, width_in: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        same = width_in == width and stride == 1
        self.shortcut = None if same else nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch width h_out w_out"]:
        """Add the shortcut to both convolutions."""
        y = functional.relu(self.bn1(x))
        out = self.conv2(self.dropout(functional.relu(self.bn2(self.conv1(y)))))
        return out + (x if self.shortcut is None else self.shortcut(y))


def wide_resnet(
    input_shape: Sequence[int],
    num_classes: int,
    depth: Annotated[int, Ge(10)],
    widening: Annotated[int, Ge(1)],
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> nn.Sequential:
    """Build WRN-`depth`-`widening`; 16-8 on CIFAR-10: 10.96 million parameters, 1.55 billion MACs.

    Weights start at He's variance, biases at zero. Raises `ValueError` unless the depth is 6n + 4.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"expected a depth of 6n + 4 from 10 on (10, 16, 22, 28, 40), got {depth}; change it to one")
    widths = [16 * widening * 2**stage for stage in range(3)]
    layers = OrderedDict[str, nn.Module](conv1=nn.Conv2d(input_shape[0], 16, 3, padding=1, bias=False))
    width_in = 16
    for stage, width in enumerate(widths, start=1):
        blocks = [WideBlock(width_in, width, 2 if stage > 1 else 1, dropout)]
        blocks += [WideBlock(width, width, 1, dropout) for _ in range((depth - 4) // 6 - 1)]
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
        width_in = width
    layers |= OrderedDict(
        bn=nn.BatchNorm2d(width_in),
        relu=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(width_in, num_classes),
    )
    return start(nn.Sequential(layers))
