"""Multiply by a matrix in tensor-train form in a planned order.

    W(m_1…m_d, n_1…n_d) = G_1(m_1, n_1) … G_d(m_d, n_d),   cores (r_{k−1}, m_k, n_k, r_k)

Neighbouring cores may be merged before the input is touched, and what is left is contracted from either end: single
cores give the classic left-to-right and right-to-left orders, two groups the two half-chains, one group the dense
weight. The best grouping depends on shapes, ranks and the number of rows; there are 2^(d−1) of them, so all are priced
by counted multiply-adds and moved bytes, once, and the plan is kept.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# (r_before, m, n, r_after)
CoreShape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Plan:
    """An order of multiplication: `groups` are the ends of the merged stretches, contracted from the left or the right.

    `chunk` rows are multiplied at a time, so that the state between two steps stays in the cache. `price` is the
    estimated time, in units of a multiply-add, by which the plan was chosen.
    """

    groups: tuple[tuple[int, int], ...]
    from_left: bool
    macs: int
    chunk: int
    price: float = 0.0


@dataclass(frozen=True)
class Prices:
    """The time of a device for one byte moved and one operation started, in units of one multiply-add.

    A byte costs `far` times as much if the state between two steps has more than `cached_bytes`; None: it never does.
    """

    byte: float
    launch: float
    cached_bytes: int | None
    far: float = 1.0


# The CPU's are fitted to measured times of all orders on two cores; CUDA's are guesses, not yet measured.
PRICES = {
    "cpu": Prices(byte=4.0, launch=4e5, cached_bytes=4 * 2**20, far=3.0),
    "cuda": Prices(byte=8.0, launch=2e7, cached_bytes=None),
}
# A pass backward computes, reads and writes about twice as much as the one forward.
WITH_BACKWARD = 3


@functools.lru_cache(maxsize=4096)
def plan(
    shapes: tuple[CoreShape, ...],
    rows: int,
    device_type: str,
    directions: tuple[bool, ...] = (False, True),
    backward: bool = False,
) -> Plan:
    """Return the cheapest way to multiply `rows` vectors by the chain, on a kind of device ("cpu", "cuda").

    `directions` are the allowed values of `from_left`: a chain with an open bond at one end leaves only one. With
    `backward` the pass of the gradients is counted too.

    >>> plan(((1, 4, 4, 2), (2, 4, 4, 1)), rows=1, device_type="cpu").groups  # for one row: core by core
    ((0, 1), (1, 2))
    """
    return min(orders(shapes, rows, device_type, directions, backward), key=lambda order: order.price)


def orders(
    shapes: tuple[CoreShape, ...], rows: int, device_type: str, directions: tuple[bool, ...], backward: bool
) -> list[Plan]:
    """Return every grouping in these directions, with all rows at once and with as many as fit the cache."""
    prices, rows = prices_of(device_type), max(rows, 1)
    found = []
    for cuts in itertools.product((False, True), repeat=len(shapes) - 1):
        ends = [0, *(k + 1 for k, cut in enumerate(cuts) if cut), len(shapes)]
        groups = tuple(itertools.pairwise(ends))
        for from_left in directions:
            macs, moved, widest = _count(shapes, groups, from_left, rows)
            fitting = rows if prices.cached_bytes is None else max(1, min(rows, prices.cached_bytes // (4 * widest)))
            for chunk in {rows, fitting}:
                # What the gradients need is kept for all rows: chunks do not bring it nearer.
                far = prices.far if (rows if backward else chunk) > fitting else 1.0
                byte = prices.byte * far
                launches = 2 * (len(shapes) - len(groups) + len(groups) * -(-rows // chunk))
                price = (macs + byte * moved + prices.launch * launches) * (WITH_BACKWARD if backward else 1)
                found.append(Plan(groups, from_left, macs, chunk, price))
    return found


def prices_of(device_type: str) -> Prices:
    """Return the prices of a kind of device; an unknown one has those of a CPU."""
    return PRICES.get(device_type, PRICES["cpu"])


def sequence_macs(shapes: Sequence[CoreShape], rows: int) -> int:
    """Count the multiply-adds of contracting core by core from the right, without merging."""
    return _count(shapes, [(k, k + 1) for k in range(len(shapes))], False, rows)[0]


def multiply(x: Tensor, cores: Sequence[Tensor], order: Plan) -> Tensor:
    """Multiply every row of `(rows, n)` by the chain of `cores`, in the planned order."""
    groups = [merge(cores[start:end]) for start, end in order.groups]
    if not order.from_left:
        groups.reverse()
    results = []
    for rows in x.split(order.chunk) if order.chunk < x.shape[0] else [x]:
        state, done = rows, 1
        for group in groups:
            state = step(state, group, done, from_left=order.from_left)
            done *= group.shape[1]
        results.append(state)
    return torch.cat(results) if len(results) > 1 else results[0]


def step(state: Tensor, core: Tensor, done: int, *, from_left: bool) -> Tensor:
    """Contract one core with the state: its input mode and the rank next to it go, its output mode comes.

    From the left the state is `(rows, done, rank, n_left)`, `done` being the output modes there are; from the right it
    is `(rows, n_left, rank, done)`. No step moves data: each is a product of one matrix with a stack of matrices.
    """
    before, m, n, after = core.shape
    rows, width = state.shape
    if from_left:
        matrix = core.permute(1, 3, 0, 2).reshape(m * after, before * n)
        stack = state.reshape(rows * done, before * n, width // (done * before * n))  # (rows, done | rank, n | n_left)
    else:
        matrix = core.reshape(before * m, n * after)
        stack = state.reshape(rows * (width // (n * after * done)), n * after, done)  # (rows, n_left | n, rank | done)
    new_width = width // matrix.shape[1] * matrix.shape[0]
    if stack.shape[2] == 1:
        return (stack[:, :, 0] @ matrix.T).reshape(rows, new_width)
    return torch.matmul(matrix, stack).reshape(rows, new_width)


def merge(cores: Sequence[Tensor]) -> Tensor:
    """Merge neighbouring cores into one, `(r_first, M, N, r_last)`."""
    result = cores[0]
    for core in cores[1:]:
        before, m, n, rank = result.shape
        _, m_next, n_next, after = core.shape
        joined = result.reshape(-1, rank) @ core.reshape(rank, -1)  # a plain product: autocast knows it
        joined = joined.reshape(before, m, n, m_next, n_next, after).permute(0, 1, 3, 2, 4, 5)
        result = joined.reshape(before, m * m_next, n * n_next, after)
    return result


def merge_macs(shapes: Sequence[CoreShape]) -> int:
    """Count the multiply-adds of `merge`."""
    return _merge_count(shapes)[1]


def _merge_count(shapes: Sequence[CoreShape]) -> tuple[CoreShape, int, int]:
    """Return the shape of the merged core, the multiply-adds, and how many numbers are written on the way."""
    before, m, n, after = shapes[0]
    macs = written = 0
    for _, m_next, n_next, after_next in shapes[1:]:
        size = before * m * n * m_next * n_next * after_next
        macs += size * after
        written += size
        m, n, after = m * m_next, n * n_next, after_next
    return (before, m, n, after), macs, written


def _count(
    shapes: Sequence[CoreShape], groups: Sequence[tuple[int, int]], from_left: bool, rows: int
) -> tuple[int, int, int]:
    """Return multiply-adds, bytes moved (in float32), and the numbers in the widest state of one row."""
    macs = moved = widest = 0
    merged: list[CoreShape] = []
    for start, end in groups:
        core, merging, written = _merge_count(shapes[start:end])
        merged.append(core)
        macs += merging
        moved += 4 * 4 * written  # written, permuted into place, read again
    done, left = 1, math.prod(n for _, _, n, _ in merged)
    for before, m, n, after in merged if from_left else reversed(merged):
        left //= n
        rank_in, rank_out = (before, after) if from_left else (after, before)
        stacks = rows * done * left
        macs += stacks * rank_in * n * m * rank_out
        moved += 4 * (stacks * (rank_in * n + m * rank_out) + before * m * n * after)
        widest = max(widest, stacks // rows * m * rank_out)
        done *= m
    return macs, moved, widest
