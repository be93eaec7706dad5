"""Metrics of awkward layers and data: dead and constant inputs, NaN, frozen weights, sequences, own formats."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from decompositions import compress
from decompositions.core.metric import SiteMetric
from decompositions.core.site import survey
from decompositions.core.whitening import analyse_in
from decompositions.cp import CP
from decompositions.cur import CUR
from decompositions.interpolative import Interpolative
from decompositions.metrics.activation import Activation
from decompositions.metrics.batch_norm import BatchNorm
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.metrics.layer import Layer
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from lightning_modules.training.penalty_metric import PenaltyMetric
from tests.decompositions.weights import site_of

FORMATS = [SVD(), CUR(), Interpolative(), Tucker(num_modes=2), TT(2), CP()]
METRICS = [Gram(), Covariance(), KFAC(), Activation(), Fisher(), Layer()]


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6))


def batches(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(part, torch.arange(len(part)) % 6) for part in x.split(20)]


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: type(format).__name__)
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_dead_and_constant_inputs_and_dead_layers(format, metric):
    network = mlp()
    with torch.no_grad():
        network[0].bias.fill_(-100.0)  # the second layer gets zeros
    x = torch.randn(40, 8)
    x[:, :2], x[:, 2:4] = 0, 3.7
    if isinstance(metric, KFAC | Fisher | Layer):
        with pytest.raises(ValueError, match=r"every error counts as zero, at layers \['0', '2'\]"):
            compress(network, format, ranks=2, example_input=x[:1], metric=metric, calibration=batches(x))
        return
    small, _ = compress(network, format, ranks=2, example_input=x[:1], metric=metric, calibration=batches(x))
    assert small(x).isfinite().all()
    assert torch.allclose(small(x), network(x), atol=1e-4), "nothing passes the dead layer"


@pytest.mark.parametrize("format", [CUR(), Interpolative()], ids=lambda format: type(format).__name__)
def test_live_columns_come_first(format):
    """A covariance of constant inputs is zero but for rounding, which may be negative."""
    torch.manual_seed(0)
    weight, x = torch.randn(10, 12).double(), torch.randn(50, 12).double()
    x[:, ::2] = 7.3
    x = x - x.mean(0)
    moment = x.T @ x
    moment[::2] = moment[:, ::2] = 0
    moment -= 1e-16 * torch.eye(12).double()
    analysis = analyse_in(format, weight, SiteMetric(into=(moment,)))
    order = analysis.column_order if isinstance(format, CUR) else analysis.columns.order
    assert {int(column) % 2 for column in order[:6]} == {1}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_nan_inputs_are_named(metric):
    x = torch.randn(40, 8)
    x[3, 2] = float("nan")
    with pytest.raises(ValueError, match="the calibration pass gave NaN or infinite values"):
        compress(mlp(), SVD(), ranks=2, example_input=x[:1], metric=metric, calibration=batches(x))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_frozen_weights_are_measured_like_others_and_stay_frozen(metric):
    free, frozen, x = mlp(), mlp(), torch.randn(40, 8)
    frozen.requires_grad_(False)
    sites = [survey(network, (8,)).sites for network in (free, frozen)]
    one, other = (metric.measure(n, s, batches(x)) for n, s in zip((free, frozen), sites, strict=True))
    for name in ("0", "2"):
        assert torch.equal(one[name].into[0], other[name].into[0])
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_generators_and_loaders_are_data(metric):
    x = torch.randn(40, 8)
    network = mlp()
    sites = survey(network, (8,)).sites
    expected = metric.measure(network, sites, batches(x))
    loader = DataLoader(TensorDataset(x, torch.cat([y for _, y in batches(x)])), batch_size=20)
    for data in (iter(batches(x)), loader):
        found = metric.measure(network, sites, data)
        assert torch.allclose(found["0"].into[0], expected["0"].into[0])


def test_batches_of_other_kinds_are_refused():
    x = torch.randn(40, 8)
    network = mlp()
    only_inputs = DataLoader(TensorDataset(x), batch_size=20)
    found = Gram().measure(network, survey(network, (8,)).sites, only_inputs)
    assert found["0"].into[0].shape == (8, 8)
    with pytest.raises(ValueError, match=r"expected batches of inputs, or \(inputs, labels\), as tensors, got dict"):
        Gram().measure(network, survey(network, (8,)).sites, [{"x": x}])


def test_a_layer_that_gets_its_input_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 6)

        def forward(self, x):
            return self.layer(input=x)

    network, x = Named(), torch.randn(40, 8)
    found = Gram().measure(network, survey(network, (8,)).sites, [x])["layer"]
    assert torch.allclose(found.into[0], (x.T @ x).double() / 40, atol=1e-5)


def test_positions_of_a_sequence_are_samples_of_the_gradients():
    """The moment of the gradients is the mean over positions, that of the inputs the sum over them."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(8, 6), nn.Flatten(), nn.Linear(30, 6)).double(), torch.randn(40, 5, 8).double()
    sites, labels = survey(network, (5, 8)).sites, torch.arange(40) % 6
    found = KFAC().measure(network, sites, [(x, labels)])["0"]
    outputs = network[0](x)
    loss = nn.functional.cross_entropy(network[1:](outputs), labels, reduction="sum")
    delta = torch.autograd.grad(loss, outputs)[0].reshape(-1, 6)
    assert torch.allclose(found.out[0], delta.T @ delta / 200)
    rows = x.reshape(-1, 8)
    assert torch.allclose(found.into[0], rows.T @ rows / 40)


def test_the_norm_of_a_sequence_is_none_of_the_layers_outputs():
    network = nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(25, 6))
    assert BatchNorm().measure(network, survey(network, (5, 8)).sites, [torch.randn(4, 5, 8)]) == {}


def test_fisher_and_layer_agree_on_the_scale_of_a_layer():
    """Both are in units of the loss: an error that is spread evenly costs the same in both."""
    network, x = mlp(), torch.randn(40, 8)
    sites = survey(network, (8,)).sites
    fisher, layer = (metric.measure(network, sites, batches(x)) for metric in (Fisher(), Layer()))
    for name, site in sites.items():
        ones = torch.ones_like(site.weight)
        assert fisher[name].squared_error(ones) == pytest.approx(layer[name].squared_error(ones), rel=1e-6)


@dataclass(frozen=True)
class EvenSVD(SVD):
    """A format of a user's: an SVD that changes its analysis."""

    def analyse(self, weight):
        analysis = super().analyse(weight)
        analysis.energy[2:] = 0
        return analysis


def test_the_analysis_of_a_subclass_counts_in_a_metric_too():
    weight = torch.randn(5, 8).double()
    metric = SiteMetric(into=(torch.eye(8).double() * 3,))
    errors = analyse_in(EvenSVD(), weight, metric).frontier(site_of((5, 8)), dense=False).squared_error
    assert float(errors[-1]) == 0
    assert float(analyse_in(SVD(), weight, metric).frontier(site_of((5, 8)), dense=False).squared_error[1]) > 0


@pytest.mark.parametrize("moment", [torch.zeros(5).double(), torch.zeros(5, 5).double()], ids=["diagonal", "matrix"])
def test_a_dead_layer_has_the_identity_as_penalty(moment):
    penalty = PenaltyMetric.of(SiteMetric(into=(moment,)), 3)
    difference = torch.randn(2, 5).double()
    assert torch.allclose(penalty.times(difference), difference)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: type(format).__name__)
def test_moments_of_wrong_sides_are_refused(format):
    with pytest.raises(ValueError, match=r"expected moments of 12 inputs, got sides \[24\]"):
        analyse_in(format, torch.randn(6, 12).double(), SiteMetric(into=(torch.eye(24).double(),)))


def test_a_mean_without_a_bias_is_refused():
    network, x = nn.Sequential(nn.Linear(8, 6, bias=False)), torch.randn(40, 8)

    class Means:
        num_samples = 1

        def measure(self, network, sites, batches, all_reduce=None):
            return {name: SiteMetric(mean=torch.ones(8).double()) for name in sites}

    with pytest.raises(ValueError, match="layer 0 has no bias to make up for a mean input"):
        compress(network, SVD(), ranks=2, example_input=x[:1], metric=Means(), calibration=[x])
