"""Sums of outer products of a layer's inputs: one matrix, or two for a layer with so many inputs that one is too large.

    whole       G = Σ x xᵀ
    two         G_c ⊗ G_p,   x as channel × position:   G_c = Σ x xᵀ / √tr,   G_p = Σ xᵀ x / √tr,   tr = Σ ‖x‖²

The two are the partial traces of the whole, and have its trace. The positions are those of a convolution's kernel, or
of the feature map that was flattened before a linear layer. Where no such map is known, as for the pixels of a video
frame, the inputs are cut into the two sides that are nearest to each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from decompositions.core.metric import Batches, Reduce
from decompositions.core.site import Site
from decompositions.metrics.passes import count_over_processes, run_inputs, watching
from decompositions.metrics.patches import patches_in_parts

# A layer with more inputs than `max_side` gets two moments. One of this side has 0.5 GiB.
MAX_SIDE = 8192


@dataclass
class SecondMoments:
    """The sums of one layer, whose inputs have the `sides` (channels, positions), or (inputs)."""

    sides: tuple[int, ...]
    sums: list[Tensor] = field(default_factory=list)
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))  # the sum of the inputs
    num_positions: int = 0

    def add(self, rows: Tensor) -> None:
        """Add the vectors `(position, input)`."""
        if not self.sums:
            self.sums = [rows.new_zeros(side, side) for side in self.sides]
            self.total = rows.new_zeros(rows.shape[1])
        if len(self.sides) == 1:
            self.sums[0].addmm_(rows.T, rows)
        else:
            tensor = rows.reshape(-1, *self.sides)
            for axis, moment in enumerate(self.sums):
                unfolded = tensor.movedim(1 + axis, 0).flatten(1)
                moment.addmm_(unfolded, unfolded.T)
        self.total += rows.sum(0)
        self.num_positions += len(rows)

    def joined(self, all_reduce: Reduce) -> SecondMoments:
        """Return the sums over all processes."""
        sums = [all_reduce(moment) for moment in self.sums]
        return SecondMoments(
            self.sides, sums, all_reduce(self.total), count_over_processes(self.num_positions, all_reduce)
        )

    @property
    def mean(self) -> Tensor:
        """Return the mean input."""
        return self.total / self.num_positions

    def moments(self, num_samples: int, shrinkage: float, *, centred: bool = False) -> tuple[Tensor, ...]:
        """Return `Σ x xᵀ / samples`, or that of `x − x̄`; `shrinkage` as in `shrunk`."""
        sums = self.sums
        if centred:
            mean = self.mean.reshape(self.sides)
            for_axis = [mean.movedim(axis, 0).reshape(side, -1) for axis, side in enumerate(self.sides)]
            sums = [s - self.num_positions * m @ m.T for s, m in zip(sums, for_axis, strict=True)]
        scale = math.sqrt(max(float(sums[0].trace()) * num_samples, 1e-300)) if len(sums) > 1 else num_samples
        return tuple(shrunk(moment / scale, shrinkage) for moment in sums)


def shrunk(moment: Tensor, share: float) -> Tensor:
    """Return `(1 − ρ) G + ρ tr(G)/n · I`: mix in the identity of the same trace."""
    if share == 0:
        return moment
    identity = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    return (1 - share) * moment + share * moment.trace() / len(moment) * identity


def input_moments(
    network: nn.Module,
    sites: Mapping[str, Site],
    batches: Batches,
    num_samples: int,
    max_side: int,
    all_reduce: Reduce,
) -> tuple[dict[str, SecondMoments], int]:
    """Return the sums of every layer that is called, and the number of samples, from one pass over the inputs."""
    collector = Collector(max_side)
    with collector.watching(network, sites):
        samples = run_inputs(network, batches, num_samples)
    return collector.joined(all_reduce), count_over_processes(samples, all_reduce)


@dataclass
class Collector:
    """Sums up the inputs of layers, by name."""

    max_side: int
    sums: dict[str, SecondMoments] = field(default_factory=dict)
    _maps: set[tuple[int, ...]] = field(default_factory=set)  # the shapes of feature maps, without the batch

    @contextmanager
    def watching(self, network: nn.Module, sites: Mapping[str, Site]) -> Iterator[None]:
        """Sum inside the block."""
        handles = [module.register_forward_hook(self._note_map) for module in network.modules()]
        try:
            with watching(sites, self.see):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def joined(self, all_reduce: Reduce) -> dict[str, SecondMoments]:
        """Return the sums of all processes."""
        return {name: sums.joined(all_reduce) for name, sums in self.sums.items()}

    def see(self, name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        """Add the inputs of one call."""
        if name not in self.sums:
            weight = layer.weight
            assert isinstance(weight, Tensor)
            self.sums[name] = SecondMoments(self._sides(name, weight.shape[1:]))
        for rows in patches_in_parts(layer, x, y):
            self.sums[name].add(rows)

    def _note_map(self, module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim > 2:
            self._maps.add(tuple(output.shape[1:]))

    def _sides(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        side = math.prod(shape)
        if side <= self.max_side:
            return (side,)
        maps = [tuple(shape)] if len(shape) > 1 else [known for known in self._maps if math.prod(known) == side]
        known = {(each[0], math.prod(each[1:])) for each in maps}
        largest = next(k for k in range(math.isqrt(side), 0, -1) if side % k == 0)
        sides = known.pop() if len(known) == 1 else (side // largest, largest)  # of two branches neither is sure
        if max(sides) > self.max_side:
            raise ValueError(
                f"metric: layer {name} has {side} inputs, more than max_side={self.max_side}, and the two factors "
                f"{sides[0]} and {sides[1]} are no smaller; raise max_side, or take metric=activation"
            )
        return sides
