"""Published counts, shapes, and inputs that do not fit."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from networks.lenet import lenet5, lenet300
from networks.mlp import mlp
from orchestration.config.shared import split_options
from orchestration.run.start import Start
from tests.conftest import GIVEN, ROOT

FILES = sorted((ROOT / "conf" / "network").glob("*.yaml"))


# Samples of every kind of data: images of three sizes, clips, sequences of frames.
SHAPES = ([1, 28, 28], [3, 32, 32], [3, 224, 224], [3, 6, 32, 32], [6, 3, 8, 8])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_makes_a_network_that_classifies_any_number_of_classes(path, make_point):
    """The contract of a network: on the samples that it takes, for batches of any size; others are one line."""
    assert path.read_text().startswith("# @package _global_\n")
    node = make_point(f"network={path.stem}", *GIVEN.get(path.stem, []), tiny=False).config["network"]
    assert node["_partial_"] is True
    build = instantiate(split_options(node, Start)[0], _convert_="all")
    taken = 0
    for shape, num_classes in zip(SHAPES, (10, 7, 1000, 11, 5), strict=True):
        try:
            with torch.device("meta"):
                network = build(input_shape=shape, num_classes=num_classes)
        except ValueError as error:
            assert "\n" not in str(error)
            continue
        assert isinstance(network, nn.Module)
        if not fits(network.eval(), shape):
            continue
        for batch in (1, 3):
            assert network(torch.empty(batch, *shape, device="meta")).shape == (batch, num_classes)
        taken += 1
    assert taken >= 1, f"{path.stem} takes none of {SHAPES}"


def fits(network: nn.Module, shape: list[int]) -> bool:
    """Torchvision's networks and convolutions say of samples that they cannot take no more than torch does."""
    try:
        network(torch.empty(2, *shape, device="meta"))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "vgg16", "nin", "garipov_conv", "wrn_16_8", "c3d_small", "gru"])
def test_the_seed_decides_the_start(name, make_point):
    node = make_point(f"network={name}", tiny=False).config["network"]
    build = instantiate(split_options(node, Start)[0], _convert_="all")
    shape = {"c3d_small": [3, 4, 16, 16], "gru": [4, 3, 8, 8]}.get(name, [3, 32, 32])
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build(input_shape=shape, num_classes=10).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


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
