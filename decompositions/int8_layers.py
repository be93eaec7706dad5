"""Linear layers and convolutions that multiply in int8 [Jac18], on the CPU.

    W ≈ s_w q_w   with q_w in −127 … 127, one s_w a row (output)        x ≈ s_x (q_x − z)   with q_x in 0 … 255
    y = s_x s_w Σ (q_x − z) q_w + b                                      the sum in int32

`DynamicLinear` finds s_x = max|x| / 127 (z = 128) of each sample in every pass; `StaticLinear` and `StaticConvolution`
have one s_x and z, found before. The products are oneDNN's: the operators to which torch's own compiler lowers
quantised networks, called without the compiler. Inputs are unsigned because for signed ones oneDNN falls back to a
reference loop, hundreds of times slower than float.

[Jac18] Jacob et al., Quantization and training of neural networks for integer-arithmetic-only inference, CVPR 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

ZERO = 128  # the middle of uint8
TINY = 1e-12  # a scale of a row of zeros


class _Int8(nn.Module):
    """Weight, its scales and the bias, as parameters that do not train; the packed weight is made when first needed."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        weight, bias = dense.weight, dense.bias
        assert isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor))
        values, scale = quantise(weight.detach())
        self.weight = nn.Parameter(values, requires_grad=False)
        self.weight_scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self._packed: tuple[Tensor, Tensor] | None = None

    def to_tensor(self) -> Tensor:
        """`s_w q_w`, in the shape of the dense weight."""
        return self.weight * self.weight_scale.view(-1, *[1] * (self.weight.ndim - 1))

    def packed(self) -> tuple[Tensor, Tensor]:
        """The weight as the kernel wants it, and the zero points of its rows; plain shapes on the meta device."""
        if self._packed is None:
            zeros = torch.zeros_like(self.weight_scale, dtype=torch.int32)
            self._packed = (self.pack(), zeros)
        return self._packed

    def pack(self) -> Tensor:
        """A linear weight, packed; the kernel has it transposed."""
        return self.weight.t() if self.weight.is_meta else torch.ops.onednn.qlinear_prepack(self.weight, None)

    @property
    def num_extra_bytes(self) -> int:
        """What is held besides the state once a pass was made: the packed weight, padding of its blocks aside."""
        return 0 if self._packed is None else sum(tensor.numel() * tensor.element_size() for tensor in self._packed)

    def _apply(self, fn: Any, recurse: bool = True) -> _Int8:
        self._packed = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Without the packed weight, which cannot be copied or stored."""
        return self.__dict__ | {"_packed": None}

    def extra_repr(self) -> str:
        """The shape of the weight."""
        return f"{'×'.join(map(str, self.weight.shape))}, bias={self.bias is not None}"


class DynamicLinear(_Int8):
    """A linear layer whose inputs are quantised sample by sample: no output depends on the rest of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, multiply, scale."""
        scale = x.abs().amax(-1, keepdim=True).clamp_(min=TINY).div_(127)
        values = (x / scale).round_().add_(ZERO).to(torch.uint8)
        weight, zeros = self.packed()
        product = torch.ops.onednn.qlinear_pointwise(
            values, 1.0, ZERO, weight, self.weight_scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        ).mul_(scale)
        return product if self.bias is None else product.add_(self.bias)


class _Static(_Int8):
    """A layer whose inputs are taken to lie between `low` and `high`; what lies outside is cut off."""

    def __init__(self, dense: nn.Module, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__(dense)
        low, high = min(low, 0.0), max(high, 0.0)  # zero has to be exact: it is what padding and ReLU make
        scale = max((high - low) / 255, TINY)
        self.input_scale = nn.Parameter(torch.tensor(scale), requires_grad=False)
        self.input_zero = nn.Parameter(torch.tensor(round(-low / scale), dtype=torch.int32), requires_grad=False)

    def quantised(self, x: Tensor) -> Tensor:
        """The inputs in uint8."""
        return (x / self.input_scale).round_().add_(self.input_zero).clamp_(0, 255).to(torch.uint8)


class StaticLinear(_Static):
    """A linear layer with one scale for all inputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, multiply."""
        weight, zeros = self.packed()
        inputs = (self.quantised(x), self.input_scale, self.input_zero)
        return torch.ops.onednn.qlinear_pointwise(
            *inputs, weight, self.weight_scale, zeros, self.bias, 1.0, 0, torch.float32, "none", [], ""
        )


class StaticConvolution(_Static):
    """A convolution with one scale for all inputs; its padding is exact zeros."""

    def __init__(self, dense: nn.Module, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__(dense, low, high)
        assert isinstance(dense, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        padding = [0] * len(dense.stride) if dense.padding == "valid" else list(dense.padding)
        self.geometry = (list(dense.stride), padding, list(dense.dilation), dense.groups)

    def pack(self) -> Tensor:
        """The kernel chooses its layout by the geometry."""
        if self.weight.is_meta:
            return self.weight
        scale, zero = float(self.input_scale), int(self.input_zero)
        return torch.ops.onednn.qconv_prepack(self.weight, self.weight_scale, scale, zero, *self.geometry, None)

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, convolve."""
        weight, zeros = self.packed()
        inputs = (self.quantised(x), self.input_scale, self.input_zero)
        return torch.ops.onednn.qconv_pointwise(
            *inputs, weight, self.weight_scale, zeros, self.bias, *self.geometry, 1.0, 0, torch.float32, "none", [], ""
        )


def quantise(weight: Float[Tensor, "out ..."]) -> tuple[Int8[Tensor, "out ..."], Float[Tensor, " out"]]:
    """`q_w = round(W / s_w)`, `s_w = max|W| / 127` of each row."""
    scale = weight.flatten(1).abs().amax(1).clamp_(min=TINY).div_(127)
    return (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round_().to(torch.int8), scale


def int8_layer(dense: nn.Module, static: bool, low: float = 0.0, high: float = 0.0) -> _Int8:
    """The int8 layer that takes the place of `dense`; `low` and `high` are the range of a static layer's inputs."""
    if not static:
        return DynamicLinear(dense)
    return (StaticLinear if isinstance(dense, nn.Linear) else StaticConvolution)(dense, low, high)


def why_float(layer: nn.Module, static: bool) -> str | None:
    """Why a layer cannot be quantised; None if it can."""
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


def require_kernels() -> None:
    """Raise `ValueError` where torch has no int8 products, or wrong ones: old processors overflow in 16 bits."""
    if not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise ValueError("int8 layers need a torch that is built with oneDNN for the CPU; take another method")
    layer = nn.Linear(64, 1, bias=False)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        if not torch.allclose(StaticLinear(layer, 0.0, 1.0)(torch.ones(1, 64)), torch.tensor(64.0)):
            raise ValueError("this processor overflows when it adds int8 products (it has no VNNI); take another one")
