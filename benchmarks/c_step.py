"""The C step with all ranks enumerated, against a loop of decompositions, one per rank.

    python -m benchmarks.c_step [--rounds 3] [--sampled-ranks 3]

Peers: `numpy.linalg.svd` once per rank; for CUR a pair of `numpy.linalg.pinv` and the products per rank, on the same
columns and rows. For VGG16 the loop is timed at a few evenly spread ranks of each shape and multiplied by the number of
ranks, because the whole of it takes hours; for LeNet300 all of it is run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import nn

from benchmarks.ratios import medians, report
from decompositions.c_step import RankSearch
from decompositions.cur import CUR
from decompositions.rank_search.cost import Cost
from decompositions.site import Site
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
