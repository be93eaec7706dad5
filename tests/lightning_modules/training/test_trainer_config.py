"""Every option of a trainer config changes what it names, and leaves a plain network behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from datamodules.memory.in_memory import Images, InMemoryData
from lightning_modules.training.classifier import Classifier
from lightning_modules.training.decay import Exponential
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from tests.conftest import ROOT
from tests.pretend_gpu import pretend_gpu

NUM, BATCH = 24, 4


class Noise(InMemoryData):
    input_shape, num_classes, scale, split = (3, 8, 8), 5, 255.0, "noise"

    def load(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (NUM, 3, 8, 8), generator=generator, dtype=torch.uint8)
        part = Images(images, torch.randint(5, (NUM,), generator=generator))
        return part, part, part


@pytest.fixture(scope="module")
def data():
    data = Noise()
    data.evaluation_batch_size = 4
    data.setup()
    return data


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 5))


def trained_network(net, data, epochs=1, **options):
    """Train `net` by plain SGD; return the runner."""
    phase = Phase(epochs=epochs, learning_rate=0.05, decay=Exponential(), momentum=0.0, nesterov=False)
    schedule = Schedule(1.0, BATCH, phase, phase, 1.0, phase, phase, Penalty(1e-3, 1.1, 1))
    runner = Runner(data, schedule, TrainerConfig("cpu", **options), None, seed=0)
    runner.train(Classifier(net, phase), "test", show=False)
    return runner


def trained(data, epochs=1, **options):
    net = network()
    seen = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].dtype)))
    layouts = []
    net[0].register_forward_hook(lambda m, i, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last)))
    return net, trained_network(net, data, epochs, **options), seen, layouts


def distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def test_the_network_is_plain_afterwards_and_no_module_is_held_twice(data):
    net, *_ = trained(data, channels_last=True)
    assert all(parameter.is_contiguous() for parameter in net.parameters())
    module = Classifier(net, Phase(1, 0.1, Exponential()))
    with TrainerConfig("cpu", channels_last=True).training_forward(net) as module.forward_network:
        assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert all(name.startswith("network.") for name in module.state_dict())
    copy.deepcopy(net)


def test_channels_last_changes_the_layout_and_not_the_numbers(data):
    plain, _, _, layouts = trained(data)
    assert not any(layouts)
    laid_out, _, _, layouts = trained(data, channels_last=True)
    assert all(layouts) and layouts
    assert 0 <= distance(plain, laid_out) < 1e-5


def test_channels_last_of_clips():
    layer = nn.Conv3d(2, 3, 3)
    seen = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.extend([inputs[0], module.weight.data]))
    with TrainerConfig("cpu", channels_last=True).training_forward(layer) as call:
        call(torch.randn(1, 2, 4, 4, 4))
        assert all(tensor.is_contiguous(memory_format=torch.channels_last_3d) for tensor in seen)
        assert len(seen) == 2
    assert layer.weight.is_contiguous()


def test_mixed_precision_is_near_and_not_equal(data):
    plain, *_ = trained(data)
    mixed, *_ = trained(data, precision="bf16-mixed")
    assert 1e-6 < distance(plain, mixed) < 0.02
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())


def test_a_precision_that_the_cpu_has_not_is_refused():
    with pytest.raises(ValueError, match="precision=16-mixed: expected a GPU, got accelerator=cpu; take bf16-mixed"):
        TrainerConfig("cpu", precision="16-mixed")


def test_accumulated_batches_are_one_batch(data):
    """Of plain SGD on equal batches the mean of two gradients is that of the batch of both."""
    halves, runner, *_ = trained(data, accumulate=2)
    assert runner.steps == NUM // BATCH // 2
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    batches = list(data.train_batches(2 * BATCH, 0))
    for images, labels in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert distance(halves, net) < 1e-6


def test_compiled_training_takes_the_same_steps(data, monkeypatch):
    compiled_calls = []
    compile_ = torch.compile

    def eager(call):
        compiled_calls.append(call)
        return compile_(call, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", eager)
    plain, *_ = trained(data)
    assert not compiled_calls
    compiled, *_ = trained(data, compile=True)
    assert len(compiled_calls) == 1
    assert distance(plain, compiled) < 1e-6


@pytest.fixture
def compilations(monkeypatch):
    """Compile for no backend; count the graphs."""
    from torch._dynamo.testing import CompileCounter

    counter, compile_ = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda call: compile_(call, backend=counter))
    return counter


def passes(network: nn.Module, sizes=(4,)) -> None:
    with TrainerConfig("cpu", compile=True).training_forward(network) as call:
        for size in sizes:
            call(torch.zeros(size, 3))


def test_every_structure_is_compiled_and_l_steps_share_one(compilations):
    """Torch would compile eight, and run the others as they are without a word."""
    networks = [nn.Sequential(nn.Linear(3, 2 + n), nn.ReLU(), nn.Linear(2 + n, 2)) for n in range(10)]
    for network in networks:
        passes(network)
    assert compilations.frame_count == 10
    for _ in range(10):
        passes(networks[-1])
    assert compilations.frame_count == 10


def test_what_would_go_on_uncompiled_raises(compilations):
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * len("." * self.calls)

    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        passes(Counting(), sizes=[4] * 20)


@pytest.mark.usefixtures("without_gpu")
def test_a_gpu_is_missed_by_name_and_tf32_is_for_one():
    with pytest.raises(Exception, match="No supported gpu backend found"):
        TrainerConfig("gpu").device()
    with pytest.raises(ValueError, match="tf32=true: expected a GPU, got accelerator=cpu; leave it out"):
        TrainerConfig("cpu", tf32=True)


def test_tf32_is_one_switch_of_each_run_and_in_its_row():
    """Torch's own defaults are two: convolutions are rounded, and products are not."""
    from evaluation.environment import environment

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        for tf32 in (True, False):
            with pretend_gpu():
                device = TrainerConfig("gpu", tf32=tf32).device()
                found = environment(device)
            assert found["tf32"] == {"products": tf32, "convolutions": tf32}
            assert found["device"] == "pretended" and found["num_devices"] == 1
            assert {"driver", "cuda", "cudnn"} <= set(found)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    assert "tf32" not in environment(torch.device("cpu"))


def test_deterministic_is_a_switch_of_each_run(data):
    def flags(**options):
        trained(data, **options)
        return torch.are_deterministic_algorithms_enabled()

    assert [flags(deterministic=True), flags(), flags(deterministic=True), flags()] == [True, False, True, False]


def test_limited_batches_of_every_part(data):
    _, runner, seen, _ = trained(data, epochs=3, limit_batches=2)
    assert len(seen) == 6
    assert runner.steps == 6
    net = network()
    count = []
    net.register_forward_hook(lambda *a: count.append(1))
    runner.validate(net)
    runner.test(net)
    assert len(count) == 4


def test_limited_batches_follow_the_epoch(data):
    from datamodules.partial_epochs import FirstBatches

    whole = data.train_batches(BATCH, 0)
    limited = FirstBatches(whole, 2)
    for epoch in (0, 3):
        whole.epoch = epoch
        expected = [labels.tolist() for _, labels in whole][:2]
        assert [labels.tolist() for _, labels in limited] == expected
    assert len(limited) == 2
    assert len(FirstBatches(whole, 99)) == len(whole)


def test_every_file_is_composed_and_smoke_marks_its_row(make_point):
    from orchestration.run.run_point import run_point

    for path in (ROOT / "conf" / "trainer").glob("*.yaml"):
        make_point(f"trainer={path.stem}", tiny=False)
    result = run_point(make_point("trainer=smoke", "logger=none", tiny=False))
    assert result.status == "ok", result.status
    assert result.signature["split"].endswith("; of each the first 2 batches only")
    assert result.reference.epochs == 1
    assert result.compressed.epochs == 5  # two L steps, and three of fine-tuning
