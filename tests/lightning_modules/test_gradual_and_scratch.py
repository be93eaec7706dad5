"""Gradual compression reaches its rule's ranks in stages; training from scratch owes the reference its ranks alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions import compress, load_network
from decompositions.core.frontier import Frontier
from decompositions.svd import SVD
from decompositions.tucker2 import Tucker2
from lightning_modules.gradual import absorb, weakened
from lightning_modules.training.runner import Runner
from orchestration.run.run_point import run_point


def frontier(*allowed: tuple[int, int]) -> Frontier:
    none = torch.zeros(1, dtype=torch.int64)
    ranks = torch.full((1, len(allowed)), -1)
    return Frontier(ranks, none, none, torch.zeros(1, dtype=torch.float64), 1.0, allowed, 0, 0)


@pytest.mark.parametrize(
    ("before", "wanted", "share", "expected"),
    [
        (None, 4, 0.5, 12),  # from the full rank, 20
        (12, 4, 0.5, 8),
        (12, 4, 1.0, 4),
        (12, 15, 0.5, 12),  # never up again
        (12, None, 0.5, 12),  # the rule would keep it dense
        (None, None, 0.5, None),
        ((10, 7), (4, 2), 0.5, (7, 4)),  # 4.5 is rounded down
    ],
)
def test_weakened_ranks(before, wanted, share, expected):
    allowed = ((1, 20),) if not isinstance(wanted, tuple) else ((1, 20), (1, 9))
    assert weakened(before, wanted, frontier(*allowed), share) == expected


def test_a_dense_network_takes_over_what_its_compressed_form_learned():
    torch.manual_seed(0)
    dense = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 36, 5)
    )
    images = torch.randn(4, 3, 6, 6)
    compressed, report = compress(dense, Tucker2(), budget=0.4, example_input=images)
    compressed.train()
    for _ in range(3):  # moves factors, biases, and the running statistics
        loss = compressed(images).square().sum()
        loss.backward()
        with torch.no_grad():
            for parameter in compressed.parameters():
                parameter.add_(parameter.grad, alpha=-1e-3)
                parameter.grad = None
    parameter_before = dense[4].weight
    absorb(dense, compressed, list(report.structure))
    assert torch.allclose(dense.eval()(images), compressed.eval()(images), atol=1e-5)
    assert dense[4].weight is parameter_before, "in place: whoever looks at these weights sees the new values"
    assert type(compressed[4]) is not nn.Linear, "the compressed network stays compressed"


def run(make_point, *overrides):
    point = make_point("network.hidden=[48,32]", *overrides)
    result = run_point(point)
    assert result.status == "ok", result.status
    return point, result


def test_stages_go_down_to_the_ranks_of_the_rule(make_point):
    _, result = run(
        make_point, "method=gradual", "rank=fixed", "rank.ranks={fc1:6,fc2:4}", "method.num_stages=3",
        "schedule.fine_tune.epochs=7",
    )  # fmt: skip
    ranks = [(entry["ranks"]["fc1"], entry["ranks"]["fc2"]) for entry in result.history]
    assert ranks == [(27, 18), (16, 11), (6, 4)], "half of the way from 48 and 32, half of the rest, the rest"
    assert result.layers["fc3"]["rank"] is None
    assert result.compressed.epochs == 7, "the stages share the epochs: 2, 2 and 3"


def test_gradual_meets_a_budget_and_stages_train_anew(make_point, monkeypatch):
    phases = []
    real = Runner.train

    def noted(self, module, title, **options):
        phases.append((title, module.phase.epochs))
        return real(self, module, title, **options)

    monkeypatch.setattr(Runner, "train", noted)
    _, result = run(
        make_point, "method=gradual", "decomposition=tucker2", "rank.share=0.3", "schedule.fine_tune.epochs=5",
        "method.num_stages=2",
    )  # fmt: skip
    assert phases == [("reference", 2), ("stage 1", 2), ("stage 2", 3)]
    assert result.compressed.num_params <= 0.3 * result.reference.num_params
    assert len(result.history) == 2


def test_from_scratch_takes_nothing_but_ranks_from_the_reference(make_point):
    """Without an epoch of training the network is what the seed says: dense layers as untrained, factors drawn."""
    point, result = run(
        make_point, "method=scratch", "rank=fixed", "rank.ranks={fc1:5}", "schedule.from_scratch.epochs=0", "seed=3"
    )
    network = load_network(point.directory / "network.pt")
    from orchestration.run.build import build_components

    untrained = build_components(point).network(3)
    assert torch.equal(network.fc2.weight, untrained.fc2.weight)
    assert result.violation is None
    reference = load_network(next((point.results_dir / "references").rglob("*.pt")))
    product = network.fc1[1].weight @ network.fc1[0].weight
    best = SVD().analyse(reference.fc1.weight.detach()).decompose(5).to_tensor()
    assert not torch.allclose(product, best, atol=0.05)
    assert result.layers["fc1"]["rank"] == 5


def test_gain_sets_the_scale_of_the_start(make_point):
    scales = []
    for gain in (1.0, 2.0):
        point, _ = run(
            make_point, "method=scratch", "rank=fixed", "rank.ranks={fc1:20}", "schedule.from_scratch.epochs=0",
            f"method.gain={gain}",
        )  # fmt: skip
        layer = load_network(point.directory / "network.pt").fc1
        scales.append(float((layer[1].weight @ layer[0].weight).square().detach().mean()))
    assert scales[1] / scales[0] == pytest.approx(4.0, rel=1e-4)
