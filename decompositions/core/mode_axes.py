"""How a format groups the axes of a weight into modes, and the moment of each mode in a metric.

Where one moment spreads over several modes, it is replaced by the Kronecker product of its partial traces, which has
the same trace.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decompositions.core.metric import SiteMetric
from decompositions.linalg.moments import Kronecker, partial_trace, trace


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
        total = trace(moment)
        scale = total ** (1 / len(touched) - 1) if total > 0 else 1.0
        sizes = [modes.sizes[axis] for axis in axes]
        for mode in touched:
            kept = [k for k, axis in enumerate(axes) if axis in modes.groups[mode]]
            parts[mode][axes[kept[0]]] = len(kept), partial_trace(moment, sizes, kept) * scale
    return modes, [_joined(part, group, modes.sizes) for part, group in zip(parts, modes.groups, strict=True)]


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


def _placed(metric: SiteMetric, modes: ModeAxes) -> tuple[ModeAxes, list[tuple[list[int], Tensor]]]:
    """Return the modes, axes cut where a moment ends inside, and each moment with the axes that it is over."""
    pieces: list[list[int]] = [[] for _ in modes.sizes]
    placed: list[tuple[list[tuple[int, int]], Tensor]] = []  # axis and piece
    for first, moments in ((0, metric.out), (modes.num_out, metric.into)):
        axis, left = first, modes.sizes[first]
        for moment in moments:
            axes, side = list[tuple[int, int]](), len(moment)
            while side > 1 or not axes:
                taken = math.gcd(side, left)
                if taken not in (side, left):
                    raise ValueError(
                        f"metric: its moments have the sides {[len(m) for m in moments]}, which fit no modes of sizes "
                        f"{modes.sizes}; cut the modes there, or take metric=activation"
                    )
                axes.append((axis, len(pieces[axis])))
                pieces[axis].append(taken)
                side, left = side // taken, left // taken
                if left == 1 and axis + 1 < len(modes.sizes):
                    axis, left = axis + 1, modes.sizes[axis + 1]
            placed.append((axes, moment))
    cut = [_with_rest(sizes, whole) for sizes, whole in zip(pieces, modes.sizes, strict=True)]
    starts = [0, *itertools.accumulate(len(sizes) for sizes in cut)]
    groups = tuple(tuple(k for axis in group for k in range(starts[axis], starts[axis + 1])) for group in modes.groups)
    sizes = tuple(size for sizes in cut for size in sizes)
    found = [([starts[axis] + piece for axis, piece in axes], moment) for axes, moment in placed]
    return ModeAxes(sizes, groups, starts[modes.num_out]), found


def _with_rest(pieces: list[int], whole: int) -> list[int]:
    """Return `pieces` and what they leave of `whole`."""
    rest = whole // math.prod(pieces)
    return [*pieces, rest] if rest > 1 or not pieces else pieces
