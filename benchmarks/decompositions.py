"""Decompositions and rank choice against TensorLy and the published code of EVBMF.

python -m benchmarks.decompositions [--rounds 5]        needs the extra: pip install -e '.[bench]'

Every line is a ratio of medians of turns within this process. The work here is all ranks' errors and the factors of one
choice; the peers do what they are made for, one rank. Weights are normal noise, the slowest to fall of all spectra.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorly
import torch
from tensorly.decomposition import parafac, partial_tucker, tensor_train
from torch import Tensor, nn

from benchmarks.ratios import medians, report
from decompositions.core.frontier import Unfolding
from decompositions.core.site import survey
from decompositions.cp import CP
from decompositions.rank_search.vbmf import evbmf_rank
from decompositions.svd import singular_energy
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2


def main() -> None:
    """Print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    tensorly.set_backend("numpy")
    layer = nn.Conv2d(512, 512, 3, padding=1)
    site = survey(nn.Sequential(layer), (512, 14, 14)).sites["0"]
    weight, array = layer.weight.detach(), layer.weight.detach().double().numpy()

    def ours(format: Any, rank: tuple[int, ...]) -> Callable[[], object]:
        def run() -> object:
            analysis = format.analyse(weight)
            return analysis.frontier(site), analysis.decompose(rank)

        return run

    compare(
        "Tucker-2 of 512×512×3×3 without HOOI, all pairs and factors, against one tensorly.partial_tucker (HOSVD)",
        ours(Tucker2(max_sweeps=0), (128, 128)),
        lambda: partial_tucker(array, rank=[128, 128], modes=[0, 1], n_iter_max=1),
        rounds,
        "<= 1/8",
    )
    train = array.transpose(0, 2, 3, 1).reshape(512, 9, 512)
    compare(
        "TT-SVD of 512×512×3×3, ranks along the hull and factors, against one tensorly.tensor_train",
        ours(TT(num_modes=2, modes={"512": [512]}), (128, 128)),
        lambda: tensor_train(train, rank=[1, 128, 128, 1]),
        rounds,
        "<= 1/3",
    )
    matrix = weight.flatten(1)
    compare(
        "EVBMF of a 512×4608 unfolding against the published code's way (numpy's full SVD)",
        lambda: evbmf_rank(unfolding(singular_energy(weight), matrix)),
        lambda: evbmf_rank(unfolding(torch.from_numpy(np.linalg.svd(matrix.numpy())[1]).double().square(), matrix)),
        min(rounds, 3),
        "<= 1/50",
    )
    small = torch.randn(256, 256, 3, 3) / 48
    compare(
        "CP rank 64 of 256×256×3×3 against tensorly.parafac with its defaults",
        lambda: CP().analyse(small).decompose(64),
        lambda: parafac(small.double().numpy(), 64),
        min(rounds, 2),
        "<= 1/30",
    )
    for name, approximation in (
        ("ours", CP().analyse(small).decompose(64).to_tensor()),
        ("tensorly", torch.from_numpy(tensorly.cp_to_tensor(parafac(small.double().numpy(), 64)))),
    ):
        print(f"  relative error, {name}: {float((small - approximation).norm() / small.norm()):.5f}")


def unfolding(energy: Tensor, matrix: Tensor) -> Unfolding:
    """The spectrum of `matrix` for EVBMF."""
    return Unfolding(energy, (matrix.shape[0], matrix.shape[1]))


def compare(title: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int, goal: str) -> None:
    """Time both in turns and print the ratio."""
    seconds = medians({"ours": ours, "peer": peer}, rounds)
    report(title, seconds["ours"], seconds["peer"], f"goal {goal}")


if __name__ == "__main__":
    main()
