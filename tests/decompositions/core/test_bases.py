"""The bases of formats: what a subclass need not write, and which weights are left to another format."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.format import Analysis, Factors, Format
from decompositions.core.frontier import as_modes
from decompositions.core.low_rank import TwoFactorFormat, TwoFactors, as_matrix
from decompositions.cp import CP, CPFactors
from decompositions.cur import CUR
from decompositions.interpolative import Interpolative
from decompositions.layers.base import FactoredSequential, ZeroRank
from decompositions.layers.tucker import TuckerFactors
from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD, SVDAnalysis
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2, Tucker2Factors
from evaluation.counts import count_macs
from tests.decompositions.weights import input_of, layer_of, site_of, weight_of


@dataclass(frozen=True)
class Halves(TwoFactorFormat):
    """As short as a format with two factors can be: kernel axes in the rows, and an analysis."""

    num_axes: int = 0

    def num_row_axes(self, weight: torch.Tensor) -> int:
        return min(self.num_axes, weight.ndim - 2)

    def analyse(self, weight: torch.Tensor) -> SVDAnalysis:
        return SVDAnalysis.of(weight, self.num_row_axes(weight))


@pytest.mark.parametrize("num_axes", [0, 1, 2])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 2, 3), (6, 4, 2, 3, 2)], ids=str)
def test_a_format_with_two_factors_is_complete_with_its_analysis(shape, num_axes):
    format, weight, site = Halves(num_axes), weight_of(shape), site_of(shape)
    assert isinstance(format, Format)
    assert isinstance(format.analyse(weight), Analysis)
    rows, columns = as_matrix(weight, format.num_row_axes(weight)).shape
    assert rows == shape[0] * torch.Size(shape[2 : 2 + num_axes]).numel()
    for rank in (0, 1, min(rows, columns)):
        factors, empty = format.analyse(weight).decompose(rank), format.zeros(weight, rank)
        assert isinstance(factors, Factors)
        assert (factors.left.shape, factors.right.shape) == (empty.left.shape, empty.right.shape)
        assert factors.num_params == rank * (rows + columns)
        layer = format.layer(site.layer, factors)
        assert isinstance(layer, FactoredSequential if rank else ZeroRank)
        num_params, macs = (int(number) for number in format.count(site, as_modes(rank)))
        assert num_params == sum(p.numel() for p in layer.parameters())
        assert macs == count_macs(layer, input_of(shape))
    for wrong in (-1, min(rows, columns) + 1, (1, 1)):
        with pytest.raises(ValueError, match=f"from 0 to {min(rows, columns)}"):
            format.zeros(weight, wrong)


def test_formats_with_two_factors_share_one_base():
    for format in (SVD(), SpatialSVD(), CUR(), Interpolative()):
        own = {name for name in vars(type(format)) if not name.startswith("_")}
        assert own <= {"analyse", "analyse_in", "num_row_axes"}, "all else stands once, in the base"
        assert isinstance(format.zeros(weight_of((6, 4, 3, 3)), 2), TwoFactors)


MATRICES, KERNELS = [(6, 4), (6, 4, 1, 1)], [(6, 4, 3), (6, 4, 3, 3)]
CASES = [
    *((CP(sweeps=3), shape, SVD()) for shape in MATRICES),
    *((CP(sweeps=3), shape, None) for shape in KERNELS),
    *((Tucker2(1, 0.0), shape, SVD()) for shape in MATRICES),
    *((Tucker2(1, 0.0), shape, None) for shape in KERNELS),
    *((Tucker(max_sweeps=1, tolerance=0.0), shape, Tucker2(1, 0.0)) for shape in [*KERNELS, MATRICES[1]]),
    (Tucker(max_sweeps=1, tolerance=0.0), MATRICES[0], None),
]


@pytest.mark.parametrize(("format", "shape", "other"), CASES, ids=str)
def test_weights_of_some_shapes_are_left_to_another_format(format, shape, other):
    """The results are then those of the other format, bit for bit."""
    weight, site = weight_of(shape), site_of(shape)
    assert isinstance(format, Format)
    assert format.fallback(weight) == other
    frontier = format.analyse(weight).frontier(site, min_rank=0)
    rank = frontier.rank(len(frontier) // 2)
    factors = format.analyse(weight).decompose(rank)
    if other is None:
        assert type(factors) in (CPFactors, Tucker2Factors, TuckerFactors)
        return
    theirs = other.analyse(weight)
    assert torch.equal(theirs.frontier(site, min_rank=0).squared_error, frontier.squared_error)
    assert torch.equal(theirs.decompose(rank).to_tensor(), factors.to_tensor())
    for ours, expected in zip(format.count(site, as_modes(rank)), other.count(site, as_modes(rank)), strict=True):
        assert torch.equal(ours, expected)
    assert type(format.zeros(weight, rank)) is type(other.zeros(weight, rank)) is type(factors)
    x = torch.randn(2, *input_of(shape), dtype=torch.float64)
    dense = layer_of(shape)
    assert torch.equal(format.layer(dense, factors)(x), other.layer(dense, factors)(x))
    with pytest.raises(ValueError, match="linear and convolution layers, got Bilinear"):
        format.layer(nn.Bilinear(2, 2, 6), factors)


def test_a_base_says_what_is_missing():
    class Nothing(FormatWithFallback):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()
    with pytest.raises(TypeError, match="analyse"):
        TwoFactorFormat()
