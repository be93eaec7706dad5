"""The contract of every format of conf/decomposition: its frontier, its counts, its layers, awkward weights.

A new file in that folder is tested here without a change.
"""

from __future__ import annotations

import itertools
import random

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import nn

from decompositions.core.frontier import as_modes, as_rank
from decompositions.layers.base import ZeroRank
from evaluation.counts import count_macs
from tests.conftest import ROOT
from tests.decompositions.weights import SHAPES, input_of, layer_of, site_of, weight_of

FILES = sorted((ROOT / "conf" / "decomposition").glob("*.yaml"))
FORMATS = {path.stem: instantiate(yaml.safe_load(path.read_text()), _convert_="all") for path in FILES}
CONVOLUTIONS = [shape for shape in SHAPES if len(shape) > 2]


def ranks_of(format, weight, site):
    """Rank 0, all ones, something in the middle, and the largest, whether or not these are smaller than dense."""
    highs = [high for _, high in format.analyse(weight).frontier(site, min_rank=0).allowed]
    modes = [[0] * len(highs), [1] * len(highs), [(high + 1) // 2 for high in highs], highs]
    return list(dict.fromkeys(as_rank(m) for m in modes))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("name", FORMATS)
def test_a_frontier_keeps_its_promises(name, shape, scale):
    """The factors have at most the error, and exactly the counts, that were promised; dearer points have less error."""
    format, weight, site = FORMATS[name], weight_of(shape, scale=scale), site_of(shape)
    frontier = format.analyse(weight).frontier(site)
    norm = float(weight.square().sum())
    assert frontier.squared_norm == pytest.approx(norm, rel=1e-9)
    points = range(len(frontier) - 1)
    for i in [*points][:: max(1, len(points) // 12)]:
        rank = frontier.rank(i)
        factors = format.analyse(weight).decompose(rank)
        error = float((weight - factors.to_tensor()).square().sum())
        assert error <= float(frontier.squared_error[i]) * (1 + 1e-6) + 1e-12 * norm
        assert int(frontier.num_params[i]) == factors.num_params + site.num_bias < site.num_params
        assert [int(n) for n in format.count(site, as_modes(rank))] == [frontier.num_params[i], frontier.macs[i]]
    assert frontier.rank(len(frontier) - 1) is None
    assert float(frontier.squared_error[-1]) == 0
    assert int(frontier.num_params[-1]) == site.num_params
    assert int(frontier.macs[-1]) == site.macs
    assert (frontier.num_params.diff() >= 0).all()
    points = [*zip(frontier.num_params.tolist(), frontier.macs.tolist(), frontier.squared_error.tolist(), strict=True)]
    for i, (params, macs, error) in enumerate(points):
        others = points[:i] + points[i + 1 :]
        by_params = all(error < e for p, _, e in others if p <= params)
        assert by_params or all(error < e for _, m, e in others if m <= macs), "no other point is better"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3, 3)], ids=str)
def test_without_the_dense_layer_the_frontier_goes_on_to_larger_ranks(name, shape):
    format, weight, site = FORMATS[name], weight_of(shape), site_of(shape)
    usual, every = (format.analyse(weight).frontier(site, dense=dense) for dense in (True, False))
    assert (every.ranks >= 1).all(), "no point is the dense layer"
    assert (every.dense_params, every.dense_macs) == (site.num_params, site.macs)
    useful = {usual.rank(i) for i in range(len(usual) - 1)}
    assert useful <= {every.rank(i) for i in range(len(every))}
    assert every.squared_error.min() <= usual.squared_error[:-1].min()
    if name != "cp":  # its ranks are those of a grid, each fitted, that ends at the dense layer's size
        assert every.num_params.max() >= site.num_params
        assert every.squared_error.min() <= 1e-9 * every.squared_norm
    assert every.squared_error.argmin() == len(every) - 1
    small = every.up_to_dense()
    assert small.num_params.max() <= site.num_params
    assert [small.rank(i) for i in range(len(small))] == [every.rank(i) for i in range(len(small))]
    assert len(usual.up_to_dense()) == len(usual), "the dense layer is no larger than itself"
    none = format.analyse(weight).frontier(site, min_rank=10**6, dense=False)
    assert none.rank(0) is None and len(none) == 1, "no rank at all: the layer is dense"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3, 3)], ids=str)
def test_rank_deficient_and_zero_weights(name, shape):
    format, site, weight = FORMATS[name], site_of(shape), weight_of(shape, rank=2)
    for rank in ranks_of(format, weight, site):
        assert format.analyse(weight).decompose(rank).to_tensor().isfinite().all()
    full = format.analyse(weight).decompose(ranks_of(format, weight, site)[-1])
    assert torch.allclose(full.to_tensor(), weight, atol=1e-7)
    zero = torch.zeros(shape, dtype=torch.float64)
    for rank in ranks_of(format, zero, site):
        assert format.analyse(zero).decompose(rank).to_tensor().abs().max() == 0
    assert format.analyse(zero).frontier(site).squared_error.max() == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3, 3)], ids=str)
def test_weights_that_are_no_numbers_are_refused(name, bad, shape):
    format, weight = FORMATS[name], weight_of(shape)
    rank = ranks_of(format, weight, site_of(shape))[1]
    weight.view(-1)[7] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        format.analyse(weight).frontier(site_of(shape))
    with pytest.raises(ValueError, match="NaN or infinite"):
        format.analyse(weight).decompose(rank)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3, 3)], ids=str)
def test_impossible_ranks_are_refused_with_the_possible_ones(name, shape):
    format, weight = FORMATS[name], weight_of(shape)
    highs = [high for _, high in format.analyse(weight).frontier(site_of(shape), min_rank=0).allowed]
    for mode, high in enumerate(highs):
        for wrong in (-1, high + 1):
            rank = as_rank([wrong if m == mode else 1 for m in range(len(highs))])
            with pytest.raises(ValueError, match=f"from 0 to {high}"):
                format.analyse(weight).decompose(rank)
            with pytest.raises(ValueError, match=f"from 0 to {high}"):
                format.zeros(weight, rank)
    with pytest.raises(ValueError, match="from 0 to"):
        format.analyse(weight).decompose(tuple([1] * (len(highs) + 1)))


GEOMETRIES = [
    dict(zip(("stride", "padding", "dilation", "padding_mode", "bias"), values, strict=True))
    for values in itertools.product(
        [1, 2, (1, 2)], [0, 1, (2, 1), "same", "valid"], [1, (2, 1)], ["zeros", "circular", "reflect"], [True, False]
    )
    if not (values[1] == "same" and values[0] != 1)
]


# Shared out over the kernels in a mixed order: every second one of the product would have the same bias.
MIXED = random.Random(1).sample(GEOMETRIES, len(GEOMETRIES))
HALF = len(MIXED) // 2
SHARES = {(3, 3): MIXED[:HALF], (2, 3): MIXED[HALF:], (1, 1): MIXED[::3], (1, 3): MIXED[1::3], (3, 1): MIXED[2::3]}


def test_every_kernel_meets_every_option():
    for share in SHARES.values():
        for option in GEOMETRIES[0]:
            assert {str(g[option]) for g in share} == {str(g[option]) for g in GEOMETRIES}
        assert any(g["bias"] and g["padding_mode"] == "zeros" for g in share), "whose multiply-adds are counted"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kernel", SHARES, ids=str)
def test_layer_equals_dense_layer_with_the_reconstructed_weight_and_costs_what_was_counted(name, kernel):
    """Counts against `evaluation.counts`, which reads the operators of a real pass."""
    format, shape = FORMATS[name], (6, 4, *kernel)
    x = torch.randn(2, *input_of(shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = weight_of(shape)
    analysis = format.analyse(weight)
    factors = {rank: analysis.decompose(rank) for rank in ranks_of(format, weight, site_of(shape))}
    for options in SHARES[kernel]:
        site = site_of(shape, **options)
        for rank, found in factors.items():
            layer = format.layer(site.layer, found).eval()
            equals_dense(layer, site.layer, found, x, options)
            num_params, macs = (int(number) for number in format.count(site, as_modes(rank)))
            assert sum(p.numel() for p in layer.parameters()) == found.num_params + site.num_bias == num_params
            if options["bias"] and options["padding_mode"] == "zeros":
                assert count_macs(layer, input_of(shape)) == macs, (options, rank)


@torch.no_grad()
def equals_dense(layer, dense, factors, x, options=None):
    """The layer, and the dense layer that it says it equals, against `dense` with the weight of the factors.

    A layer without `to_dense` is nonlinear: there is no dense layer, only its shape.
    """
    dense.weight.copy_(factors.to_tensor())
    expected, got = dense(x), layer(x)
    assert got.shape == expected.shape, options
    if hasattr(layer, "to_dense"):
        merged = layer.to_dense()
        assert type(merged) is type(dense)
        assert merged.extra_repr() == dense.extra_repr()
        assert torch.allclose(merged(x), expected, atol=1e-10), options
    if hasattr(layer, "to_dense") or isinstance(layer, ZeroRank):
        assert torch.allclose(got, expected, atol=1e-10), options
    else:
        assert not torch.allclose(got, expected, atol=1e-10), "a linear layer says what it equals"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 2, 3, 2)], ids=str)
def test_layer_in_other_dimensions(name, shape):
    format, site = FORMATS[name], site_of(shape)
    x = torch.randn(2, *input_of(shape), dtype=torch.float64)
    for rank in ranks_of(format, site.weight.detach(), site):
        dense = layer_of(shape)
        factors = format.analyse(dense.weight.detach()).decompose(rank)
        layer = format.layer(dense, factors).eval()
        equals_dense(layer, dense, factors, x)
        assert count_macs(layer, input_of(shape)) == int(format.count(site, as_modes(rank))[1])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 3)], ids=str)
def test_no_samples_and_no_batch_axis(name, shape):
    format, site, weight = FORMATS[name], site_of(shape), weight_of(shape)
    analysis = format.analyse(weight)
    for rank in ranks_of(format, weight, site):
        layer = format.layer(site.layer, analysis.decompose(rank)).eval()
        x = torch.randn(2, *input_of(shape), dtype=torch.float64)
        assert layer(x[:0]).shape == site.layer(x[:0]).shape
        assert torch.allclose(layer(x[1]), layer(x)[1], atol=1e-10)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_zeros_have_the_shapes_of_the_factors(name, shape):
    format, weight = FORMATS[name], weight_of(shape).float()
    for rank in ranks_of(format, weight, site_of(shape)):
        real, empty = format.analyse(weight).decompose(rank), format.zeros(weight, rank)
        assert real.num_params == empty.num_params
        assert empty.to_tensor().abs().sum() == 0
        assert empty.to_tensor().shape == weight.shape
        assert empty.to_tensor().dtype == real.to_tensor().dtype == torch.float32
        layers = [format.layer(layer_of(shape).float(), factors) for factors in (real, empty)]
        layers[1].load_state_dict(layers[0].state_dict())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3, 3)], ids=str)
def test_factors_of_a_low_rank_weight_can_be_trained(name, shape):
    """No factor may be stuck: whatever the weight, the gradient moves each of them."""
    format, dense = FORMATS[name], layer_of(shape).float()
    for weight in (weight_of(shape).float(), weight_of(shape, rank=1).float()):
        rank = ranks_of(format, weight, site_of(shape))[2]
        factors = format.analyse(weight).decompose(rank)
        exact = format.analyse(weight.double()).decompose(rank).to_tensor().float()
        assert torch.allclose(factors.to_tensor(), exact, atol=1e-5)
        layer = format.layer(dense, factors)
        if not hasattr(layer, "to_dense"):
            torch.manual_seed(1)
            layer.reset(2.0)  # behind activations a train of rank 1 may be dead: nonlinear ones start from scratch
        layer(torch.randn(16, *input_of(shape))).square().sum().backward()
        gradients = [p.grad for p in layer.parameters() if p.ndim >= 2]
        assert all(gradient.abs().max() > 1e-3 for gradient in gradients)


@pytest.mark.parametrize("name", FORMATS)
def test_other_kinds_of_layers_are_refused(name):
    format, weight = FORMATS[name], weight_of((6, 4))
    for rank in ranks_of(format, weight, site_of((6, 4)))[:2]:
        with pytest.raises(ValueError, match="linear and convolution layers, got Bilinear"):
            format.layer(nn.Bilinear(2, 2, 6), format.analyse(weight).decompose(rank))
