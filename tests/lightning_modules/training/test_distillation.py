"""Distillation against its formula in NumPy, and that nothing but its student learns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.training.distillation import Distillation, Distilled, distillation_loss
from orchestration.run.build import build_components


def by_hand(z, y, reference, weight, temperature):
    def log_softmax(a):
        a = a - a.max(1, keepdims=True)
        return a - np.log(np.exp(a).sum(1, keepdims=True))

    p, q = log_softmax(reference / temperature), log_softmax(z / temperature)
    divergence = (np.exp(p) * (p - q)).sum(1).mean()
    own = -log_softmax(z)[np.arange(len(y)), y].mean()
    return (1 - weight) * own + weight * temperature**2 * divergence


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 4.0), (1.0, 1.0), (0.3, 4.0), (0.9, 20.0)])
def test_loss_is_its_formula(weight, temperature):
    torch.manual_seed(0)
    z, reference, y = 3 * torch.randn(9, 5).double(), 3 * torch.randn(9, 5).double(), torch.randint(5, (9,))
    found = distillation_loss(z, y, reference, Distillation(weight, temperature))
    expected = by_hand(z.numpy(), y.numpy(), reference.numpy(), weight, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_temperature_leaves_the_gradients_scale():
    """T² in front: at high temperature the gradient tends to (z − z_reference)/classes, not to zero [HVD15]."""
    z = torch.tensor([[0.3, -0.1, -0.2]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[0.1, 0.2, -0.3]], dtype=torch.float64)
    distillation_loss(z, torch.tensor([0]), reference, Distillation(1.0, 1e3)).backward()
    assert z.grad is not None
    assert z.grad.numpy() == pytest.approx(((z - reference) / 3).detach().numpy(), rel=1e-3)


def test_the_reference_only_teaches():
    reference = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.9), nn.Linear(6, 3))
    before = copy.deepcopy(reference.state_dict())
    loss = Distilled(reference, Distillation(1.0, 2.0))
    images, labels = torch.randn(8, 4), torch.randint(3, (8,))
    logits = torch.randn(8, 3, requires_grad=True)
    first, second = loss(images, logits, labels), loss(images, logits, labels)
    assert first == second, "dropout is off"
    first.backward()
    assert all(parameter.grad is None for parameter in reference.parameters())
    assert all(torch.equal(before[name], value) for name, value in reference.state_dict().items())


def test_a_student_of_a_given_teacher_comes_nearer_to_it(make_point):
    """From scratch with the teacher's outputs alone: its answers are nearer to the teacher's than without."""
    from decompositions import load_network
    from orchestration.run.run_point import run_point

    distances = []
    for weight in (0.0, 1.0):
        point = make_point(
            "network.hidden=[32]", "method=scratch", "rank.share=0.5", f"schedule.distillation.weight={weight}",
            "schedule.reference.epochs=30", "schedule.from_scratch.epochs=30",
        )  # fmt: skip
        assert run_point(point).is_ok
        network = load_network(point.directory / "network.pt")
        reference = load_network(next((point.results_dir / "references").rglob("*.pt")))
        data = build_components(point).data
        data.setup()
        images = torch.cat([batch for batch, _ in data.test_batches()])
        with torch.no_grad():
            distances.append(float((network(images).softmax(1) - reference(images).softmax(1)).abs().sum(1).mean()))
    assert distances[1] < 0.8 * distances[0]
