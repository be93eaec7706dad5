"""How a format groups the axes of a weight into modes, and the moment of each mode in a metric.

Where one moment spreads over several modes, it is replaced by the Kronecker product of its partial traces, which has
the same trace, and another metric (see `core.replaced_metric`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decompositions.core.metric import SiteMetric
from decompositions.linalg.moments import Kronecker, partial_trace


@dataclass(frozen=True)
class ModeAxes:
    """How a format groups the axes of a weight into modes.

    `sizes` cut the axes `(out, in, *kernel)` further, `out=8` into `2, 4` for example; `groups` has the indices of
    `sizes` that belong to each mode, in rising order; the first `num_out` sizes are the outputs'.
    """

    sizes: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    num_out: int = 1


def mode_moments(metric: SiteMetric, modes: ModeAxes) -> tuple[ModeAxes, list[Kronecker | None]]:
    """Return the moment of each mode, None for the identity; their Kronecker product has the trace of the metric's.

    The modes are returned with their axes cut where a moment ends inside an axis.
    """
    modes, placed = _placed(metric, modes)
    parts: list[dict[int, tuple[int, Tensor]]] = [{} for _ in modes.groups]  # by its first axis: how many, and what
    for axes, moment in placed:
        touched = [mode for mode, group in enumerate(modes.groups) if set(group) & set(axes)]
        total = moment.trace
        scale = total ** (1 / len(touched) - 1) if total > 0 else 1.0
        sizes = [modes.sizes[axis] for axis in axes]
        for mode in touched:
            kept = [k for k, axis in enumerate(axes) if axis in modes.groups[mode]]
            parts[mode][axes[kept[0]]] = len(kept), partial_trace(moment, sizes, kept) * scale
    return modes, [_joined(part, group, modes.sizes) for part, group in zip(parts, modes.groups, strict=True)]


def is_product(metric: SiteMetric, modes: ModeAxes) -> bool:
    """Return True if the metric is the product of `mode_moments`: each of its moments is over axes of one mode."""
    return not any(
        sum(bool(set(group) & set(axes)) for group in modes.groups) > 1 and not moment.is_multiple_of_identity
        for axes, moment in _placed(metric, modes)[1]
    )


def _joined(parts: dict[int, tuple[int, Tensor]], group: Sequence[int], sizes: Sequence[int]) -> Kronecker | None:
    """Join the parts of one mode; axes without a part have the identity."""
    if not parts:
        return None
    found, axes = list[Tensor](), list(group)
    device = next(iter(parts.values()))[1].device
    while axes:
        ones = torch.ones(sizes[axes[0]], dtype=torch.float64, device=device)
        covered, part = parts.get(axes[0], (1, ones))
        found.append(part)
        axes = axes[covered:]
    return Kronecker(tuple(found))


def _placed(metric: SiteMetric, modes: ModeAxes) -> tuple[ModeAxes, list[tuple[list[int], Kronecker]]]:
    """Return the modes, axes cut where a moment ends inside, and each moment with the axes that it is over."""
    sizes, placed = list[int](), list[tuple[list[int], Kronecker]]()
    starts = [0]  # of each axis, among the pieces
    for axes, moments in ((modes.sizes[: modes.num_out], metric.out), (modes.sizes[modes.num_out :], metric.into)):
        first, (pieces, found) = len(sizes), _placed_side(axes, moments)
        sizes += [size for axis in pieces for size in axis]
        starts += [first + count for count in itertools.accumulate(map(len, pieces))]
        placed += [([first + k for k in over], moment) for over, moment in found]
    groups = tuple(tuple(k for axis in group for k in range(starts[axis], starts[axis + 1])) for group in modes.groups)
    return ModeAxes(tuple(sizes), groups, starts[modes.num_out]), placed


def _placed_side(
    axes: Sequence[int], moments: Sequence[Tensor]
) -> tuple[list[list[int]], list[tuple[list[int], Kronecker]]]:
    """Cut the axes of one side where its moments end; return their pieces, and which pieces each moment is over.

    Where a moment ends at no divisor of an axis, nothing is cut: the product of all moments is over all axes.
    """
    pieces: list[list[int]] = [[] for _ in axes]
    found: list[tuple[list[int], Kronecker]] = []
    axis, left, num = 0, axes[0], 0
    for moment in moments:
        over, side = list[int](), len(moment)
        while side > 1 or not over:
            taken = math.gcd(side, left)
            if taken not in (side, left):
                return [[size] for size in axes], [([*range(len(axes))], Kronecker(tuple(moments)))]
            over.append(num)
            pieces[axis].append(taken)
            side, left, num = side // taken, left // taken, num + 1
            if left == 1 and axis + 1 < len(axes):
                axis, left = axis + 1, axes[axis + 1]
        found.append((over, Kronecker((moment,))))
    return [_with_rest(parts, whole) for parts, whole in zip(pieces, axes, strict=True)], found


def _with_rest(pieces: list[int], whole: int) -> list[int]:
    """Return `pieces` and what they leave of `whole`."""
    rest = whole // math.prod(pieces)
    return [*pieces, rest] if rest > 1 or not pieces else pieces
