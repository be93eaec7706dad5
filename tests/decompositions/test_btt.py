"""Block tensor trains against NumPy: the sum over four indices, the best errors block by block, what a pass holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from decompositions.btt import BTT
from decompositions.core.metric import SiteMetric
from decompositions.core.whitening import analyse_in
from tests.decompositions.test_kronecker import Largest
from tests.decompositions.weights import layer_of, site_of, tensor_of, weight_of

GIVEN = BTT(modes={"12": [3, 4], "20": [2, 10], "6": [3, 2], "4": [2, 2]})


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (6, 4, 3, 3)], ids=str)
def test_the_weight_is_the_sum_of_the_formula(shape):
    factors = GIVEN.analyse(weight_of(shape)).decompose(2)
    a, b, c, d = GIVEN.sizes(shape)
    left, right, weight = factors.left.numpy(), factors.right.numpy(), factors.to_tensor().numpy()
    assert left.shape == (b, a, c, 2)
    for i, j, k, m in itertools.product(range(a), range(b), range(c), range(d)):
        expected = sum(left[j, i, k, s] * right[k, j, s, m] for s in range(2))
        assert np.allclose(weight[i * b + j, k * d + m], expected)


@pytest.mark.parametrize("format", [GIVEN, BTT()], ids=["given", "balanced"])
@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (6, 4, 3, 3)], ids=str)
def test_the_errors_are_the_best_of_every_block(format, shape):
    weight = weight_of(shape)
    a, b, c, d = format.sizes(shape)
    array, tails = weight.numpy(), np.zeros(max(shape) ** 2)
    for j, k in itertools.product(range(b), range(c)):
        values = np.linalg.svd(array[j::b, k * d : (k + 1) * d].reshape(a, -1), compute_uv=False)
        tails[: len(values)] += np.cumsum(values[::-1] ** 2)[::-1]
    frontier = format.analyse(weight).frontier(site_of(shape), dense=False)
    assert len(frontier) == frontier.allowed[0][1]
    for index in range(len(frontier)):
        rank = frontier.rank(index)
        assert float(frontier.squared_error[index]) == pytest.approx(tails[rank], abs=1e-10)
        real = float((weight - format.analyse(weight).decompose(rank).to_tensor()).square().sum())
        assert real == pytest.approx(tails[rank], abs=1e-10)


@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 3, 3)], ids=str)
def test_a_pass_never_holds_the_dense_weight(shape):
    layer = BTT().layer(layer_of(shape), BTT().analyse(weight_of(shape)).decompose(1))
    with torch.no_grad(), Largest() as seen:
        layer(tensor_of((1, shape[1], *[3] * (len(shape) - 2))))
    assert 0 < seen.numel < weight_of(shape).numel() / 3


def test_other_metrics_and_other_numbers_of_modes_are_refused_by_name():
    with pytest.raises(ValueError, match="format BTT serves the metric identity alone"):
        analyse_in(BTT(), weight_of((12, 20)), SiteMetric(into=(torch.ones(20),)))
    with pytest.raises(ValueError, match=r"two modes a side, got \[2, 2, 3\]"):
        BTT(modes={"12": [2, 2, 3]}).analyse(weight_of((12, 20)))
    with pytest.raises(ValueError, match="modes: expected keys of the layers that are cut"):
        BTT(modes={"13": [1, 13]}).check_sites({"0": site_of((12, 20))})
