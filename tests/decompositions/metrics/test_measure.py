"""What is wrong with a metric, its data or the network is said in one line, before anything is factorised."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from decompositions import compress
from decompositions.core.metric import SiteMetric
from decompositions.core.site import survey
from decompositions.metrics.activation import Activation
from decompositions.metrics.batch_norm import BatchNorm
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.metrics.layer import Layer
from decompositions.metrics.measure import measure, require_batches, require_metric
from decompositions.svd import SVD


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6))


def compressed(model=None, *, x=None, labels=None, **options):
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(1)) if x is None else x
    labels = torch.arange(len(x)) % 6 if labels is None else labels
    arguments = {"ranks": 2, "example_input": torch.zeros(1, 8), "calibration": [(x, labels)], **options}
    return compress(model or mlp(), SVD(), **arguments)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Gram, "expected one such as .*, got the class Gram"),
        ("gram", "expected one such as .*, got 'gram'"),
        (Gram(num_samples=0), r"metric Gram: num_samples must satisfy Ge\(ge=1\), got 0"),
        (Gram(shrinkage=2.0), r"metric Gram: shrinkage must satisfy Le\(le=1\), got 2.0"),
        (Gram(num_samples="many"), r"num_samples must satisfy Ge\(ge=1\), got 'many'"),  # type: ignore[arg-type]
        (Activation(alpha=-1.0), r"metric Activation: alpha must satisfy Gt\(gt=0\), got -1.0"),
    ],
    ids=str,
)
def test_metrics_that_are_none(metric, message):
    with pytest.raises(ValueError, match=message):
        require_metric(metric)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (torch.randn(40, 8), "as batches, such as a DataLoader or a list .*, got a Tensor"),
        ([*torch.randn(40, 8)], r"like the example input, \(1, 8\), got inputs of shape \(8,\)"),
        ([torch.randn(0, 8)], r"at least one sample, got inputs of shape \(0, 8\)"),
        ([], "at least one batch"),
        ([torch.randn(5, 7)], r"fails on calibration inputs of shape \(5, 7\) and type torch.float32: mat1 and mat2"),
        ([torch.randn(5, 8).double()], r"fails on calibration inputs of shape \(5, 8\) and type torch.float64"),
        ([([1, 2], [3])], r"as tensors, got \['list', 'list'\]"),
    ],
    ids=["tensor", "samples", "empty", "none", "width", "type", "lists"],
)
def test_data_that_are_no_batches(calibration, message):
    with pytest.raises(ValueError, match=message):
        compressed(metric=Gram(), calibration=calibration)


@pytest.mark.parametrize("given", [TensorDataset(torch.randn(40, 8)), 5, "data"], ids=["dataset", "number", "text"])
def test_data_that_are_read_sample_by_sample_or_not_at_all(given):
    with pytest.raises(ValueError, match=f"expected calibration data as batches, .* got a {type(given).__name__}"):
        require_batches(given)


@pytest.mark.parametrize(
    "labels",
    [torch.rand(40), torch.arange(39) % 6, torch.full((40,), 6), torch.tensor(3)],
    ids=["float", "fewer", "beyond", "one"],
)
def test_labels_that_fit_no_scores(labels):
    with pytest.raises(ValueError, match=r"no cross-entropy of scores \(40, 6\) and labels .*expected classes from 0"):
        compressed(metric=KFAC(), labels=labels)


class Pair(nn.Module):
    """A network with a second head that its output leaves out, or returns."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.body, self.head, self.auxiliary, self.both = nn.Linear(8, 12), nn.Linear(12, 6), nn.Linear(12, 6), both

    def forward(self, x: Tensor):
        x = self.body(x).relu()
        heads = self.head(x), self.auxiliary(x)
        return heads if self.both else heads[0]


def test_a_network_without_scores():
    with pytest.raises(ValueError, match=r"expected a network that returns scores, \(samples, classes\), got a tuple"):
        compressed(Pair(both=True), metric=KFAC())


@pytest.mark.parametrize("metric", [KFAC(), Layer()], ids=str)
def test_a_layer_that_the_loss_does_not_know_is_named(metric):
    """It kept the identity, in another unit than all others, and took the whole budget."""
    name = type(metric).__name__
    with pytest.raises(ValueError, match=f"metric {name}: the loss has no gradient for layer auxiliary"):
        compressed(Pair(both=False), metric=metric, ranks=None, budget=0.5)
    small, _ = compressed(Pair(both=False), metric=metric, ranks=None, budget=0.8, layers=["body", "head"])
    assert isinstance(small.auxiliary, nn.Linear)


@pytest.mark.parametrize("metric", [KFAC(), Layer(), Fisher()], ids=str)
def test_a_loss_without_gradients_is_no_metric(metric):
    """The cross-entropy of one class is zero, and so is that of labels that it ignores."""
    one = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1))
    with pytest.raises(ValueError, match=r"every error counts as zero, at layers \['0', '2'\]"):
        compressed(one, metric=metric, labels=torch.zeros(40, dtype=torch.long))
    with pytest.raises(ValueError, match="every error counts as zero"):
        compressed(metric=metric, labels=torch.full((40,), -100))


def test_a_network_without_batch_norms_has_no_such_metric():
    with pytest.raises(ValueError, match=r"metric BatchNorm: found nothing to measure at layers \['0', '2'\]"):
        compressed(metric=BatchNorm(), calibration=None)


def test_a_shape_is_enough_of_an_example():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6)).eval()
    small, _ = compressed(network, metric=BatchNorm(), calibration=None, example_input=torch.zeros(1, 8, device="meta"))
    assert small(torch.randn(3, 8)).shape == (3, 6)


def test_nan_weights_are_named():
    network = mlp()
    with torch.no_grad():
        network[2].weight[1, 1] = float("nan")
    with pytest.raises(ValueError, match="layer 2: the weight holds NaN or infinite values"):
        compressed(network, metric=Gram())


def test_nothing_is_left_in_the_data_of_the_caller():
    x = torch.randn(40, 8, requires_grad=True)
    compressed(metric=KFAC(), x=x)
    assert x.grad is None


def test_inference_mode_has_no_gradients():
    with torch.inference_mode(), pytest.raises(ValueError, match="needs gradients"):
        compressed(metric=KFAC())


@dataclass(frozen=True)
class Own:
    """A user's metric, which returns whatever it is given."""

    found: object
    num_samples: int = 1

    def measure(self, network, sites, batches, all_reduce=None):
        return self.found


WEIGHTS = torch.ones(8)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "expected measure to return a SiteMetric for each layer name, got None"),
        ({"0": WEIGHTS}, "expected measure to return a SiteMetric for each layer name"),
        ({"nowhere": SiteMetric(into=(WEIGHTS,))}, r"expected some of layers \['0', '2'\], got layer nowhere"),
        ({"0": SiteMetric(into=(torch.ones(9),))}, r"layer 0: metric: expected moments of 8 inputs, got sides \[9\]"),
        ({"0": SiteMetric(mean=torch.ones(3))}, r"layer 0: metric: expected a mean of 8 inputs, got the shape \(3,\)"),
    ],
    ids=["none", "tensor", "unknown", "sides", "mean"],
)
def test_what_an_own_metric_returns(found, message):
    with pytest.raises(ValueError, match=message):
        compressed(metric=Own(found))


def test_moments_are_square_and_positive():
    with pytest.raises(ValueError, match=r"shape \(side, side\) or \(side,\), got \(8, 7\)"):
        SiteMetric(into=(torch.ones(8, 7),))
    with pytest.raises(ValueError, match="negative diagonal"):
        SiteMetric(into=(torch.tensor([1.0, -0.5]),))
    with pytest.raises(ValueError, match="expected a symmetric moment"):
        SiteMetric(into=(torch.tensor([[1.0, 2.0], [0.0, 1.0]]),))


def test_moments_of_any_precision_are_taken_to_double():
    """As the formats need them: products of mixed types fail late."""
    x = torch.randn(40, 8)
    moment = (x.T @ x).float()
    ours, _ = compressed(metric=Own({"0": SiteMetric(into=(moment,))}))
    double, _ = compressed(metric=Own({"0": SiteMetric(into=(moment.double(),))}))
    assert torch.equal(ours[0][0].weight, double[0][0].weight)


@pytest.mark.parametrize("metric", [Gram(), KFAC(), Activation()], ids=str)
def test_many_layers_are_measured_in_several_passes(metric, monkeypatch):
    """A pass has the moments of as many layers as memory allows; data that can be read once get one pass."""
    network, x = mlp(), torch.randn(40, 8)
    sites, passes = survey(network, (8,)).sites, list[int]()

    class Batches:
        def __iter__(self):
            passes.append(1)
            yield x, torch.arange(40) % 6

    whole = measure(metric, network, sites, Batches())
    monkeypatch.setattr("decompositions.metrics.measure.BYTES_OF_A_PASS", 8 * 12**2)
    parts = measure(metric, network, sites, Batches())
    assert len(passes) == (2 if isinstance(metric, Activation) else 3), "diagonals are small"
    once = measure(metric, network, sites, iter(Batches()))
    for found in (parts, once):
        assert [*found] == [*whole]
        for name, expected in whole.items():
            assert all(torch.equal(*pair) for pair in zip(found[name].into, expected.into, strict=True))


def test_measure_needs_four_arguments():
    class Short:
        num_samples = 1

        def measure(self, network, sites, batches):
            return {}

    network = mlp()
    with pytest.raises(ValueError, match=r"metric Short: measure takes \(network, sites, batches, all_reduce\)"):
        measure(Short(), network, survey(network, (8,)).sites, [])
