"""Metrics measured on data: what a frontier promises is the error of the layer's outputs on these data."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from decompositions import compress
from decompositions.core.metric import SiteMetric
from decompositions.core.site import survey
from decompositions.core.whitening import analyse_in
from decompositions.metrics.activation import Activation
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.metrics.layer import Layer
from decompositions.metrics.patches import patches
from decompositions.svd import SVD

LAYERS = [
    (nn.Linear(6, 5), (7, 6)),
    (nn.Conv1d(3, 5, 4, stride=2, padding=1, padding_mode="circular"), (3, 11)),
    (nn.Conv2d(3, 5, (2, 3), stride=(1, 2), padding=(1, 2), padding_mode="reflect"), (3, 8, 9)),
    (nn.Conv2d(3, 5, 3, dilation=2, padding="same", padding_mode="replicate", bias=False), (3, 8, 9)),
    (nn.Conv2d(3, 5, 3, padding=1), (3, 8, 9)),
    (nn.Conv3d(2, 4, (1, 2, 3), padding=1, dilation=(1, 2, 1)), (2, 3, 6, 7)),
]


def data(shape, num: int = 24, num_batches: int = 3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num, *shape, generator=generator, dtype=torch.double) + 0.7
    return x, list(x.split(num // num_batches))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
def test_patches_times_the_weight_are_the_outputs(layer, shape):
    layer = layer.double()
    x, _ = data(shape)
    rows = patches(layer, x) @ layer.weight.flatten(1).T + (0 if layer.bias is None else layer.bias)
    expected = layer(x) if isinstance(layer, nn.Linear) else layer(x).movedim(1, -1)
    assert torch.allclose(rows, expected.reshape(-1, len(layer.weight)))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@pytest.mark.parametrize("metric", [Gram(), Covariance()], ids=str)
def test_the_error_of_every_rank_is_that_of_the_outputs(layer, shape, metric):
    """A mean over the calibration samples; `covariance` with its new bias, `gram` with the old one."""
    network = nn.Sequential(layer.double())
    x, batches = data(shape)
    sites = survey(network, shape).sites
    found = metric.measure(network, sites, batches)["0"]
    analysis = analyse_in(SVD(), layer.weight, found)
    frontier = analysis.frontier(sites["0"], dense=False)
    dense = layer(x)
    for index in range(len(frontier)):
        weight = analysis.decompose(frontier.rank(index)).to_tensor()
        bias = layer.bias
        if found.mean is not None:
            bias = layer.bias + (layer.weight - weight).flatten(1) @ found.mean
        outputs = applied(layer, x, weight, bias)
        error = float((outputs - dense).detach().square().sum()) / len(x)
        assert error == pytest.approx(float(frontier.squared_error[index]), rel=1e-8, abs=1e-10)


def applied(layer, x, weight, bias):
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    kept = layer.weight.data, layer.bias
    layer.weight.data, layer.bias = weight.detach(), None
    try:
        outputs = layer(x)
    finally:
        layer.weight.data, layer.bias = kept
    return outputs if bias is None else outputs + bias.reshape(-1, *[1] * (outputs.ndim - 2))


def network_and_data():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 4))
    x = torch.randn(40, 2, 6, 6).relu()
    return network, x, [(part, part.sum((1, 2, 3)).long() % 4) for part in x.split(10)]


METRICS = [Gram(shrinkage=0.1), Covariance(), Activation(), Fisher(), KFAC(shrinkage=0.1), Layer()]


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_compress_in_a_metric_leaves_the_model_alone(metric):
    network, x, batches = network_and_data()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small, report = compress(network, SVD(), budget=0.5, example_input=x[:1], metric=metric, calibration=batches)
    plain, _ = compress(network, SVD(), budget=0.5, example_input=x[:1], normalize=True)
    assert report.num_params <= 0.5 * report.dense_params
    if not isinstance(metric, Layer):  # which changes no factors
        assert any(not torch.equal(a, b) for a, b in zip(small.parameters(), plain.parameters(), strict=False))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training and small.training
    assert small(x).shape == (40, 4)


def test_one_weight_a_layer_moves_ranks_and_nothing_else():
    """A layer whose weight grows in importance gets the ranks."""
    network, x, _ = network_and_data()

    def ranks(*weights: float) -> list:
        class Given:
            num_samples, compares_layers = 1, True

            def measure(self, network, sites, batches, all_reduce=None):
                each = zip(sites.items(), weights, strict=True)
                return {
                    name: SiteMetric(into=(torch.full((site.weight[0].numel(),), weight, dtype=torch.double),))
                    for (name, site), weight in each
                }

        _, report = compress(network, SVD(), budget=0.4, example_input=x[:1], metric=Given(), calibration=[x])
        return [layer.rank for layer in report.layers]

    assert ranks(1, 1, 1) == ranks(3, 3, 3)
    assert ranks(1, 100, 1)[1] > ranks(1, 0.01, 1)[1]


def test_the_outputs_are_nearer_than_without_a_metric():
    network, x, batches = network_and_data()
    errors = {}
    for metric in (None, Gram(), Covariance()):
        small, _ = compress(
            network, SVD(), ranks={"3": 3}, example_input=x[:1], metric=metric,
            calibration=None if metric is None else batches,
        )  # fmt: skip
        errors[type(metric).__name__] = float((small[:4](x) - network[:4](x)).detach().square().sum())
    assert errors["Covariance"] < errors["Gram"] < errors["NoneType"]


def test_the_curvature_of_a_linear_network_is_the_second_order_change_of_its_loss():
    """One sample: inputs and gradients are then independent, and the Fisher matrix is δ δᵀ ⊗ x xᵀ exactly."""
    network = nn.Sequential(nn.Linear(5, 3)).double()
    x, label = torch.randn(1, 5, dtype=torch.double), torch.tensor([1])
    sites = survey(network, (5,)).sites
    found = KFAC().measure(network, sites, [(x, label)])["0"]
    change = torch.randn(3, 5, dtype=torch.double)
    gradient = torch.autograd.grad(F.cross_entropy(network(x), label), network[0].weight)[0]
    assert found.squared_error(change) == pytest.approx(float((gradient * change).sum() ** 2), rel=1e-9)


def test_labels_that_are_missing_are_asked_for():
    network, x, _ = network_and_data()
    with pytest.raises(ValueError, match=r"expected calibration batches \(inputs, labels\), got inputs alone"):
        compress(network, SVD(), budget=0.5, example_input=x[:1], metric=KFAC(), calibration=[x])
    with pytest.raises(ValueError, match="expected calibration data for Gram, got none"):
        compress(network, SVD(), budget=0.5, example_input=x[:1], metric=Gram())
