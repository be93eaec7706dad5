"""Kronecker sums against NumPy: products, the best approximation, both orders, and what a pass holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from decompositions.kronecker import KroneckerSum
from decompositions.layers.kronecker import KroneckerSizes
from evaluation.counts import count_macs
from tests.decompositions.weights import input_of, layer_of, site_of, tensor_of, weight_of


def test_the_weight_is_a_sum_of_kronecker_products():
    factors = KroneckerSum(modes={"12": [3, 4], "20": [2, 10]}).analyse(weight_of((12, 20))).decompose(3)
    assert (factors.left.shape, factors.right.shape) == ((3, 3, 2), (3, 4, 10))
    pairs = zip(factors.left.numpy(), factors.right.numpy(), strict=True)
    assert np.allclose(factors.to_tensor(), sum(np.kron(left, right) for left, right in pairs))


def test_at_each_position_of_a_kernel_it_is_a_sum_of_kronecker_products():
    factors = KroneckerSum().analyse(weight_of((6, 4, 3, 3))).decompose(2)
    for h, w in ((0, 0), (2, 1)):
        pairs = zip(factors.left.numpy(), factors.right[..., h, w].numpy(), strict=True)
        assert np.allclose(factors.to_tensor()[:, :, h, w], sum(np.kron(left, right) for left, right in pairs))


@pytest.mark.parametrize("shape", [(12, 20), (7, 9), (6, 4, 3, 3)], ids=str)
def test_a_sum_that_is_planted_is_found_and_the_errors_are_the_best(shape):
    """Against singular values of blocks of the weight as rows, cut out one by one."""
    format, weight = KroneckerSum(), weight_of(shape).numpy()
    sizes = format.sizes(shape)
    (a, b), (c, d) = sizes.out, sizes.into
    blocks = [weight[i * b : (i + 1) * b, j * d : (j + 1) * d].ravel() for i in range(a) for j in range(c)]
    values = np.linalg.svd(np.stack(blocks), compute_uv=False)
    frontier = format.analyse(torch.from_numpy(weight)).frontier(site_of(shape), dense=False)
    for index in range(len(frontier)):
        rank = frontier.rank(index)
        assert float(frontier.squared_error[index]) == pytest.approx(np.sum(values[rank:] ** 2), abs=1e-10)
    left, right = tensor_of((2, a, c), 1), tensor_of((2, b, d, *shape[2:]), 2)
    planted = torch.einsum("rac,rbd...->abcd...", left, right).reshape(shape)
    found = format.analyse(planted).decompose(min(2, len(values)))
    assert torch.allclose(found.to_tensor(), planted, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "modes", "stride", "starts_right"),
    [
        ((8, 60), {"8": [4, 2], "60": [3, 20]}, 1, True),
        ((60, 8), {"8": [4, 2], "60": [3, 20]}, 1, False),
        ((8, 12, 3, 3), {"8": [4, 2], "12": [3, 4]}, 1, True),
        ((8, 12, 3, 3), {"8": [2, 4], "12": [6, 2]}, 1, False),
        ((8, 12, 3, 3), {"8": [2, 4], "12": [6, 2]}, 4, True),
    ],
    ids=str,
)
def test_the_cheaper_order_is_taken_and_both_compute_the_same(shape, modes, stride, starts_right, monkeypatch):
    format, options = KroneckerSum(modes=modes), {"stride": stride} if len(shape) > 2 else {}
    dense, site, x = layer_of(shape, **options), site_of(shape, **options), tensor_of((2, *input_of(shape)))
    layer = format.layer(dense, format.analyse(weight_of(shape)).decompose(2))
    before, after = (int(np.prod(sizes)) for sizes in site.calls[0])
    costs = format.sizes(shape).macs(before, after)
    assert (costs[0] <= costs[1]) == starts_right
    assert count_macs(layer, input_of(shape)) == 2 * min(costs)
    expected = layer.to_dense()(x)
    assert torch.allclose(layer(x), expected)
    monkeypatch.setattr(KroneckerSizes, "macs", lambda self, before, after: costs[::-1])
    other = format.layer(dense, format.analyse(weight_of(shape)).decompose(2))
    assert torch.allclose(other(x), expected)
    monkeypatch.undo()
    assert count_macs(layer, input_of(shape)) < max(costs) * 2


class Largest(TorchDispatchMode):
    """The size of the largest tensor that a pass makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 3, 3)], ids=str)
def test_a_pass_never_holds_the_dense_weight(shape):
    format, x = KroneckerSum(), tensor_of((1, shape[1], *[3] * (len(shape) - 2)))
    layer = format.layer(layer_of(shape), format.analyse(weight_of(shape)).decompose(2))
    with torch.no_grad(), Largest() as seen:
        layer(x)
    assert 0 < seen.numel < weight_of(shape).numel() / 4


def test_modes_are_two_a_side_and_used():
    with pytest.raises(ValueError, match=r"two modes a side, one a factor, got \[2, 2, 3\]"):
        KroneckerSum(modes={"12": [2, 2, 3]}).analyse(weight_of((12, 20)))
    with pytest.raises(ValueError, match="modes: expected keys of the layers that are cut"):
        KroneckerSum(modes={"13": [1, 13]}).check_sites({"0": site_of((12, 20))})


def test_transposed_convolutions_stay_dense_by_name():
    from decompositions import compress

    network = nn.Sequential(nn.ConvTranspose2d(6, 8, 3), nn.Conv2d(8, 8, 3))
    _, report = compress(network, KroneckerSum(), ranks=1, example_input=torch.randn(1, 6, 5, 5))
    assert [layer.rank for layer in report.layers] == [None, 1]
    assert report.layers[0].reason
