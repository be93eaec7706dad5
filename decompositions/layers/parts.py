"""Linear layers of the parameters that a fused layer holds, one matrix or three in one."""

from __future__ import annotations

from torch import nn


def linear_with(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """Return a linear layer of these very parameters."""
    # On the meta device nothing is drawn or allocated for the weights that are put aside at once.
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = weight
    if bias is not None:
        linear.bias = bias
    return linear


def thirds(parameter: nn.Parameter | None) -> list[nn.Parameter | None]:
    """Cut a parameter of q, k and v, one after another in its rows, into three; None is three times None."""
    if parameter is None:
        return [None] * 3
    parts = parameter.detach().chunk(3)
    return [nn.Parameter(part.clone(), requires_grad=parameter.requires_grad) for part in parts]
