"""The CIFAR ResNets: published counts, the shortcut, and what the suite does with a network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from decompositions import compress
from decompositions.tucker2 import Tucker2
from evaluation.counts import count
from networks.resnet import Block, resnet

RGB = [3, 32, 32]


@pytest.mark.parametrize(
    ("depth", "num_params", "millions", "million_macs"),
    [
        (20, 269_722, "0.27", 40.55),
        (32, 464_154, "0.46", 68.86),
        (56, 853_018, "0.85", 125.49),
        (110, 1_727_962, "1.73", 252.89),  # published as 1.7
    ],
)
def test_published_counts(depth, num_params, millions, million_macs):
    found = count(resnet(RGB, 10, depth), RGB)
    assert found.num_params == num_params
    assert f"{num_params / 1e6:.2f}" == millions
    assert round(found.macs / 1e6, 2) == million_macs


def test_macs_are_those_of_the_convolutions_and_the_linear_layer():
    network = resnet(RGB, 10, 20)
    total = 0

    def add(layer, inputs, output):
        nonlocal total
        total += layer.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.randn(1, *RGB))
    assert total == count(resnet(RGB, 10, 20), RGB).macs


@pytest.mark.parametrize(("width_in", "width", "stride"), [(16, 32, 2), (4, 7, 2), (6, 6, 1), (6, 8, 1), (3, 3, 2)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_the_shortcut_against_numpy(width_in, width, stride, size):
    block = Block(width_in, width, stride)
    x = torch.randn(2, width_in, *size)
    taken = x.numpy()[:, :, ::stride, ::stride]
    before = (width - width_in) // 2
    expected = np.zeros((2, width, *taken.shape[2:]), np.float32)
    expected[:, before : before + width_in] = taken
    assert np.array_equal(block.shortcut(x).numpy(), expected)
    assert block(x).shape == expected.shape
    assert sum(p.numel() for p in block.parameters()) == 9 * width * (width_in + width) + 4 * width


def test_a_block_whose_second_norm_is_zero_is_its_shortcut():
    block = Block(4, 8, 2)
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(3, 4, 6, 6)
    assert torch.equal(block(x), block.shortcut(x).relu())


def test_layers_with_weights_are_as_many_as_the_depth():
    for depth in (8, 20, 44):
        layers = [m for m in resnet(RGB, 5, depth).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) == depth


@pytest.mark.parametrize("depth", [2, 21, 51, -4])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=r"expected a depth of 6n \+ 2 from 8 on .*, got") as caught:
        resnet(RGB, 10, depth)
    assert "\n" not in str(caught.value)


def test_a_depth_is_refused_before_training(make_point):
    from orchestration.errors import ConfigError
    from orchestration.run.build import build_components

    with pytest.raises(ConfigError, match=r"network resnet20 on 1×8×8 images: expected a depth of 6n \+ 2"):
        build_components(make_point("network=resnet20", "network.depth=21", "method=svd"))


def test_initialisation_keeps_the_signal():
    """He's variance: without the norms' help the first convolution of a block keeps the scale behind a ReLU."""
    torch.manual_seed(0)
    network = resnet(RGB, 10, 20)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            assert float(module.weight.var()) == pytest.approx(2 / fan_in, rel=0.25)
    assert float(network.fc.bias.abs().max()) == 0


def test_meta_device_and_compilation_and_odd_sizes():
    network = resnet(RGB, 10, 8)
    assert copy.deepcopy(network).to("meta")(torch.empty(2, *RGB, device="meta")).shape == (2, 10)
    network.eval()
    x = torch.randn(4, *RGB)
    with torch.no_grad():
        compiled = torch.compile(network, backend="aot_eager")
        assert torch.allclose(compiled(x), network(x), atol=1e-5)
        assert network(torch.randn(2, 3, 27, 9)).shape == (2, 10)


def test_it_can_be_compressed_by_the_library():
    network = resnet(RGB, 10, 8).eval()
    small, report = compress(network, Tucker2(), budget=0.5, of="macs", example_input=torch.randn(1, *RGB))
    assert count(small, RGB).macs <= 0.5 * count(network, RGB).macs
    assert small(torch.randn(2, *RGB)).shape == (2, 10)
    assert "stage3.0.conv1" in str(report)


def test_the_recipe_of_the_published_code(make_point):
    for depth in (20, 32, 56, 110):
        config = make_point(f"network=resnet{depth}", "schedule=published", tiny=False).config
        schedule = config["schedule"]
        assert config["network"]["depth"] == depth
        assert schedule["batch_size"] == 128
        assert [schedule[p]["epochs"] for p in ("reference", "l_step", "fine_tune")] == [200, 15, 200]
        assert [schedule[p]["learning_rate"] for p in ("reference", "l_step", "fine_tune")] == [0.1, 7e-4, 1e-4]
        assert schedule["reference"]["decay"]["at"] == [0.5, 0.75]
        assert schedule["l_step"]["decay"]["final"] == pytest.approx(0.99**15, abs=5e-4)
        assert schedule["fine_tune"]["decay"]["final"] == pytest.approx(0.99**200, abs=5e-4)
        assert schedule["l_step_decay"] == 1.0
        assert schedule["penalty"] | {"_target_": ""} == {
            "_target_": "",
            "initial": 1e-3,
            "growth": 1.25,
            "num_steps": 49,
            "start": "initial",
        }
