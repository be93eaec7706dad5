"""Published counts, shapes, and inputs that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import nn

from networks.lenet import lenet5, lenet300
from networks.mlp import mlp

FILES = sorted((Path(__file__).parents[2] / "conf" / "network").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_makes_a_network_that_classifies_any_number_of_classes(path):
    """The contract of a network, for 28×28 and 32×32 images and batches of any size."""
    text = path.read_text()
    assert text.startswith("# @package _global_\n")
    node = yaml.safe_load(text)["network"]
    assert node["_partial_"] is True
    for shape, num_classes in (([1, 28, 28], 10), ([3, 32, 32], 7)):
        network = instantiate(node, _convert_="all")(input_shape=shape, num_classes=num_classes)
        assert isinstance(network, nn.Module)
        for batch in (1, 3):
            assert network(torch.randn(batch, *shape)).shape == (batch, num_classes)
        torch.manual_seed(1)
        once = instantiate(node, _convert_="all")(input_shape=shape, num_classes=num_classes).state_dict()
        torch.manual_seed(1)
        again = instantiate(node, _convert_="all")(input_shape=shape, num_classes=num_classes).state_dict()
        assert all(torch.equal(once[key], again[key]) for key in once), "the seed decides the start"


@pytest.mark.parametrize(
    ("make", "num_params"), [(lenet300, 266_610), (lenet5, 431_080), (lambda *a: mlp(*a, hidden=[256, 128]), 235_146)]
)
def test_published_parameter_counts_and_output_shape(make, num_params):
    network = make([1, 28, 28], 10)
    assert sum(p.numel() for p in network.parameters()) == num_params
    assert network(torch.randn(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 1.0), ("tanh", 0.3)])
def test_initialisation_keeps_the_signal(activation, gain):
    """With ReLU and He's variance the scale of the last hidden layer is that of the first; tanh shrinks it a little."""
    torch.manual_seed(0)
    network = mlp([400], 10, hidden=[400] * 6, activation=activation)
    x = torch.randn(500, 400)
    out = network[:-1](x)
    scale = float(out.square().mean().sqrt())
    assert gain * 0.5 < scale < gain * 2


def test_mlp_of_no_hidden_layer_is_linear_and_dropout_is_an_option():
    assert sum(p.numel() for p in mlp([2, 3], 4, hidden=[]).parameters()) == 6 * 4 + 4
    assert lenet5([3, 32, 32], 7, dropout=0.25).dropout.p == 0.25
    assert lenet5([3, 32, 32], 7)(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_too_small_images_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="at least 16×16 pixels, got 8×8; take dataset=mnist or network=mlp"):
        lenet5([1, 8, 8], 10)
    assert lenet5([1, 16, 16], 10)(torch.randn(2, 1, 16, 16)).shape == (2, 10)
