"""Tucker-2 against TensorLy's partial Tucker, pair by pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import partial_tucker

from decompositions.linalg.spectrum import scaled
from decompositions.tucker2 import Tucker2, _tail_sums
from tests.decompositions.weights import site_of, weight_of

SHAPES = [(6, 4, 3, 3), (8, 5, 3), (5, 7, 2, 3, 2), (1, 5, 3, 3)]


def error_of(weight: torch.Tensor, approximation: np.ndarray) -> float:
    return float(np.sum((weight.numpy() - approximation) ** 2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_pair_has_the_error_of_truncated_hosvd(shape):
    """TensorLy with no iteration after its HOSVD start; and the frontier is the Pareto set of all pairs."""
    weight, site = weight_of(shape), site_of(shape)
    frontier = Tucker2(max_sweeps=0).analyse(weight).frontier(site, min_rank=1)
    promised = {frontier.rank(i): float(frontier.squared_error[i]) for i in range(len(frontier) - 1)}
    points = {}
    for pair in itertools.product(range(1, shape[0] + 1), range(1, shape[1] + 1)):
        factors = Tucker2(max_sweeps=0).analyse(weight).decompose(pair)
        error = error_of(weight, factors.to_tensor().numpy())
        bases = [
            np.linalg.svd(np.moveaxis(weight.numpy(), mode, 0).reshape(shape[mode], -1))[0][:, : pair[mode]]
            for mode in (0, 1)
        ]
        projected = tensorly.tenalg.multi_mode_dot(weight.numpy(), [b @ b.T for b in bases], modes=[0, 1])
        assert error == pytest.approx(error_of(weight, projected), rel=1e-6, abs=1e-9)
        num_params, macs = (int(n) for n in Tucker2().count(site, torch.tensor([pair])))
        if num_params < site.num_params:
            points[pair] = (num_params, macs, error)
        if pair in promised:
            assert promised[pair] == pytest.approx(error, rel=1e-9, abs=1e-12)
    best = set()
    for pair, (params, macs, error) in points.items():
        others = [point for other, point in points.items() if other != pair]
        by_params = all(error < e for p, _, e in others if p <= params)
        if by_params or all(error < e for _, m, e in others if m <= macs):
            best.add(pair)
    assert set(promised) == best


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_hooi_is_as_good_as_tensorly_and_never_worse_than_hosvd(shape):
    weight = weight_of(shape)
    for pair in [(1, 1), (2, 3), (4, 2)]:
        start, refined = (
            error_of(weight, Tucker2(n, 0.0).analyse(weight).decompose(pair).to_tensor().numpy()) for n in (0, 30)
        )
        (core, bases), _ = partial_tucker(weight.numpy(), rank=list(pair), modes=[0, 1], n_iter_max=200, tol=1e-12)
        theirs = error_of(weight, tensorly.tenalg.multi_mode_dot(core, bases, modes=[0, 1]))
        assert refined <= start * (1 + 1e-12)
        assert refined == pytest.approx(theirs, rel=1e-4)
        two = error_of(weight, Tucker2(2, 0.0).analyse(weight).decompose(pair).to_tensor().numpy())
        assert refined * (1 - 1e-9) <= two <= start * (1 + 1e-12)


def test_tail_sums_are_the_sums_outside_of_a_corner():
    energy = torch.rand(4, 3, dtype=torch.float64)
    sums = _tail_sums(energy)
    for a, b in itertools.product(range(5), range(4)):
        assert float(sums[a, b]) == pytest.approx(float(energy.sum() - energy[:a, :b].sum()), abs=1e-12)


def test_large_layers_need_no_more_memory_than_their_weight():
    """Contracting core and both bases at once would build their outer product, 34 GB here."""
    weight, site = torch.randn(256, 256, 3, 3), site_of((256, 256, 3, 3))
    frontier = Tucker2().analyse(weight).frontier(site)
    assert len(frontier) > 100
    factors = Tucker2().analyse(weight).decompose((128, 128))
    assert factors.to_tensor().shape == weight.shape


def test_one_rank_of_zero_alone_is_refused():
    with pytest.raises(ValueError, match="or both 0"):
        Tucker2().analyse(weight_of((6, 4, 3, 3))).decompose((0, 2))


def test_scaling_keeps_tiny_and_huge_weights_exact():
    weight = weight_of((6, 4, 3, 3))
    for scale in (1e-150, 1e150):
        tensor, found = scaled(weight * scale)
        assert torch.allclose(tensor * found / scale, weight)
        error = Tucker2().analyse(weight * scale).decompose((3, 3)).to_tensor() / scale
        assert torch.allclose(error, Tucker2().analyse(weight).decompose((3, 3)).to_tensor())
