"""Count parameters, bytes and multiply-adds of a network, in the same way for both sides of a comparison.

Multiply-adds are those of every operator that runs and multiplies, by the formulas of `torch.utils.flop_counter` (which
counts 2 per multiply-add) and those below. All other operators count as nothing; those that are not known to are named.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from evaluation.example import Example
from evaluation.trial import pass_sample

COUNTING = "every stored parameter, biases and norms included; a multiply-add is 1 MAC"

# Operators without a multiply-add in the sense of this suite: pooling, normalisation, reductions, shape and order.
FREE = frozenset(
    """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d
    avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d
    native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm native_layer_norm
    native_group_norm hardtanh hardswish hardsigmoid leaky_relu elu silu gelu mish softplus threshold
    native_dropout _safe_softmax _softmax _log_softmax mean sum any amax amin max min argmax cumsum cat stack
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d upsample_nearest2d upsample_bilinear2d index_select gather embedding pixel_shuffle
    channel_shuffle flip roll copy _to_copy clone contiguous as_strided transpose squeeze unsqueeze empty
    empty_like empty_strided new_empty zeros zeros_like new_zeros ones ones_like unsafe_split unsafe_chunk full
    full_like arange fill zero lift_fresh _local_scalar_dense _unsafe_view _reshape_alias resize _embedding_bag
    _prelu_kernel _upsample_bilinear2d_aa bernoulli bucketize col2im complex cumprod eye
    fractional_max_pool2d glu grid_sampler_2d im2col index index_add kthvalue linalg_vector_norm linspace
    log_sigmoid_forward logcumsumexp logsumexp masked_fill max_unpool2d median nonzero normal pixel_unshuffle
    prod rand rand_like randn repeat rot90 rrelu_with_noise scalar_tensor scatter scatter_add searchsorted sort
    split std topk tril unbind uniform upsample_bicubic2d var view_as_real where _native_batch_norm_legit cummax
    cummin _unsafe_index affine_grid_generator histc _unique2 linalg_cross argmin index_put new_full
    randn_like nms roi_align""".split()
)


def _product(left: int, right: int) -> Callable[[Any, Any], int]:
    """Return the formula of a matrix times a vector, `2 · numel`, from the places of both arguments."""
    return lambda args, result: 2 * max(args[left].numel(), args[right].numel())


# Operators that multiply and have no formula in torch.
FLOPS: dict[str, Callable[[Any, Any], int]] = {
    "aten.mv": _product(0, 1),
    "aten.addmv": _product(1, 2),
    "aten.dot": _product(0, 1),
    "aten.vdot": _product(0, 1),
    "aten.ger": lambda args, result: 2 * result.numel(),
    "aten.addr": lambda args, result: 2 * result.numel(),
    "aten._cdist_forward": lambda args, result: 2 * result.numel() * args[0].shape[-1],
    "aten.addbmm": lambda args, result: 2 * args[1].numel() * args[2].shape[-1],
    "aten._scaled_dot_product_flash_attention_for_cpu": lambda args, result: _attention(*args[:3]),
    "aten._euclidean_dist": lambda args, result: 2 * result.numel() * args[0].shape[-1],
    "aten._trilinear": lambda args, result: 2 * result.numel() * args[1][0].numel(),
    # A row of a linear recurrence is one product with each weight; of what one sample does at all times.
    "aten.mkldnn_rnn_layer": lambda args, result: 2 * args[0].shape[0] * args[0].shape[1] * _numel(args[1:3]),
    "aten._cudnn_rnn": lambda args, result: 2 * args[0].shape[0] * args[0].shape[1] * _numel(args[1]),
    # Products in int8, by name, because not every build of torch has them. On the meta device the weight, the fourth
    # argument of a convolution, has its plain shape.
    "aten._int_mm": lambda args, result: 2 * args[0].numel() * result.shape[-1],
    "onednn.qconv_pointwise": lambda args, result: 2 * result.numel() * args[3].numel() // args[3].shape[0],
}


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> int:
    """Return the products of queries with keys, and of these with values; the last axes are `(position, feature)`."""
    return 2 * query.numel() * key.shape[-2] + 2 * query[..., 0].numel() * value.shape[-2] * value.shape[-1]


def _numel(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.ndim > 1)


@dataclass(frozen=True)
class Counts:
    """The sizes of a network: stored parameters, bytes of the file of its state, multiply-adds of one sample.

    `num_nonzero` counts the parameters that are not zero. Pruning lowers nothing else: zeros in a dense tensor take as
    many bytes, multiply-adds and milliseconds as other numbers. A parameter counts as one whatever its type; int8
    weights have fewer bytes than float weights. `uncounted` names the operators that count as nothing, where it is not
    known that they multiply nothing.
    """

    num_params: int
    num_nonzero: int
    num_bytes: int
    macs: int
    uncounted: tuple[str, ...] = ()


def count(network: nn.Module, input_shape: Sequence[int]) -> Counts:
    """Count a network for one sample of `input_shape`; raise `ValueError` if it cannot pass one."""
    buffer = io.BytesIO()
    torch.save({k: v.detach().cpu() for k, v in network.state_dict().items()}, buffer)
    parameters, operators = list(network.parameters()), count_operators(network, input_shape)
    return Counts(
        num_params=sum(p.numel() for p in parameters),
        num_nonzero=sum(int(p.detach().count_nonzero()) for p in parameters),
        num_bytes=buffer.tell(),
        macs=operators.macs,
        uncounted=operators.uncounted,
    )


@dataclass(frozen=True)
class OperatorCount:
    """The multiply-adds of one pass, and the names of operators that count as nothing without being known to."""

    macs: int
    uncounted: tuple[str, ...]


def count_operators(
    network: nn.Module, example: Example | Sequence[int], dtype: torch.dtype | None = None
) -> OperatorCount:
    """Count the multiply-adds of one sample in evaluation mode, and name what may multiply and is not counted.

    `example` is what the network gets, or the shape of one sample, of the type of the parameters or `dtype`. Nothing is
    computed where the network passes the meta device (see `trial`). Raises `ValueError` if it cannot pass the sample.
    """
    counters: list[_Counter] = []

    def watch(twin: nn.Module) -> _Counter:
        counters.append(_Counter())
        return counters[-1]

    pass_sample(network, Example.of(example, network, dtype), watch)
    return OperatorCount(counters[-1].flops // 2, tuple(sorted(counters[-1].uncounted)))


def count_macs(network: nn.Module, example: Example | Sequence[int], dtype: torch.dtype | None = None) -> int:
    """Return the multiply-adds alone (see `count_operators`)."""
    return count_operators(network, example, dtype).macs


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.uncounted: set[str] = set()

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
        elif str(packet) in FLOPS:
            self.flops += FLOPS[str(packet)](args, result)
        elif not (packet.__name__.rstrip("_") in FREE or func.is_view or torch.Tag.pointwise in func.tags):
            self.uncounted.add(str(packet))
        return result
