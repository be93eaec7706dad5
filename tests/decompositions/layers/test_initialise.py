"""Compressed layers drawn anew keep the signal; whole networks train from there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions import compress, initialise, materialize
from decompositions.ntt import NTT
from decompositions.svd import SVD
from tests.decompositions.test_format_contract import FORMATS
from tests.decompositions.weights import input_of, layer_of

SHAPES = {"linear": (96, 64), "convolution": (64, 64, 3, 3)}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_noise_keeps_its_variance_from_scratch(name, kind):
    """Mean square of the output over that of the input, over forty starts: a wrong fan-in is off by a rank."""
    format, shape = FORMATS[name], SHAPES[kind]
    dense = layer_of(shape, **({"padding": 1, "padding_mode": "circular"} if len(shape) > 2 else {})).float()
    limits = format.analyse(dense.weight.detach()).frontier(site_like(dense, shape), min_rank=1).allowed
    rank = tuple(min(12, high) for _, high in limits)
    layer = format.layer(dense, format.zeros(dense.weight.detach(), rank[0] if len(rank) == 1 else rank))
    for gain in (1.0, 2**0.5):
        ratios = []
        for seed in range(40):
            torch.manual_seed(seed)
            assert initialise(nn.Sequential(layer), gain) == ["0"]
            x = torch.randn(8, *input_of(shape))
            with torch.no_grad():
                ratios.append(float(layer(x).square().mean() / x.square().mean()))
        assert torch.tensor(ratios).mean() == pytest.approx(gain**2, rel=0.5), ratios
    biases = [parameter for name, parameter in layer.named_parameters() if name.split(".")[-1] == "bias"]
    assert biases
    assert all(bias.abs().max() == 0 for bias in biases)


def site_like(dense, shape):
    from decompositions.core.site import survey

    return survey(nn.Sequential(dense), input_of(shape)).sites["0"]


def test_a_whole_network_from_scratch_repeats_and_trains():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 40), nn.ReLU(), nn.Linear(40, 10)
    )
    compressed, _ = compress(model, NTT(), ranks=4, example_input=torch.randn(1, 3, 8, 8), layers=["3"])
    torch.manual_seed(5)
    assert initialise(compressed) == ["3"]
    first = {k: v.clone() for k, v in compressed.state_dict().items()}
    initialise(compressed)
    assert not torch.equal(compressed.state_dict()["3.cores.0"], first["3.cores.0"])
    torch.manual_seed(5)
    initialise(compressed)
    assert all(torch.equal(compressed.state_dict()[k], v) for k, v in first.items())
    assert torch.equal(compressed[0].weight, model[0].weight), "dense layers are left alone"


def test_modules_of_others_with_a_reset_are_left_alone():
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = 7

        def reset(self) -> None:
            self.seen = 0

        def forward(self, x):
            return x

    network, _ = compress(nn.Sequential(nn.Linear(32, 32)), SVD(), ranks=2, example_input=torch.randn(2, 32))
    network.append(Counter())
    assert initialise(network) == ["0"]
    assert network[1].seen == 7
    assert [merge.name for merge in materialize(network, torch.randn(2, 32))[1]] == ["0"]
