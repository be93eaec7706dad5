"""The formats of tensor trains against published counts, and every place of the kernel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from decompositions.core.frontier import as_modes
from decompositions.layers.tt import TTLinear
from decompositions.linalg.tt_contraction import plan
from decompositions.linalg.tt_svd import bond_limits, num_params
from decompositions.tt import TT
from tests.decompositions.weights import site_of, tensor_of, weight_of


def test_published_parameters_of_the_tt_matrix():
    """[NPOV15] 1024 → 1024 as (4,8,8,4)²; and the 57,600 → 256 map of UCF11 frames with rank 4."""
    weight = torch.empty(1024, 1024)
    format = TT(modes={"1024": [4, 8, 8, 4]})
    published = {1: 160, 2: 576, 3: 1_248, 4: 2_176, 5: 3_360, 6: 4_800, 8: 8_448, 10: 13_120}
    for rank, expected in published.items():
        assert format.zeros(weight, (rank,) * 3).num_params == expected
    frames = TT(modes={"57600": [8, 20, 20, 18], "1024": [16, 4, 4, 4]})  # four gates in the first output mode
    assert frames.zeros(torch.empty(1024, 57_600), (4, 4, 4)).num_params == 3_360


def test_published_modes_of_two_sides_and_of_one_layer():
    """[YSLY21] ResNet-32: 32 channels are 8·4 as outputs and 4·8 as inputs, and 16 channels 4·4 in one layer alone."""
    format = TT(modes={"16": [16], "in_32x16": [4, 4], "out_32": [8, 4], "in_32": [4, 8]})
    assert format.layout((16, 16, 3, 3)).sizes == (16, 9, 16)
    assert format.layout((32, 16, 3, 3)).sizes == (8, 4, 9, 4, 4)
    assert format.layout((32, 32, 3, 3)).sizes == (8, 4, 9, 4, 8)
    assert format.zeros(torch.empty(32, 32, 3, 3), (8, 16, 16, 8)).num_params == 64 + 512 + 2304 + 512 + 64
    weight = weight_of((32, 32, 3, 3))
    full = format.analyse(weight).decompose(tuple(bond_limits(format.layout(weight.shape).sizes)))
    assert torch.allclose(full.to_tensor(), weight, atol=1e-6 * float(weight.norm()))
    with pytest.raises(ValueError, match="expected as keys a size"):
        TT(modes={"outputs": [4]}).layout((4, 4))


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
