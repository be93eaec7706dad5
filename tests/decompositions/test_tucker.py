"""Full Tucker against NumPy's SVDs for every rank tuple, and TensorLy's HOOI."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import tucker

from decompositions.core.frontier import as_modes
from decompositions.tucker import MAX_TUPLES, Tucker, _block_sums, _grid, _spread, _tail_sums
from decompositions.tucker2 import Tucker2
from tests.decompositions.weights import site_of, weight_of

SHAPES = [(12, 20), (8, 9), (1, 12), (7, 6)]
THREE = Tucker(num_modes=3)


def error_of(weight: torch.Tensor, approximation: torch.Tensor | np.ndarray) -> float:
    return float(np.sum((weight.numpy() - np.asarray(approximation)) ** 2))


def modes(format: Tucker, weight: torch.Tensor) -> tuple[int, ...]:
    out, into = format.split(weight.shape)
    return (*out, *into)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_tuple_has_the_error_of_truncated_hosvd_and_the_frontier_is_their_pareto_set(shape):
    """The grid of small modes has all ranks: brute force over them, the projections by NumPy's SVDs."""
    format, weight, site = Tucker(max_sweeps=0), weight_of(shape), site_of(shape)
    sizes = modes(format, weight)
    analysis = format.analyse(weight)
    frontier = analysis.frontier(site)
    promised = {frontier.rank(i): float(frontier.squared_error[i]) for i in range(len(frontier) - 1)}
    tensor = weight.numpy().reshape(sizes)
    full = [np.linalg.svd(np.moveaxis(tensor, k, 0).reshape(size, -1))[0] for k, size in enumerate(sizes)]
    points = {}
    for ranks in itertools.product(*(range(1, size + 1) for size in sizes)):
        bases = [basis[:, :rank] for basis, rank in zip(full, ranks, strict=True)]
        if ranks in promised or sum(ranks) % 5 == 0:
            error = error_of(weight, analysis.decompose(ranks).to_tensor())
            projected = tensorly.tenalg.multi_mode_dot(tensor, [basis @ basis.T for basis in bases])
            assert error == pytest.approx(error_of(weight, projected.reshape(shape)), rel=1e-6, abs=1e-9)
            if ranks in promised:
                assert promised[ranks] == pytest.approx(error, rel=1e-9, abs=1e-12)
        core = tensorly.tenalg.multi_mode_dot(tensor, [basis.T for basis in bases])
        params, macs = (int(n) for n in format.count(site, as_modes(ranks)))
        if params < site.num_params:
            points[ranks] = (params, macs, float((tensor**2).sum() - (core**2).sum()))
    best = set()
    for ranks, (params, macs, error) in points.items():
        others = [point for other, point in points.items() if other != ranks]
        by_params = all(error < e for p, _, e in others if p <= params)
        by_macs = macs < site.macs and all(error < e for _, m, e in others if m <= macs)
        if by_params or by_macs:
            best.add(ranks)
    assert set(promised) == best


@pytest.mark.parametrize(
    "format",
    [Tucker(num_modes=3, max_sweeps=0), Tucker(max_sweeps=0, modes={"320": [320], "300": [2, 150]})],
    ids=["6", "3"],
)
def test_promises_on_a_coarse_grid_are_exact_too(format):
    """Blocks of the core between the ranks of the grid, summed and cumulated, against each decomposition."""
    weight, site = weight_of((300, 320)), site_of((300, 320))
    sizes = modes(format, weight)
    assert any(len(ranks) < size for ranks, size in zip(_grid(sizes, 1), sizes, strict=True))
    analysis = format.analyse(weight)
    frontier = analysis.frontier(site)
    for i in range(0, len(frontier) - 1, max(1, len(frontier) // 15)):
        error = error_of(weight, analysis.decompose(frontier.rank(i)).to_tensor())
        assert float(frontier.squared_error[i]) == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_a_weight_of_low_rank_has_no_error_of_rounding(scale):
    """A Kronecker product is rank 1 in the modes that it was made of, up to the 1e-32 of squared rounding."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(*s, dtype=torch.float64, generator=generator) for s in ((4, 4), (8, 9)))
    weight = torch.einsum("im,jn->ijmn", a[:, :1] @ a[:1], b[:, :2] @ b[:2]).reshape(32, 36) * scale
    format = Tucker(modes={"32": [4, 8], "36": [4, 9]})
    frontier = format.analyse(weight).frontier(site_of((32, 36)))
    exact = (frontier.ranks >= torch.tensor([1, 2, 1, 2])).all(1).nonzero()[:, 0].tolist()
    assert frontier.rank(exact[0]) == (1, 2, 1, 2)
    assert float(frontier.squared_error[exact].max()) < 1e-26 * frontier.squared_norm
    assert torch.allclose(format.analyse(weight).decompose((1, 2, 1, 2)).to_tensor(), weight, rtol=1e-9)


@pytest.mark.parametrize(("shape", "num_modes"), [((12, 20), 2), ((36, 20), 2), ((24, 30), 3)])
def test_hooi_is_as_good_as_tensorly_and_never_worse_than_hosvd(shape, num_modes):
    weight = weight_of(shape)
    sizes = modes(Tucker(num_modes), weight)
    for take in (1, 2, 3):
        ranks = tuple(min(take, size) for size in sizes)
        errors = [
            error_of(weight, Tucker(num_modes, None, sweeps, 0.0).analyse(weight).decompose(ranks).to_tensor())
            for sweeps in (0, 1, 2, 50)
        ]
        for before, after in itertools.pairwise(errors):
            assert after <= before * (1 + 1e-12)
        assert errors[2] < errors[0] * (1 - 1e-4), "two sweeps are of use"
        core, bases = tucker(weight.numpy().reshape(sizes), rank=list(ranks), n_iter_max=50, tol=1e-12)
        theirs = error_of(weight, tensorly.tucker_to_tensor((core, bases)).reshape(shape))
        assert errors[3] <= theirs * (1 + 1e-4)


def test_bases_are_orthonormal_and_factors_have_the_dtype_of_the_weight():
    for dtype in (torch.float32, torch.float64):
        factors = Tucker().analyse(weight_of((12, 20)).to(dtype)).decompose((2, 3, 3, 2))
        assert {tensor.dtype for tensor in (factors.core, *factors.bases)} == {dtype}
        for basis in factors.bases:
            assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1], dtype=dtype), atol=1e-6)


def test_tail_sums_are_the_sums_outside_of_a_corner():
    energy = torch.rand(4, 3, 1, 5, dtype=torch.float64)
    sums = _tail_sums(energy)
    for a, b, c, d in itertools.product(*map(range, energy.shape)):
        inside = energy[: a + 1, : b + 1, : c + 1, : d + 1].sum()
        assert float(sums[a, b, c, d]) == pytest.approx(float(energy.sum() - inside), abs=1e-12)
    others = float(energy.sum() - energy[0, 0, 0, 0])
    energy[0, 0, 0, 0] = 1e20  # beside which they would be lost
    assert float(_tail_sums(energy)[0, 0, 0, 0]) == pytest.approx(others)
    assert float(_tail_sums(energy)[3, 2, 0, 3]) == pytest.approx(float(energy[..., 4].sum()))


def test_block_sums_are_those_between_the_ranks():
    energy = torch.rand(4, 5, dtype=torch.float64)
    sums = _block_sums(energy, [[1, 2, 4], [3, 5]])
    for (i, rows), (j, columns) in itertools.product(enumerate([(0, 1), (1, 2), (2, 4)]), enumerate([(0, 3), (3, 5)])):
        assert float(sums[i, j]) == pytest.approx(float(energy[slice(*rows), slice(*columns)].sum()))


@pytest.mark.parametrize(
    "sizes", [(16, 16, 16, 16, 16, 16), (32, 32, 32, 32), (4096, 4096), (1, 2, 3, 500), (2,) * 20, (1, 1)], ids=str
)
@pytest.mark.parametrize("low", [1, 2, 8])
def test_the_grid_has_the_smallest_and_the_full_ranks_and_stays_below_the_limit(sizes, low):
    grid = _grid(sizes, low)
    assert math.prod(map(len, grid)) <= MAX_TUPLES
    for size, ranks in zip(sizes, grid, strict=True):
        assert ranks == sorted(set(ranks))
        assert ranks[-1] == size
        assert ranks[0] == min(low, size) or len(sizes) > 16, "too many modes to cut all"
    if math.prod(sizes) <= MAX_TUPLES and low == 1 and len(sizes) == 2:
        assert grid == [list(range(1, size + 1)) for size in sizes]


def test_small_modes_leave_their_share_of_the_grid_to_large_ones():
    assert [len(ranks) for ranks in _grid((1, 2, 3, 500), 1)] == [1, 2, 3, 500]
    assert _spread(1, 32, 16) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 20, 25, 32]
    assert _spread(3, 5, 16) == [3, 4, 5]


def test_the_frontier_of_three_and_three_modes_is_found_below_the_limit():
    frontier = THREE.analyse(torch.randn(4096, 64)).frontier(site_of((4096, 64)))
    assert [high for _, high in frontier.allowed] == [16, 16, 16, 4, 4, 4]
    assert len(frontier) > 100
    assert [u.shape for u in frontier.unfoldings] == [(16, 16384)] * 3 + [(4, 65536)] * 3


def test_unfoldings_hold_the_squared_singular_values_of_every_mode():
    weight = weight_of((12, 20))
    frontier = Tucker().analyse(weight).frontier(site_of((12, 20)))
    tensor = weight.numpy().reshape(3, 4, 4, 5)
    for k, unfolding in enumerate(frontier.unfoldings):
        matrix = np.moveaxis(tensor, k, 0).reshape(tensor.shape[k], -1)
        assert unfolding.shape == matrix.shape
        assert unfolding.energy.numpy() == pytest.approx(np.linalg.svd(matrix, compute_uv=False) ** 2, rel=1e-9)


def test_ranks_of_no_use_are_possible_all_the_same():
    allowed = Tucker().analyse(torch.zeros(7, 1)).frontier(site_of((7, 1))).allowed
    assert allowed == ((1, 1), (1, 7), (1, 1), (1, 1))


def test_rank_0_is_all_of_the_error_and_on_request_only():
    weight, site = weight_of((12, 20)), site_of((12, 20))
    first = Tucker().analyse(weight).frontier(site, min_rank=0)
    assert first.rank(0) == (0, 0, 0, 0)
    assert float(first.squared_error[0]) == pytest.approx(first.squared_norm)
    assert int(first.num_params[0]) == site.num_bias
    frontier = Tucker().analyse(weight).frontier(site, min_rank=2)
    assert int(frontier.ranks[:-1].min()) == 2
    with pytest.raises(ValueError, match="or all 0"):
        Tucker().analyse(weight).decompose((0, 1, 1, 1))


def test_convolutions_are_tucker_2():
    for shape in ((6, 4, 3, 3), (6, 4, 1, 1), (8, 5, 3)):
        weight, site = weight_of(shape), site_of(shape)
        ours, theirs = (format.analyse(weight).frontier(site) for format in (Tucker(), Tucker2()))
        assert torch.equal(ours.ranks, theirs.ranks) and torch.equal(ours.squared_error, theirs.squared_error)
        rank = ours.rank(len(ours) // 2)
        pair = [format.analyse(weight).decompose(rank).to_tensor() for format in (Tucker(max_sweeps=3), Tucker2(3))]
        assert torch.equal(*pair)


def test_large_layers_need_no_more_memory_than_their_weight():
    """Contracting core and all bases at once would build their outer product."""
    weight, site = torch.randn(1024, 1024), site_of((1024, 1024))
    analysis = Tucker().analyse(weight)
    assert len(analysis.frontier(site)) > 100
    assert analysis.decompose((24, 24, 24, 24)).to_tensor().shape == weight.shape
