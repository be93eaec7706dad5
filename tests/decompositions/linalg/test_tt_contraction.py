"""Every order of contraction gives the product with the dense weight; the plan takes the cheapest."""

from __future__ import annotations

import itertools

import torch

from decompositions.linalg.tt_contraction import Plan, merge, merge_macs, multiply, plan
from tests.decompositions.weights import tensor_of


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
