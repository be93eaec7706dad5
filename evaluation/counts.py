"""Count parameters, bytes and multiply-adds of a network, in the same way for both sides of a comparison.

Multiply-adds are those of every operator that runs, by the formulas of `torch.utils.flop_counter` (which counts 2 per
multiply-add). An operator without a formula raises unless it is known to have no multiply-add, so that no layer is ever
counted as nothing.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

COUNTING = "every stored parameter, biases and norms included; a multiply-add is 1 MAC"

# Operators without a multiply-add in the sense of this suite: pooling, normalisation, reductions, shape and creation.
FREE = frozenset(
    """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d
    avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d native_batch_norm
    _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm native_layer_norm native_group_norm
    hardtanh hardswish hardsigmoid leaky_relu elu silu gelu mish softplus threshold native_dropout _safe_softmax
    _softmax _log_softmax mean sum any amax amin max min argmax cumsum cat stack constant_pad_nd reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d upsample_nearest2d
    upsample_bilinear2d index_select gather embedding pixel_shuffle channel_shuffle flip roll copy _to_copy clone
    contiguous as_strided transpose squeeze unsqueeze empty empty_like empty_strided new_empty zeros zeros_like
    new_zeros ones ones_like unsafe_split unsafe_chunk full full_like arange fill zero lift_fresh _local_scalar_dense
    _unsafe_view _reshape_alias resize""".split()
)

# Products in int8, with the formulas of float products; by name, because not every build of torch has them. On the meta
# device the weight, the fourth argument of a convolution, has its plain shape.
INT8_FLOPS = {
    "aten._int_mm": lambda args, result: 2 * args[0].numel() * result.shape[-1],
    "onednn.qconv_pointwise": lambda args, result: 2 * result.numel() * args[3].numel() // args[3].shape[0],
}


@dataclass(frozen=True)
class Counts:
    """The sizes of a network: stored parameters, bytes of the file of its state, multiply-adds of one sample.

    `num_nonzero` counts the parameters that are not zero. Pruning lowers nothing else: zeros in a dense tensor take as
    many bytes, multiply-adds and milliseconds as other numbers. A parameter counts as one whatever its type; int8
    weights have fewer bytes than float weights.
    """

    num_params: int
    num_nonzero: int
    num_bytes: int
    macs: int


def count(network: nn.Module, input_shape: Sequence[int]) -> Counts:
    """Count a network for one sample of `input_shape`; raise `ValueError` for an operator that cannot be counted."""
    buffer = io.BytesIO()
    torch.save({k: v.detach().cpu() for k, v in network.state_dict().items()}, buffer)
    parameters = list(network.parameters())
    return Counts(
        num_params=sum(p.numel() for p in parameters),
        num_nonzero=sum(int(p.detach().count_nonzero()) for p in parameters),
        num_bytes=buffer.tell(),
        macs=count_macs(network, input_shape),
    )


def count_macs(network: nn.Module, input_shape: Sequence[int], dtype: torch.dtype | None = None) -> int:
    """Count the multiply-adds of one sample of `input_shape` in evaluation mode.

    They are counted on the meta device, so nothing is computed. The sample has the type of the floating-point
    parameters, unless `dtype` is given. Raises `ValueError` for an operator that cannot be counted.
    """
    twin = copy.deepcopy(network).to("meta").eval()
    dtype = dtype or next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
    counter = _Counter()
    with torch.no_grad(), counter:
        twin(torch.empty(1, *input_shape, device="meta", dtype=dtype))
    return counter.flops // 2


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and func.has_kernel_for_dispatch_key(
            torch._C.DispatchKey.CompositeImplicitAutograd
        ):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=result)
        elif str(packet) in INT8_FLOPS:
            self.flops += INT8_FLOPS[str(packet)](args, result)
        elif not (packet.__name__.rstrip("_") in FREE or func.is_view or torch.Tag.pointwise in func.tags):
            raise ValueError(
                f"multiply-adds: no formula for the operator {func}; register one with torch.utils.flop_counter"
            )
        return result
