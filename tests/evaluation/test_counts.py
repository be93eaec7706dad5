"""The counter against PyTorch's own FLOP counter and against hand-made numbers; unknown operators raise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2, resnet18

from decompositions.network.structure import replace_layers
from decompositions.svd import SVD
from evaluation.counts import count, count_macs
from networks.lenet import lenet5, lenet300


def flops(network, *shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [resnet18, mobilenet_v2])
def test_equals_torchs_counter_on_real_networks(make):
    with torch.device("meta"):
        network = make(weights=None).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 64, 64))
    assert count_macs(network, (3, 64, 64)) == counter.get_total_flops() // 2 > 0


def test_published_counts():
    assert count_macs(lenet300([1, 28, 28], 10), (1, 28, 28)) == 266_200
    counts = count(lenet5([1, 28, 28], 10), (1, 28, 28))
    assert (counts.num_params, counts.macs) == (431_080, 2_293_000)
    assert counts.num_bytes >= 4 * counts.num_params


def test_compressed_network_is_counted_like_the_dense_one():
    network = lenet5([1, 28, 28], 10)
    weights = {name: network.get_submodule(name).weight.detach() for name in ("conv2", "fc1")}
    factors = {n: SVD().analyse(weights[n]).decompose(r) for n, r in {"conv2": 5, "fc1": 9}.items()}
    compressed = replace_layers(network, SVD(), factors)
    expected = 2_293_000 - 64 * 50 * 500 - 500 * 800 + 64 * 5 * (50 + 500) + 9 * (800 + 500)
    assert count_macs(compressed, (1, 28, 28)) == expected == flops(compressed, 1, 28, 28) // 2


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.GELU(), nn.GroupNorm(3, 3), nn.Softmax(1)]
)
def test_layers_without_products_count_nothing(layer):
    assert count_macs(layer, (3, 8, 8)) == 0


class Eigen(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvalsh(x @ x.mT)


def test_an_operator_without_a_formula_raises():
    with pytest.raises(ValueError, match="no formula for the operator aten"):
        count_macs(Eigen(), (3, 3))


def test_maps_with_the_channels_innermost_are_counted():
    """Their average over all pixels is another operator inside."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return nn.functional.adaptive_avg_pool2d(self.conv(x).to(memory_format=torch.channels_last), 1)

    assert count_macs(Pooled(), (3, 5, 5)) == 9 * 3 * 4 * 9
