"""Every format of conf/decomposition: exact frontiers, faithful layers, right answers for awkward weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import tensorly
import torch
import yaml
from hydra.utils import instantiate
from torch import nn

from decompositions.cur import CUR
from decompositions.site import Site
from decompositions.svd import SVD, singular_energy

FILES = sorted((Path(__file__).parents[2] / "conf" / "decomposition").glob("*.yaml"))
FORMATS = {path.stem: instantiate(yaml.safe_load(path.read_text())) for path in FILES}
SHAPES = [(12, 20), (20, 12), (1, 9), (9, 1), (13, 13), (8, 5, 3), (6, 4, 3, 3), (7, 3, 2, 3, 2)]


def layer_of(shape: tuple[int, ...], **options) -> nn.Module:
    kind = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
    layer = kind(shape[1], shape[0], *([shape[2:]] if len(shape) > 2 else []), **options)
    return layer.double()


def weight_of(shape: tuple[int, ...], rank: int | None = None, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    matrix = torch.randn(shape[0], int(np.prod(shape[1:])), dtype=torch.float64, generator=generator)
    if rank is not None:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        matrix = u[:, :rank] * s[:rank] @ v[:rank]
    return (matrix * scale).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("name", FORMATS)
def test_frontier_gives_the_error_that_the_factors_have(name, shape, scale):
    weight = weight_of(shape, scale=scale)
    site = Site("layer", layer_of(shape), positions=3)
    frontier = FORMATS[name].frontier(weight, site)
    norm = float(weight.square().sum())
    assert frontier.squared_norm == pytest.approx(norm, rel=1e-9)
    for i in range(len(frontier) - 1):
        factors = FORMATS[name].decompose(weight, frontier.rank(i))
        error = float((weight - factors.to_tensor()).square().sum())
        assert float(frontier.squared_error[i]) == pytest.approx(error, rel=1e-6, abs=1e-12 * norm)
        assert int(frontier.num_params[i]) == factors.num_params + site.num_bias
        assert int(frontier.macs[i]) == factors.num_params * 3
        assert factors.num_params + site.num_bias < site.num_params
    assert frontier.rank(len(frontier) - 1) is None
    assert float(frontier.squared_error[-1]) == 0
    assert int(frontier.num_params[-1]) == site.num_params
    assert int(frontier.macs[-1]) == site.macs
    assert (frontier.squared_error.diff() <= 0).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_svd_is_the_best_of_its_rank(shape):
    """Against NumPy's singular values and TensorLy's truncated SVD, which share no code with ours."""
    weight = weight_of(shape)
    matrix = weight.reshape(shape[0], -1).numpy()
    sigma = np.linalg.svd(matrix, compute_uv=False)
    assert singular_energy(weight).numpy() == pytest.approx(sigma**2, rel=1e-9, abs=1e-12)
    for rank in range(1, min(matrix.shape) + 1):
        u, s, v = tensorly.tenalg.svd_interface(matrix, n_eigenvecs=rank, method="truncated_svd")
        ours = SVD().decompose(weight, rank).to_tensor().reshape(matrix.shape).numpy()
        assert ours == pytest.approx((u * s) @ v, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cur_is_made_of_columns_and_the_best_middle(shape):
    """Against pseudo-inverses, rank by rank."""
    weight = weight_of(shape)
    matrix = weight.reshape(shape[0], -1).numpy()
    for rank in range(1, min(matrix.shape) + 1):
        factors = CUR().decompose(weight, rank)
        left = factors.left.numpy()
        columns = [int(np.argmin(np.abs(matrix - left[:, [i]]).sum(0))) for i in range(rank)]
        assert len(set(columns)) == rank
        assert left == pytest.approx(matrix[:, columns], abs=1e-14)
        # C C⁺ W R⁺ R by pseudo-inverses, R being the first rows of the pivoted order.
        rows = matrix[scipy.linalg.qr(matrix.T, mode="r", pivoting=True)[1][:rank]]
        best = left @ np.linalg.pinv(left) @ matrix @ np.linalg.pinv(rows) @ rows
        assert factors.to_tensor().reshape(matrix.shape).numpy() == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cur_never_beats_svd_at_equal_rank(shape):
    weight, site = weight_of(shape), Site("layer", layer_of(shape), 1)
    svd, cur = SVD().frontier(weight, site), CUR().frontier(weight, site)
    assert len(svd) == len(cur)
    assert (cur.squared_error >= svd.squared_error * (1 - 1e-9) - 1e-12).all()
    if len(svd) > 2:
        assert (cur.squared_error > svd.squared_error * 1.001).any()  # it would not be CUR


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3, 3)], ids=str)
def test_rank_deficient_and_zero_weights(name, shape):
    site = Site("layer", layer_of(shape), 1)
    weight = weight_of(shape, rank=2)
    frontier = FORMATS[name].frontier(weight, site)
    at_two = next(i for i in range(len(frontier)) if frontier.rank(i) == 2)
    assert float(frontier.squared_error[at_two]) <= 1e-12 * frontier.squared_norm
    for rank in (1, 2, 3):
        assert FORMATS[name].decompose(weight, rank).to_tensor().isfinite().all()
    assert torch.allclose(FORMATS[name].decompose(weight, 3).to_tensor(), weight, atol=1e-7)
    zero = torch.zeros(shape, dtype=torch.float64)
    assert FORMATS[name].decompose(zero, 2).to_tensor().abs().max() == 0
    assert FORMATS[name].frontier(zero, site).squared_error.max() == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(name, bad):
    weight = weight_of((5, 6))
    weight[2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        FORMATS[name].frontier(weight, Site("layer", layer_of((5, 6)), 1))
    with pytest.raises(ValueError, match="NaN or infinite"):
        FORMATS[name].decompose(weight, 2)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rank", [-1, 6, (2, 2)])
def test_impossible_ranks_are_refused(name, rank):
    with pytest.raises(ValueError, match="from 0 to 5"):
        FORMATS[name].decompose(weight_of((5, 6)), rank)


GEOMETRIES = [
    dict(zip(("stride", "padding", "dilation", "padding_mode", "bias"), values, strict=True))
    for values in itertools.product(
        [1, 2, (1, 2)], [0, 1, (2, 1), "same", "valid"], [1, (2, 1)], ["zeros", "circular", "reflect"], [True, False]
    )
    if not (values[1] == "same" and values[0] != 1)
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3)], ids=str)
def test_layer_equals_dense_layer_with_the_reconstructed_weight(name, kernel):
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for options in GEOMETRIES:
        dense = layer_of((6, 4, *kernel), **options)
        for rank in (0, 1, 3):
            factors = FORMATS[name].decompose(dense.weight.detach(), rank)
            layer = FORMATS[name].layer(dense, factors)
            with torch.no_grad():
                dense.weight.copy_(factors.to_tensor())
                expected, got = dense(x), layer(x)
            assert got.shape == expected.shape, options
            assert torch.allclose(got, expected, atol=1e-10), options
            num_bias = 0 if dense.bias is None else 6
            assert sum(p.numel() for p in layer.parameters()) == factors.num_params + num_bias, options


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("shape", "size"), [((6, 4), (5, 4)), ((6, 4, 3), (2, 4, 9)), ((6, 4, 2, 3, 2), (2, 4, 5, 6, 5))]
)
@pytest.mark.parametrize("rank", [0, 2])
def test_layer_in_other_dimensions(name, shape, size, rank):
    dense = layer_of(shape)
    factors = FORMATS[name].decompose(dense.weight.detach(), rank)
    layer, x = FORMATS[name].layer(dense, factors), torch.randn(size, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(factors.to_tensor())
        assert torch.allclose(layer(x), dense(x), atol=1e-10)


@pytest.mark.parametrize("name", FORMATS)
def test_zeros_have_the_shapes_of_the_factors(name):
    weight = weight_of((6, 4, 3, 3)).float()
    real, empty = FORMATS[name].decompose(weight, 3), FORMATS[name].zeros(weight, 3)
    assert real.num_params == empty.num_params
    assert empty.to_tensor().abs().sum() == 0
    assert empty.to_tensor().shape == weight.shape
    assert empty.to_tensor().dtype == real.to_tensor().dtype == torch.float32


@pytest.mark.parametrize("name", FORMATS)
def test_factors_of_a_low_rank_weight_can_be_trained(name):
    """No direction may be stuck: whatever the weight, the gradient moves the product of the factors."""
    dense = layer_of((6, 8)).float()
    for weight in (weight_of((6, 8)).float(), weight_of((6, 8), rank=1).float()):
        factors = FORMATS[name].decompose(weight, 2)
        layer = FORMATS[name].layer(dense, factors)
        assert torch.allclose(
            factors.to_tensor(), FORMATS[name].decompose(weight.double(), 2).to_tensor().float(), atol=1e-5
        )
        layer(torch.randn(3, 8)).square().sum().backward()
        first, second = (p.grad for p in layer.parameters() if p.ndim == 2)
        assert first.abs().max() > 1e-3
        assert second.abs().max() > 1e-3


def test_a_direction_without_energy_can_still_be_trained():
    """One factor is zero and the other is not: the first can grow."""
    for weight in (torch.zeros(5, 7), weight_of((5, 7), rank=1).float()):
        factors = SVD().decompose(weight, 3)
        norms = torch.maximum(factors.left.norm(dim=0), factors.right.norm(dim=1))
        assert norms.min() > 1e-3
        assert factors.to_tensor().isfinite().all()
