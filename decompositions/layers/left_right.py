"""Layers of two factors: the input meets `right`, which has the geometry of the dense layer, and then `left`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from decompositions.layers.base import Factored


class LeftRight(Factored):
    """Base of these layers: `right` is a parameter, or a convolution that holds it; `left` has its outputs first."""

    left: nn.Parameter
    right: nn.Parameter | nn.Module
    bias: nn.Parameter | None

    def _keep_bias(self, dense: nn.Module) -> None:
        """Take a copy of the bias of `dense`."""
        bias = dense.bias
        self.bias = nn.Parameter(bias.detach().clone()) if isinstance(bias, Tensor) else None

    @property
    def right_weight(self) -> Tensor:
        """The parameter of the right factor."""
        return self.right if isinstance(self.right, nn.Parameter) else self.right.get_parameter("weight")

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw the factors anew: the right one keeps the signal's variance, the left one multiplies it by `gain²`."""
        nn.init.normal_(self.right_weight, std=self.right_weight[0].numel() ** -0.5)
        nn.init.normal_(self.left, std=gain * self.left.shape[1] ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
