"""CP against TensorLy, exact tensors and the degenerate tensor of the textbooks."""

from __future__ import annotations

import warnings

import pytest
import tensorly
import torch
from tensorly.decomposition import parafac
from torch import nn

from decompositions.core.low_rank import TwoFactors
from decompositions.cp import CP, CPAnalysis
from decompositions.linalg import cp_als
from tests.decompositions.weights import site_of, weight_of


def planted(sizes: tuple[int, ...], rank: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return cp_als.to_tensor([torch.randn(size, rank, dtype=torch.float64, generator=generator) for size in sizes])


def relative_error(weight: torch.Tensor, factors) -> float:
    return float((weight - factors.to_tensor()).norm() / weight.norm())


@pytest.mark.parametrize("sizes", [(9, 8, 7), (6, 5, 3, 3), (12, 4, 9)], ids=str)
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_a_planted_tensor_is_found(sizes, rank):
    tensor = planted(sizes, rank)
    found = CPAnalysis(tensor, CP(sweeps=200), tensor, 1.0).fitted(rank)
    assert float((cp_als.to_tensor(found) - tensor).norm() / tensor.norm()) < 1e-3


@pytest.mark.parametrize("kernel", ["separable", "joint"])
def test_errors_are_near_tensorlys(kernel):
    """TensorLy's `parafac` with its defaults: 100 sweeps from an SVD."""
    weight = planted((16, 12, 3, 3), 10) + 0.3 * weight_of((16, 12, 3, 3))
    format = CP(kernel)
    sizes = format.sizes(tuple(weight.shape))
    tensorly.set_backend("numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorLy warns of ranks above a mode's size, which CP may have
        theirs = tensorly.cp_to_tensor(parafac(weight.reshape(sizes).numpy(), 10, random_state=0))
    ours = relative_error(weight, format.analyse(weight).decompose(10))
    assert ours <= float((weight.reshape(sizes) - torch.from_numpy(theirs)).norm() / weight.norm()) * 1.02


def test_the_error_falls_along_the_grid_and_ends_at_zero():
    weight = weight_of((8, 6, 3, 3))
    analysis = CP().analyse(weight)
    frontier = analysis.frontier(site_of((8, 6, 3, 3)), min_rank=0)
    errors = frontier.squared_error[:-1]
    assert float(errors[0]) == pytest.approx(float(weight.square().sum())), "rank 0 loses all"
    assert (errors.diff() < 0).all()
    full = frontier.allowed[0][1]
    assert full == 54, "inputs times kernel: fewer than outputs times kernel or outputs times inputs times 3"
    assert relative_error(weight, analysis.decompose(full)) < 1e-12


@pytest.mark.parametrize("rank", [3, 5, 7, 13])
def test_a_rank_gives_the_same_factors_whatever_was_asked_before(rank):
    weight = weight_of((8, 6, 3, 3))
    asked = CP().analyse(weight)
    asked.frontier(site_of((8, 6, 3, 3)))
    for first, second in zip(asked.decompose(rank).factors, CP().analyse(weight).decompose(rank).factors, strict=True):
        assert torch.equal(first, second)


def test_one_depthwise_convolution_a_kernel_axis_or_one_for_all():
    weight = weight_of((6, 4, 3, 2, 3))
    dense = nn.Conv3d(4, 6, (3, 2, 3), stride=(2, 1, 3), padding=1)
    kernels = {
        name: [tuple(part.kernel_size) for part in CP(name).layer(dense, CP(name).analyse(weight.float()).decompose(5))]
        for name in ("separable", "joint")
    }
    assert kernels["separable"] == [(1, 1, 1), (3, 1, 1), (1, 2, 1), (1, 1, 3), (1, 1, 1)]
    assert kernels["joint"] == [(1, 1, 1), (3, 2, 3), (1, 1, 1)]
    assert CP("joint").zeros(weight, 5).num_params == 5 * (6 + 4 + 18)
    assert CP().zeros(weight, 5).num_params == 5 * (6 + 4 + 3 + 2 + 3)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1, 1)], ids=str)
def test_a_matrix_has_the_exact_answer(shape):
    assert isinstance(CP().analyse(weight_of(shape)).decompose(3), TwoFactors)
