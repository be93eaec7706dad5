"""Transposed convolutions: written by the formats whose convolutions are sequences, as adjoints of these."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions import compress, initialise, load_network, save_network
from decompositions.core.site import survey
from decompositions.core.transposed import layer_in_place_of
from decompositions.cp import CP
from decompositions.cur import CUR
from decompositions.interpolative import Interpolative
from decompositions.metrics.gram import Gram
from decompositions.network.compress import CompressionReport, LayerReport
from decompositions.ntt import NTT
from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from evaluation.counts import count_macs

FORMATS = [SVD(), SpatialSVD(), CUR(), Interpolative(), Tucker2(), CP()]
LAYERS = [
    nn.ConvTranspose1d(6, 8, 4, stride=2, padding=1),
    nn.ConvTranspose2d(6, 8, (3, 5), stride=(2, 3), padding=(1, 2), output_padding=(1, 2)),
    nn.ConvTranspose2d(6, 8, 3, dilation=2, bias=False),
    nn.ConvTranspose2d(6, 8, 1, stride=2, output_padding=1),
    nn.ConvTranspose3d(6, 8, 3, stride=2, output_padding=(0, 1, 0)),
]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def layer_of(report: CompressionReport, name: str) -> LayerReport:
    return next(layer for layer in report.layers if layer.name == name)


def sample(layer: nn.Module) -> torch.Tensor:
    return torch.randn(2, 6, *(5, 4, 3)[: len(layer.kernel_size)])


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: type(format).__name__)
@pytest.mark.parametrize("layer", LAYERS, ids=range(len(LAYERS)))
def test_a_compressed_layer_is_the_dense_one_with_the_weight_of_the_factors(layer, format):
    network, x = nn.Sequential(layer), sample(layer)
    small, report = compress(network, format, ranks=2, example_input=x)
    assert layer_of(report, "0").rank is not None, report.layers
    dense = small[0].to_dense()
    assert type(dense) is type(layer) and dense.weight.shape == layer.weight.shape
    assert torch.allclose(small(x), dense(x), atol=1e-5)
    assert small(x).shape == network(x).shape
    error = float((dense.weight - layer.weight).norm() / layer.weight.norm())
    assert error**2 == pytest.approx(layer_of(report, "0").relative_error, rel=1e-3, abs=1e-6)
    assert sum(p.numel() for p in small.parameters()) == report.num_params
    assert count_macs(small, x.shape[1:]) == report.macs
    assert (small[0].out_channels, small[0].output_padding) == (8, layer.output_padding)


@pytest.mark.parametrize(
    ("format", "rank"),
    [(SVD(), 6), (SpatialSVD(), 18), (CUR(), 6), (Interpolative(), 6), (Tucker2(), (6, 8))],
    ids=lambda value: type(value).__name__,
)
def test_at_full_rank_it_is_the_dense_layer(format, rank):
    dense = nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1, output_padding=1).double()
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    layer = layer_in_place_of(format, dense, format.analyse(dense.weight.detach()).decompose(rank))
    assert torch.allclose(layer(x), dense(x), atol=1e-8)


def test_counts_of_a_site_are_those_of_the_layer():
    network = nn.Sequential(nn.ConvTranspose2d(6, 8, 3, stride=2), nn.ConvTranspose2d(8, 4, 2, groups=2))
    found = survey(network, (6, 5, 4), transposed=True)
    assert found.sites["0"].macs == 6 * 8 * 9 * 20 == count_macs(network[:1], (6, 5, 4))
    assert found.sites["0"].num_params == 6 * 8 * 9 + 8
    assert found.skipped == {"1": "groups=2: no format represents a grouped convolution"}


def test_it_is_saved_loaded_drawn_anew_and_may_vanish(tmp_path):
    class Decoder(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(6, 24), nn.Unflatten(1, (6, 2, 2)), nn.ConvTranspose2d(6, 8, 4, 2, 1))

    global_name = f"{__name__}.Decoder"
    globals()["Decoder"] = Decoder
    network, x = Decoder(), torch.randn(16, 6)
    small, report = compress(network, Tucker2(), ranks=(3, 4), layers=["2"], example_input=x)
    save_network(tmp_path / "n.pt", small, {"target": global_name, "arguments": {}}, report.structure)
    assert torch.equal(load_network(tmp_path / "n.pt", trust=[__name__])(x), small(x))
    initialise(small, gain=1.0)
    y = nn.Sequential(small[2])(torch.randn(64, 6, 12, 12))
    assert float(y[..., 4:-4, 4:-4].var()) == pytest.approx(1, rel=0.4)
    dense = network[2]
    nothing = layer_in_place_of(SVD(), dense, SVD().zeros(dense.weight.detach(), 0))
    assert nothing(torch.randn(3, 6, 2, 5)).shape == (3, 8, 4, 10)
    assert torch.equal(nothing(torch.randn(3, 6, 2, 5))[0, :, 1, 1], dense.bias)


@pytest.mark.parametrize("format", [TT(2), NTT()], ids=["TT", "NTT"])
def test_other_formats_leave_it_dense_and_say_so(format):
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3))
    _, report = compress(network, format, ranks=2, example_input=torch.randn(1, 4, 6, 6))
    assert layer_of(report, "1").reason == "the format has no form of a transposed convolution"


def test_a_pass_with_another_output_size_is_left_alone():
    class Resized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.up = nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(self.first(x), output_size=(10, 10))

    network, x = Resized(), torch.randn(1, 4, 6, 6)
    small, report = compress(network, SVD(), ranks=2, example_input=x)
    assert layer_of(report, "up").reason == "it is called with output_size"
    assert small(x).shape == network(x).shape


def test_metrics_do_not_measure_their_inputs():
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3))
    x = torch.randn(8, 4, 6, 6)
    with pytest.raises(
        ValueError, match="Gram: the inputs of transposed convolutions are not measured; leave layer 1 out"
    ):
        compress(network, SVD(), ranks=2, example_input=x, metric=Gram(), calibration=[x])
    compress(network, SVD(), ranks=2, layers=["0"], example_input=x, metric=Gram(), calibration=[x])
