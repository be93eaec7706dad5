"""Linear layers and convolutions that multiply in int8 [Jac18], on the CPU.

    W ≈ s_w q_w   with q_w in −127 … 127, one s_w a row (output)        x ≈ s_x (q_x − z)   with q_x in 8 bits
    y = s_x s_w Σ (q_x − z) q_w + b                                      the sum in int32

`DynamicLinear` finds s_x = max|x| / 127 (z = 0) of each sample in every pass; `StaticLinear` and `StaticConvolution`
have one s_x and z, found before. Matrices are multiplied by `torch._int_mm`, as in torchao; convolutions are oneDNN's,
the operator to which torch's compiler lowers quantised networks, called without the compiler. Its inputs are unsigned:
for signed ones it falls back to a reference loop, hundreds of times slower than float.

[Jac18] Jacob et al., Quantization and training of neural networks for integer-arithmetic-only inference, CVPR 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

TINY = 1e-12  # a scale of a row of zeros


class _Int8(nn.Module):
    """Base of the int8 layers: weight, scales and bias are parameters that do not train."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        weight, bias = dense.weight, dense.bias
        assert isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor))
        values, scale = quantise(weight.detach())
        self.weight = nn.Parameter(values, requires_grad=False)
        self.weight_scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self._ready: tuple[Tensor, ...] | None = None

    def to_tensor(self) -> Tensor:
        """Return the weight that is multiplied, `s_w q_w`, in the shape of the dense one."""
        return self.weight * self.weight_scale.view(-1, *[1] * (self.weight.ndim - 1))

    def ready(self) -> tuple[Tensor, ...]:
        """Return the result of `prepare`, which is kept until the state changes."""
        if self._ready is None:
            self._ready = self.prepare()
        return self._ready

    def prepare(self) -> tuple[Tensor, ...]:
        """Compute from the state what every pass needs: nothing, unless a subclass needs something."""
        return ()

    @property
    def num_extra_bytes(self) -> int:
        """Count the bytes that are held besides the state after a pass, without the padding of a packed weight."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._ready or ())

    def _apply(self, fn: Any, recurse: bool = True) -> _Int8:
        self._ready = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._ready = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the result of `prepare`: a packed weight cannot be copied."""
        return self.__dict__ | {"_ready": None}

    def extra_repr(self) -> str:
        """Show the shape of the weight and whether there is a bias."""
        return f"{'×'.join(map(str, self.weight.shape))}, bias={self.bias is not None}"


class DynamicLinear(_Int8):
    """A linear layer whose inputs are quantised sample by sample: no output depends on the rest of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, multiply, scale."""
        rows = x.reshape(-1, x.shape[-1])
        scale = rows.abs().amax(1, keepdim=True).clamp_(min=TINY).div_(127)
        values = (rows / scale).round_().to(torch.int8)
        product = torch._int_mm(values, self.weight.t()).to(torch.float32).mul_(scale).mul_(self.weight_scale)
        output = product if self.bias is None else product.add_(self.bias)
        return output.view(*x.shape[:-1], -1)


class _Static(_Int8):
    """Base of the layers whose inputs are expected between `low` and `high`; others are clipped to this range."""

    lowest = -128
    dtype = torch.int8

    def __init__(self, dense: nn.Module, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__(dense)
        low, high = min(low, 0.0), max(high, 0.0)  # zero has to be exact: padding and ReLU produce it
        scale = max((high - low) / 255, TINY)
        zero = self.lowest + round(-low / scale)
        self.input_scale = nn.Parameter(torch.tensor(scale), requires_grad=False)
        self.input_zero = nn.Parameter(torch.tensor(zero, dtype=torch.int32), requires_grad=False)

    def quantised(self, x: Tensor) -> Tensor:
        """Return the inputs in 8 bits."""
        values = (x / self.input_scale).round_().add_(self.input_zero)
        return values.clamp_(self.lowest, self.lowest + 255).to(self.dtype)


class StaticLinear(_Static):
    """A linear layer with one scale for all inputs."""

    def prepare(self) -> tuple[Tensor, ...]:
        """Compute `s_x s_w` and `b − s_x s_w z Σ q_w`: the zero point becomes a part of the bias."""
        scale = self.input_scale * self.weight_scale
        offset = -scale * self.input_zero * self.weight.sum(1)
        return scale, offset if self.bias is None else offset + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, multiply, scale."""
        scale, offset = self.ready()
        values = self.quantised(x.reshape(-1, x.shape[-1]))
        product = torch._int_mm(values, self.weight.t()).to(torch.float32)
        return product.mul_(scale).add_(offset).view(*x.shape[:-1], -1)


class StaticConvolution(_Static):
    """A convolution with one scale for all inputs; its padding is exact zeros."""

    lowest = 0
    dtype = torch.uint8

    def __init__(self, dense: nn.Module, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__(dense, low, high)
        assert isinstance(dense, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        padding = [0] * len(dense.stride) if dense.padding == "valid" else list(dense.padding)
        self.geometry = (list(dense.stride), padding, list(dense.dilation), dense.groups)

    def prepare(self) -> tuple[Tensor, ...]:
        """Pack the weight for oneDNN (on the meta device it stays plain), and give its rows the zero point 0."""
        zeros = torch.zeros_like(self.weight_scale, dtype=torch.int32)
        if self.weight.is_meta:
            return self.weight, zeros
        inputs = float(self.input_scale), int(self.input_zero)
        return torch.ops.onednn.qconv_prepack(self.weight, self.weight_scale, *inputs, *self.geometry, None), zeros

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, convolve."""
        weight, zeros = self.ready()
        inputs = (self.quantised(x), self.input_scale, self.input_zero)
        return torch.ops.onednn.qconv_pointwise(
            *inputs, weight, self.weight_scale, zeros, self.bias, *self.geometry, 1.0, 0, torch.float32, "none", [], ""
        )


def quantise(weight: Float[Tensor, "out ..."]) -> tuple[Int8[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Return `q_w = round(W / s_w)` and `s_w = max|W| / 127`, of each row.

    >>> values, scale = quantise(torch.tensor([[127.0, -63.6], [0.5, 1.0]]))
    >>> values.tolist(), scale[0].item()
    ([[127, -64], [64, 127]], 1.0)
    """
    scale = weight.flatten(1).abs().amax(1).clamp_(min=TINY).div_(127)
    return (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round_().to(torch.int8), scale


def int8_layer(dense: nn.Module, static: bool, low: float = 0.0, high: float = 0.0) -> _Int8:
    """Build the int8 layer for `dense`; `low` and `high` are the range of a static layer's inputs."""
    if not static:
        return DynamicLinear(dense)
    return (StaticLinear if isinstance(dense, nn.Linear) else StaticConvolution)(dense, low, high)


def why_float(layer: nn.Module, static: bool) -> str | None:
    """Return the reason why a layer cannot be quantised, or None if it can."""
    if isinstance(layer.weight, Tensor) and layer.weight.dtype != torch.float32:
        return f"its weight is {layer.weight.dtype}; the int8 layers take the place of torch.float32"
    if isinstance(layer, nn.Linear):
        return None
    if not static:
        return "the int8 convolution takes one input scale a call, not one a sample; method=quantise_static has it"
    if getattr(layer, "padding_mode", "zeros") != "zeros" or getattr(layer, "padding", None) == "same":
        how = f"padding={layer.padding!r}, padding_mode={layer.padding_mode}"
        return f"{how}: the int8 convolution pads with equally many zeros at both ends"
    return None


def require_kernels(static: bool) -> None:
    """Raise `ValueError` where torch has no int8 products, or wrong ones: old processors overflow in 16 bits."""
    kinds: list[nn.Module] = [nn.Linear(64, 1)]
    if static:
        if not hasattr(torch.ops.onednn, "qconv_pointwise"):
            raise ValueError("int8 convolutions need a torch built with oneDNN for this CPU; take another method")
        kinds.append(nn.Conv2d(64, 1, 1))
    with torch.no_grad():
        for dense in kinds:
            for parameter in dense.parameters():
                parameter.fill_(1.0)
            inputs = torch.ones(1, 64) if isinstance(dense, nn.Linear) else torch.ones(1, 64, 1, 1)
            if not torch.allclose(int8_layer(dense, static, 0.0, 1.0)(inputs), torch.tensor(65.0)):
                raise ValueError("this processor overflows when it adds int8 products (no VNNI?); take another method")
