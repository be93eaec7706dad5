"""Tensor trains against TensorLy, brute force over all bond ranks, published counts, and every order of contraction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import tensor_train
from torch import nn

from decompositions.core.frontier import as_modes
from decompositions.layers.tt import TTLinear
from decompositions.linalg.tensorize import balanced, modes_of
from decompositions.linalg.tt_contraction import Plan, merge, merge_macs, multiply, plan
from decompositions.linalg.tt_svd import bond_limits, contract, hull, num_params, tt_svd, unfolding_spectra
from decompositions.tt import TT
from tests.decompositions.weights import site_of, weight_of


def tensor_of(sizes: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tails_of(tensor: torch.Tensor) -> list[np.ndarray]:
    return [np.append(np.cumsum(e.numpy()[::-1])[::-1], 0.0) for e in unfolding_spectra(tensor)[0]]


@pytest.mark.parametrize("sizes", [(4, 5, 6), (2, 3, 2, 3), (6, 1, 5), (7, 3)], ids=str)
def test_cores_are_as_good_as_tensorly_and_within_both_bounds(sizes):
    tensor = tensor_of(sizes)
    for fraction in (0.3, 0.6, 1.0):
        ranks = [max(1, int(fraction * limit)) for limit in bond_limits(sizes)]
        ours = contract(tt_svd(tensor, ranks, unfolding_spectra(tensor)[1])).reshape(sizes)
        ours = float((ours - tensor).square().sum())
        cores = tensor_train(tensor.numpy(), rank=[1, *ranks, 1])
        theirs = float(np.sum((tensorly.tt_to_tensor(cores) - tensor.numpy()) ** 2))
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-12)
        tails = [tail[rank] for tail, rank in zip(tails_of(tensor), ranks, strict=True)]
        assert max(tails) * (1 - 1e-9) - 1e-9 <= ours <= sum(tails) * (1 + 1e-9) + 1e-9


def test_unfolding_spectra_are_the_squared_singular_values():
    tensor = tensor_of((4, 5, 6))
    for k, energy in enumerate(unfolding_spectra(tensor)[0], start=1):
        matrix = tensor.reshape(math.prod(tensor.shape[:k]), -1).numpy()
        sigma = np.linalg.svd(matrix, compute_uv=False)
        assert energy.numpy() == pytest.approx(sigma**2, rel=1e-9)


@pytest.mark.parametrize("sizes", [(3, 4, 5), (2, 3, 3, 2), (6, 7)], ids=str)
@pytest.mark.parametrize("min_rank", [1, 2])
def test_the_hull_is_that_of_all_rank_tuples(sizes, min_rank):
    """Brute force: no possible tuple has a smaller parameters + θ · bound, for any θ, than a point of the hull."""
    for seed in range(3):
        tensor = tensor_of(sizes, seed) * torch.linspace(1, 0.1, sizes[-1], dtype=torch.float64)
        tails = tails_of(tensor)
        points = hull(sizes, tails, min_rank, max_params=10**9)

        def price(ranks, theta, sizes=sizes, tails=tails):
            return num_params(sizes, ranks) + theta * sum(t[r] for t, r in zip(tails, ranks, strict=True))

        tuples = [
            ranks
            for ranks in itertools.product(*(range(min_rank, limit + 1) for limit in bond_limits(sizes)))
            if all(
                a <= n * b and b <= n * a for (a, b), n in zip(itertools.pairwise((1, *ranks, 1)), sizes, strict=True)
            )
        ]
        for theta in np.geomspace(1e-3, 1e6, 60):
            assert min(price(r, theta) for r in points) <= min(price(r, theta) for r in tuples) * (1 + 1e-9)


def test_every_order_gives_the_product_with_the_dense_weight():
    """All groupings from both ends; what a plan counts is what the merged shapes need."""
    shapes = ((1, 2, 3, 4), (4, 3, 2, 5), (5, 2, 2, 3), (3, 1, 4, 1))
    cores = [tensor_of(shape, k) for k, shape in enumerate(shapes)]
    dense = merge(cores).reshape(12, 48)
    x = tensor_of((7, 48))
    for cuts in itertools.product((False, True), repeat=3):
        ends = [0, *(k + 1 for k, cut in enumerate(cuts) if cut), 4]
        for from_left in (True, False):
            for chunk in (7, 3, 1):
                order = Plan(tuple(itertools.pairwise(ends)), from_left, 0, chunk)
                assert torch.allclose(multiply(x, cores, order), x @ dense.T, atol=1e-10), order


def test_the_plan_forms_the_dense_weight_only_where_that_pays():
    def train(rank):
        return ((1, 8, 8, rank), (rank, 8, 8, rank), (rank, 8, 8, 1))

    assert plan(train(16), 100_000, "cpu").groups == ((0, 3),), "many rows and a rank that saves nothing"
    assert plan(train(16), 100_000, "cpu").macs == merge_macs(train(16)) + 512 * 512 * 100_000
    for rows in (1, 100_000):
        assert len(plan(train(2), rows, "cpu").groups) > 1
        assert plan(train(2), rows, "cpu").macs < 512 * 512 * rows / 2


def test_published_parameters_of_the_tt_matrix():
    """[NPOV15] 1024 → 1024 as (4,8,8,4)²; and the 57,600 → 256 map of UCF11 frames with rank 4."""
    weight = torch.empty(1024, 1024)
    format = TT(modes={"1024": [4, 8, 8, 4]})
    published = {1: 160, 2: 576, 3: 1_248, 4: 2_176, 5: 3_360, 6: 4_800, 8: 8_448, 10: 13_120}
    for rank, expected in published.items():
        assert format.zeros(weight, (rank,) * 3).num_params == expected
    frames = TT(modes={"57600": [8, 20, 20, 18], "1024": [16, 4, 4, 4]})  # four gates in the first output mode
    assert frames.zeros(torch.empty(1024, 57_600), (4, 4, 4)).num_params == 3_360


def test_linear_layers_take_any_leading_sizes_and_unequal_numbers_of_modes():
    format = TT(modes={"12": [3, 4], "30": [2, 3, 5]})
    dense = nn.Linear(30, 12)
    assert format.layout((12, 30)).sizes == (6, 12, 5)
    layer = format.layer(dense, format.analyse(dense.weight.detach()).decompose((5, 5)))
    assert isinstance(layer, TTLinear)
    x = torch.randn(2, 3, 30)
    assert layer(x).shape == (2, 3, 12)
    assert torch.allclose(layer(x)[1, 2], layer(x[1, 2]), atol=1e-5)


def test_all_cores_have_the_same_norm():
    for shape in ((12, 20), (6, 4, 3, 3)):
        ranks = tuple(min(2, high) for high in bond_limits(TT().layout(shape).sizes))
        cores = TT().analyse(weight_of(shape)).decompose(ranks).cores
        norms = [float(core.norm()) for core in cores]
        assert norms == pytest.approx([norms[0]] * len(norms))


def test_ranks_that_no_train_has_are_refused():
    with pytest.raises(ValueError, match="each at most its neighbour times the mode between them"):
        TT(num_modes=2, modes={"16": [2, 2, 2, 2]}).zeros(torch.empty(16, 16), (1, 8, 1))


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [(1024, 4, (4, 4, 8, 8)), (25088, 5, (7, 7, 8, 8, 8)), (10, 3, (1, 2, 5)), (7, 2, (1, 7)), (1, 3, (1, 1, 1))],
)
def test_balanced_modes(size, count, expected):
    assert balanced(size, count) == expected
    assert modes_of(size, count, {}) == expected
    with pytest.raises(ValueError, match=rf"expected {size} as a product, got 3 · 50 = 150"):
        modes_of(size, count, {str(size): [3, 50]})


def test_counted_multiply_adds_are_those_of_the_plan():
    site = site_of((64, 64))
    for rank in ((2, 2), (8, 8)):
        shapes = tuple((a, m, n, b) for a, m, n, b in zip((1, *rank), (4, 4, 4), (4, 4, 4), (*rank, 1), strict=True))
        assert int(TT().count(site, as_modes(rank))[1]) == plan(shapes, 3, "cpu").macs


@pytest.mark.parametrize("order", ["first", "last", "dense"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1, "padding_mode": "circular"}, {"dilation": 2}], ids=str
)
def test_every_place_of_the_kernel_gives_the_same(monkeypatch, order, options):
    """[GPNV16]'s convolution in its three orders against the dense layer with the reconstructed weight."""
    from decompositions.layers import tt_kernel_first

    format, site = TT(modes={"6": [2, 3], "4": [2, 2]}, kernel="first"), site_of((6, 4, 3, 3), **options)
    factors = format.analyse(weight_of((6, 4, 3, 3))).decompose((3, 4))
    layer, x = format.layer(site.layer, factors), tensor_of((2, 4, 9, 8))
    shapes, after = layer.shapes, site.calls[0][1]
    choose = tt_kernel_first.kernel_order.__wrapped__
    monkeypatch.setattr(tt_kernel_first, "min", lambda found, key: {o.kernel: o for o in found}[order], raising=False)
    forced = choose(shapes, 9, 2, 72, math.prod(after), "cpu")
    assert forced.kernel == order
    monkeypatch.setattr(tt_kernel_first, "kernel_order", lambda *sizes: forced)
    with torch.no_grad():
        site.layer.weight.copy_(factors.to_tensor())
        assert torch.allclose(layer(x), site.layer(x), atol=1e-10)
        assert torch.allclose(layer(x[0]), site.layer(x[0]), atol=1e-10), "no batch axis"


def test_published_compression_of_garipovs_network():
    """[GPNV16] CIFAR-10, six convolutions, the first dense: ranks (22,20,20), (27,22,22), 3 × (23,23,23) give 3.23×."""
    format = TT(modes={"64": [4, 4, 4], "128": [4, 8, 4]}, kernel="first")
    convolutions = [(64, 64, (22, 20, 20)), (128, 64, (27, 22, 22))] + [(128, 128, (23, 23, 23))] * 3
    dense = sum(out * into * 9 for out, into, _ in convolutions)
    # The published first ranks are above the kernel's 9 positions, which no train needs: `zeros` would refuse them.
    cores = sum(num_params(format.layout((out, into, 3, 3)).sizes, rank) for out, into, rank in convolutions)
    rest = 64 * 3 * 9 + 2 * (2 * 64 + 4 * 128) + 128 * 10 + 10  # the first convolution, batch norms, the classifier
    assert round((dense + rest) / (cores + rest), 2) == 3.23
