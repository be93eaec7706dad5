"""What a network is called with: a tensor, several, or named ones, as `network(*args, **kwargs)` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Example:
    """One call of a network: positional and named arguments, which hold tensors at any depth.

    `batch_axis` counts the samples; None says that there is one.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    batch_axis: int | None = 0

    @classmethod
    def of(cls, given: Any, network: nn.Module, dtype: torch.dtype | None = None) -> Example:
        """Return what `given` means: an `Example`, a tensor, a tuple of arguments, a dict of named ones, or a shape.

        A shape, that of one sample, gives a batch of one, of random numbers of `dtype` or the type of the parameters.
        Raises `ValueError` for anything else, such as a NumPy array.
        """
        if isinstance(given, Example):
            return given
        if isinstance(given, Tensor | PackedSequence):
            return cls((given,))
        if isinstance(given, Mapping):
            found = cls((), dict(given))
        elif isinstance(given, Sequence) and not isinstance(given, str) and all(type(size) is int for size in given):
            return cls((_of_shape(given, dtype or _type_of(network)),))
        elif isinstance(given, tuple):
            found = cls(given)
        else:
            raise ValueError(f"{_EXPECTED}, got {_kind(given)}")
        if not any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves((found.args, found.kwargs))):
            raise ValueError(f"{_EXPECTED}, got {_kind(given)} without one")
        return found

    def map(self, change: Callable[[Tensor], Any]) -> Example:
        """Return the example with each tensor changed."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs)

    def to(self, device: torch.device | str) -> Example:
        """Return the example with its tensors on `device`; values that were nowhere are zeros."""
        target = torch.device(device)

        def moved(tensor: Tensor) -> Tensor:
            if tensor.is_meta and target.type != "meta":
                return torch.zeros(tensor.shape, dtype=tensor.dtype, device=target)
            return tensor.to(target)

        return self.map(moved)

    def one_sample(self) -> Example:
        """Return a batch of one: every tensor with as many samples as the first, cut to the first sample.

        Packed sequences stay as they are, and all that is beside them.
        """
        axis, leaves = self.batch_axis, pytree.tree_leaves((self.args, self.kwargs))
        packed = any(isinstance(value, PackedSequence) for value in (*self.args, *self.kwargs.values()))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and axis is not None and leaf.ndim > axis]
        if axis is None or packed or not tensors:
            return self
        size = tensors[0].shape[axis]
        return self.map(lambda t: t.narrow(axis, 0, 1) if t.ndim > axis and t.shape[axis] == size and size else t)

    def __call__(self, network: nn.Module) -> Any:
        """Return what the network makes of it."""
        return network(*self.args, **self.kwargs)

    def __str__(self) -> str:
        """Show the shapes of the tensors."""
        shapes = self.map(lambda tensor: tuple(tensor.shape))
        parts = [*map(str, shapes.args), *(f"{name}={value}" for name, value in shapes.kwargs.items())]
        return ", ".join(parts)


_EXPECTED = "example input: expected a tensor, a tuple of arguments or a dict of named ones that hold tensors"


def _kind(given: Any) -> str:
    if type(given).__module__ == "numpy":
        return "a NumPy array; take torch.from_numpy"
    return f"a {type(given).__name__}"


def _type_of(network: nn.Module) -> torch.dtype:
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _of_shape(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        return torch.zeros(1, *shape, dtype=dtype)
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(dtype)
