"""The C step with all ranks enumerated, against a loop of decompositions, one per rank.

    python -m benchmarks.c_step [--rounds 3] [--sampled-ranks 3]

Peers: `numpy.linalg.svd` once per rank; for CUR a pair of `numpy.linalg.pinv` and the products per rank, on the same
columns and rows. For VGG16 the loop is timed at a few evenly spread ranks of each shape and multiplied by the number of
ranks, because the whole of it takes hours; for LeNet300 all of it is run. The stronger peer is the LC toolkit's way:
one `numpy.linalg.svd` in float64 a layer, then a loop over ranks on its singular values; for VGG16 and ResNet-50, with
the ranks that both choose.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from operator import eq
from typing import Any

import numpy as np
import scipy.linalg
import torch
import torchvision
from torch import nn

from benchmarks.ratios import medians, report
from decompositions.core.site import Site
from decompositions.cur import CUR
from decompositions.rank_search.cost import Cost
from decompositions.search.c_step import RankSearch
from decompositions.svd import SVD

LENET300 = [(300, 784), (100, 300), (10, 100)]
# VGG16 for CIFAR-10: thirteen 3×3 convolutions and the 512-512-10 head.
CHANNELS = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
VGG16 = [(o, i * 9) for i, o in pairwise(CHANNELS)] + [(512, 512), (512, 512), (10, 512)]


def main() -> None:
    """Print a ratio for each set of shapes and format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sampled-ranks", type=int, default=3)
    arguments = parser.parse_args()
    cases: list[tuple[str, Any, Callable[[np.ndarray, int | None], float], int]] = [
        ("SVD", SVD(), svd_loop, 5),
        ("CUR", CUR(), cur_loop, 50),
    ]
    for shapes_name, shapes, sampled in (("LeNet300", LENET300, None), ("VGG16", VGG16, arguments.sampled_ranks)):
        matrices = [np.random.default_rng(0).standard_normal(shape) / 30 for shape in shapes]
        sites = {str(i): Site(str(i), nn.Linear(s[1], s[0], bias=False), (((1,), (1,)),)) for i, s in enumerate(shapes)}
        weights = {str(i): torch.from_numpy(m).float() for i, m in enumerate(matrices)}
        for format_name, format, loop, goal in cases:
            c_step = partial(RankSearch(sites, format, Cost(1.0)), weights, 1e-2)
            ours = medians({"ours": c_step}, arguments.rounds)["ours"]
            peer = sum(loop(matrix, sampled) for matrix in matrices)
            scaled = "" if sampled is None else f" (loop timed at {sampled} ranks a layer and scaled)"
            report(f"C step of {shapes_name}, {format_name}{scaled}", ours, peer, f"goal <= 1/{goal}")
    for shapes_name, shapes in (("VGG16", VGG16), ("ResNet-50", resnet50_shapes())):
        against_lc_toolkit(shapes_name, shapes, arguments.rounds)


def resnet50_shapes() -> list[tuple[int, int]]:
    """Return the shapes of ResNet-50's weights as matrices."""
    return [(len(p), p[0].numel()) for p in torchvision.models.resnet50().parameters() if p.ndim > 1]


def against_lc_toolkit(name: str, shapes: Sequence[tuple[int, ...]], rounds: int) -> None:
    """Frontier, choice and factors of all layers against one SVD a layer and a loop over its ranks."""
    matrices = [np.random.default_rng(k).standard_normal(shape).astype(np.float32) for k, shape in enumerate(shapes)]
    for matrix in matrices:  # a falling spectrum, as trained weights have
        matrix *= np.geomspace(1, 0.03, matrix.shape[1], dtype=np.float32)
    sites = {str(i): Site(str(i), nn.Linear(s[1], s[0], bias=False), (((1,), (1,)),)) for i, s in enumerate(shapes)}
    weights = {str(i): torch.from_numpy(matrix) for i, matrix in enumerate(matrices)}
    svd: Any = SVD()
    search = RankSearch(sites, svd, Cost(LC_WEIGHT, "params", relative=False))
    seconds = medians({"ours": lambda: search(weights, 1.0), "peer": lambda: lc_toolkit(matrices)}, rounds)
    ours, theirs = [*search(weights, 1.0).ranks.values()], [rank for rank, _, _ in lc_toolkit(matrices)]
    equal, factorised = sum(map(eq, ours, theirs)), sum(rank is not None for rank in ours)
    what = f"{equal}/{len(ours)} equal ranks, {factorised} layers factorised"
    report(
        f"C step of {name}, SVD, against the LC toolkit's way ({what})",
        seconds["ours"],
        seconds["peer"],
        "goal <= 1/10",
    )


# Of a parameter: with it most layers take a rank between the smallest and the dense one.
LC_WEIGHT = 0.05


def lc_toolkit(matrices: list[np.ndarray]) -> list[tuple[int | None, np.ndarray, np.ndarray]]:
    """Rank and factors of each matrix: argmin over ranks of cost and error, dense where that is no dearer."""
    results = []
    for matrix in matrices:
        rows, columns = matrix.shape
        u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        best, rank = LC_WEIGHT * rows * columns, None
        for r in range(1, -(-rows * columns // (rows + columns))):
            objective = LC_WEIGHT * r * (rows + columns) + 0.5 * float(np.sum(s[r:] ** 2))
            if objective < best:
                best, rank = objective, r
        kept = 0 if rank is None else rank
        root = np.sqrt(s[:kept])
        results.append((rank, (u[:, :kept] * root).astype(np.float32), (root[:, None] * v[:kept]).astype(np.float32)))
    return results


def svd_loop(matrix: np.ndarray, sampled: int | None) -> float:
    """Seconds of one full SVD and the error of its truncation per rank."""

    def error(rank: int) -> float:
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        return float(np.sum((matrix - u[:, :rank] * s[:rank] @ v[:rank]) ** 2))

    return timed_loop(error, useful_ranks(matrix), sampled)


def cur_loop(matrix: np.ndarray, sampled: int | None) -> float:
    """Seconds of two pseudo-inverses and the error of `C C⁺ W R⁺ R` per rank, once columns and rows are ordered."""
    columns = scipy.linalg.qr(matrix, mode="r", pivoting=True)[1]
    rows = scipy.linalg.qr(matrix.T, mode="r", pivoting=True)[1]

    def error(rank: int) -> float:
        c, r = matrix[:, columns[:rank]], matrix[rows[:rank]]
        middle = np.linalg.pinv(c) @ matrix @ np.linalg.pinv(r)
        return float(np.sum((matrix - c @ middle @ r) ** 2))

    return timed_loop(error, useful_ranks(matrix), sampled)


def useful_ranks(matrix: np.ndarray) -> list[int]:
    """The ranks that are smaller than the dense matrix: what our frontier enumerates."""
    out, width = matrix.shape
    return list(range(1, -(-out * width // (out + width))))


def timed_loop(error, ranks: list[int], sampled: int | None) -> float:
    """Seconds of `error` over all ranks, or over `sampled` of them scaled to all."""
    chosen = ranks if sampled is None else [ranks[round(i)] for i in np.linspace(0, len(ranks) - 1, sampled)]
    start = time.perf_counter()
    for rank in chosen:
        error(rank)
    return (time.perf_counter() - start) * len(ranks) / len(chosen)


if __name__ == "__main__":
    main()
