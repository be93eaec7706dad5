"""Int8 layers against their definition in float64, and the two methods from configuration to file."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from datamodules.memory.in_memory import InMemoryData
from decompositions import load_network, save_network
from decompositions.layers import int8
from decompositions.layers.int8 import DynamicLinear, StaticConvolution, StaticLinear
from evaluation.counts import count, count_macs
from evaluation.memory import MIB, measure_peak_memory_mib
from lightning_modules import quantise
from lightning_modules.quantise import QuantiseDynamic, QuantiseStatic
from lightning_modules.training.runner import Runner
from lightning_modules.training.trainer_config import TrainerConfig
from networks.lenet import lenet5
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point
from tests.conftest import ROOT

SHAPE = (1, 28, 28)
BUILDER = {"target": "networks.lenet.lenet5", "arguments": {"input_shape": list(SHAPE), "num_classes": 10}}
SCHEDULE = SimpleNamespace(distillation=SimpleNamespace(weight=0.0))


@pytest.fixture(autouse=True)
def seeded():
    """A value at a tie may be rounded either way in another precision."""
    torch.manual_seed(0)


class Noise(InMemoryData):
    """Images of noise, as small as LeNet5 takes them; each part has its own brightness."""

    input_shape, num_classes, scale, split = SHAPE, 10, 255.0, "noise"

    def load(self):
        from datamodules.memory.in_memory import Images

        make = torch.Generator().manual_seed(0)
        return tuple(
            Images(
                torch.randint(0, top, (64, *SHAPE), generator=make, dtype=torch.uint8),
                torch.randint(0, 10, (64,), generator=make),
            )
            for top in (100, 200, 256)
        )


@pytest.fixture
def runner():
    data = Noise()
    data.setup()
    return Runner(data, SimpleNamespace(batch_size=16), TrainerConfig("cpu"), None, 0)


@pytest.fixture
def lenet():
    torch.manual_seed(0)
    network = lenet5(SHAPE, 10).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    return network


def rounded(values, scale, zero):
    return (values.double() / scale + zero).round().clamp(0, 255) - zero


def exact(layer, inputs, scale, zero, operation):
    """`s_x s_w Σ (q_x − z) q_w + b` in float64."""
    weight = layer.weight.double() * layer.weight_scale.double().view(-1, *[1] * (layer.weight.ndim - 1))
    output = operation(rounded(inputs, scale, zero) * scale, weight)
    bias = layer.bias.double()
    return output + (bias if weight.ndim == 2 else bias.view(-1, *[1] * (weight.ndim - 2)))


@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64)])
def test_a_dynamic_layer_computes_its_formula_and_no_sample_sees_another(shape):
    dense = nn.Linear(64, 30)
    layer, inputs = DynamicLinear(dense), torch.randn(*shape)
    scale = inputs.double().abs().amax(-1, keepdim=True) / 127
    expected = exact(layer, inputs, scale, 128, nn.functional.linear)
    torch.testing.assert_close(layer(inputs).double(), expected, rtol=1e-5, atol=1e-5)
    assert (layer(inputs) - dense(inputs)).abs().max() < 0.03
    inputs[0] *= 1000
    torch.testing.assert_close(layer(inputs)[1:].double(), expected[1:], rtol=1e-5, atol=1e-5)
    assert torch.equal(layer(torch.zeros(1, 64))[0], dense.bias)


def test_a_static_layer_computes_its_formula_and_cuts_off_what_it_never_saw():
    layer = StaticLinear(nn.Linear(64, 30), -1.0, 2.0)
    inputs = 2 * torch.randn(9, 64)
    assert (float(layer.input_scale), int(layer.input_zero)) == (pytest.approx(3 / 255), 85 - 128)
    expected = exact(layer, inputs, 3 / 255, 85, nn.functional.linear)
    torch.testing.assert_close(layer(inputs).double(), expected, rtol=1e-4, atol=1e-2)  # one step at a tie
    assert torch.equal(layer(torch.full((1, 64), 99.0)), layer(torch.full((1, 64), 2.0)))


CONVOLUTIONS = [
    nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(4, 6, (3, 1), padding="valid", dilation=2),
    nn.Conv1d(4, 6, 3, padding=2),
    nn.Conv3d(4, 6, 3, padding=1),
]


@pytest.mark.parametrize("dense", CONVOLUTIONS, ids=repr)
@pytest.mark.usefixtures("needs_int8")
def test_a_static_convolution_computes_its_formula(dense):
    layer = StaticConvolution(dense, -2.0, 3.0)
    inputs = (5 * torch.rand(2, 4, *[9] * (dense.weight.ndim - 2)) - 2).float()

    def convolve(values, weight):
        twin = copy.deepcopy(dense).double()
        return twin._conv_forward(values, weight, None)

    expected = exact(layer, inputs, 5 / 255, 102, convolve)
    torch.testing.assert_close(layer(inputs).double(), expected, rtol=1e-4, atol=1e-2)
    assert (layer(inputs) - dense(inputs)).abs().max() < 0.1


def test_weights_are_int8_with_the_scale_of_each_row():
    dense = nn.Linear(64, 30)
    with torch.no_grad():
        dense.weight[3] *= 1000
        dense.weight[4] = 0
    layer = DynamicLinear(dense)
    assert layer.weight.dtype == torch.int8
    error = (layer.to_tensor() - dense.weight).abs().amax(1)
    assert (error <= 0.5001 * dense.weight.abs().amax(1) / 127).all(), "a large row costs the others nothing"
    assert not any(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("method", [QuantiseDynamic(), QuantiseStatic(num_batches=2)], ids=["dynamic", "static"])
def test_lenet5_is_quantised_counted_and_stored(lenet, runner, method, tmp_path, request):
    if isinstance(method, QuantiseStatic):
        request.getfixturevalue("needs_int8")
    before = copy.deepcopy(lenet.state_dict())
    compressed = method.compress(lenet, runner)
    assert all(torch.equal(before[key], value) for key, value in lenet.state_dict().items())
    network, images = compressed.network.eval(), next(iter(runner.data.train_batches(16, 0)))[0]
    static = isinstance(method, QuantiseStatic)
    int8 = {"conv1", "conv2", "fc1", "fc2"} if static else {"fc1", "fc2"}
    assert set(compressed.structure) == int8
    for name in ("conv1", "conv2", "fc1", "fc2"):
        is_int8 = network.get_submodule(name).weight.dtype == torch.int8
        assert is_int8 == (name in int8)
        assert (compressed.layers[name]["reason"] is None) == is_int8, "what stays float has a reason"
    difference = network(images) - lenet(images)
    assert 0 < difference.square().mean().sqrt() < 0.03 * lenet(images).std()

    dense, counts = count(lenet, SHAPE), count(network, SHAPE)
    assert counts.macs == dense.macs == 2_293_000
    scales = 20 + 50 + 500 + 10 + 4 * 2 if static else 510
    assert counts.num_params == dense.num_params + scales
    assert 0.24 < counts.num_bytes / dense.num_bytes < (0.27 if static else 0.32)
    rest = 0 if static else 20 * 25 + 20 + 50 * 500 + 50
    assert sum(layer.get("params", 0) for layer in compressed.layers.values()) == counts.num_params - rest

    path = tmp_path / "network.pt"
    save_network(path, network, BUILDER, compressed.structure)
    assert path.stat().st_size < 0.35 * dense.num_bytes


def test_another_process_loads_the_files_and_computes_the_same_bits(lenet, runner, tmp_path):
    images = next(iter(runner.data.train_batches(16, 0)))[0]
    for name, method in {"dynamic": QuantiseDynamic(), "static": QuantiseStatic(num_batches=2)}.items():
        compressed = method.compress(lenet, runner)
        save_network(tmp_path / f"{name}.pt", compressed.network, BUILDER, compressed.structure)
        torch.save((images, compressed.network.eval()(images)), tmp_path / f"{name}.pair")
    script = (
        "import sys, torch; from decompositions import load_network; torch.set_num_threads(1)\n"
        "for name in ('dynamic', 'static'):\n"
        f"    x, y = torch.load(f'{tmp_path}/{{name}}.pair')\n"
        f"    assert torch.equal(load_network(f'{tmp_path}/{{name}}.pt')(x), y)\n"
        "assert 'pytorch_lightning' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "make", "shape"), [(StaticLinear, nn.Linear, (8,)), (StaticConvolution, nn.Conv1d, (8, 5))]
)
def test_a_layer_works_after_copying_and_after_other_weights_were_loaded(kind, make, shape):
    size = (1,) * (len(shape) - 1)
    first, second = (kind(make(8, 4, *size), -1.0, top) for top in (1.0, 2.0))
    inputs = torch.rand(3, *shape)
    expected = second(inputs)
    assert not torch.equal(first(inputs), expected)
    assert torch.equal(copy.deepcopy(second)(inputs), expected)
    first.load_state_dict(second.state_dict())
    assert torch.equal(first(inputs), expected), "no packed weight of before"


def test_the_packed_weight_counts_as_memory():
    layer, batch = StaticConvolution(nn.Conv2d(1000, 1000, 1)), torch.zeros(1, 1000, 1, 1)
    layer(batch)
    assert measure_peak_memory_mib(layer, batch) > 2_000_000 / MIB


def test_ranges_come_from_the_stated_batches_of_the_training_part_alone(lenet, runner, monkeypatch):
    for part in ("validation", "test"):
        monkeypatch.setattr(Noise, f"{part}_batches", lambda *_: pytest.fail("another part was read"))
    batches = [images for images, _ in runner.data.train_batches(16, 0)]
    for num in (1, 3):
        conv1 = QuantiseStatic(num).compress(lenet, runner).network.conv1
        seen = torch.cat(batches[:num])
        low, high = float(seen.min()), float(seen.max())
        assert float(conv1.input_scale) == pytest.approx((high - low) / 255)
        assert int(conv1.input_zero) == round(-low / ((high - low) / 255))
    assert float(seen.min()) < float(batches[0].min()) or float(seen.max()) > float(batches[0].max())


def test_what_cannot_be_quantised_says_why(lenet, runner):
    with pytest.raises(ValueError, match=r"no layer to quantise .*method=quantise_static has it"):
        QuantiseDynamic(layers=["conv*"]).check(lenet, SHAPE, SCHEDULE)
    lenet.conv1.padding_mode, lenet.conv1.padding = "reflect", (0, 0)
    layers = QuantiseStatic(layers=["conv*"]).compress(lenet, runner).layers
    assert "padding_mode=reflect" in layers["conv1"]["reason"]
    assert layers["fc1"]["reason"] == "not selected by layers"


def test_another_device_is_refused_before_anything_trains(make_point, monkeypatch):
    monkeypatch.setattr(TrainerConfig, "device", lambda trainer_config: torch.device("cuda", 0))
    monkeypatch.setattr(quantise, "require_kernels", lambda static: None)  # whatever this processor can do
    for method in ("quantise_dynamic", "quantise_static"):
        with pytest.raises(ConfigError, match="expected a device of cpu, got cuda; take trainer=cpu"):
            build_components(make_point(f"method={method}"))
    build_components(make_point("method=prune"))


@pytest.mark.parametrize(
    ("method", "kind"),
    [(QuantiseDynamic(), DynamicLinear), (QuantiseStatic(), StaticLinear), (QuantiseStatic(), StaticConvolution)],
)
@pytest.mark.usefixtures("needs_int8")
def test_a_processor_that_overflows_is_refused(lenet, monkeypatch, method, kind):
    forward = kind.forward
    method.check(lenet, SHAPE, SCHEDULE)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="this processor overflows"):
        patch.setattr(kind, "forward", lambda self, x: forward(self, x).clamp(max=32))
        method.check(lenet, SHAPE, SCHEDULE)
    monkeypatch.setattr(int8.torch.ops, "onednn", SimpleNamespace())
    with pytest.raises(ValueError, match="built with oneDNN"):
        QuantiseStatic().check(lenet, SHAPE, SCHEDULE)


def test_int8_convolutions_are_counted_as_float_ones():
    for dense in CONVOLUTIONS:
        shape = (4, *[9] * (dense.weight.ndim - 2))
        assert count_macs(nn.Sequential(StaticConvolution(dense)), shape) == count_macs(nn.Sequential(dense), shape) > 0


@pytest.mark.parametrize("method", ["quantise_dynamic", "quantise_static"])
def test_the_row_of_a_point(make_point, method, monkeypatch, request):
    if method == "quantise_static":
        request.getfixturevalue("needs_int8")
    monkeypatch.setattr(Runner, "train", lambda *_, **__: None)
    point = make_point(f"method={method}")
    result = run_point(point)
    assert result.status == "ok", result.status
    before, after = result.reference, result.compressed
    assert after.epochs == 0
    assert after.macs == before.macs
    assert after.num_bytes < 0.3 * before.num_bytes
    assert abs(after.test_top1_percent - before.test_top1_percent) < 3
    assert {layer["form"] for layer in result.layers.values()} == {"int8"}
    assert 0 < result.violation < 1
    components = build_components(point)
    components.data.setup()
    runner = Runner(components.data, components.schedule, components.trainer_config, None, 0)
    stored = runner.test(load_network(point.directory / "network.pt"))
    assert dataclasses.astuple(stored)[0] == after.test_top1_percent
