"""The L step's gradient, the multipliers' sign, and the joint method's path."""

from __future__ import annotations

import math

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from lightning_modules.core.admm_state import shifted, substituted, update_multipliers
from lightning_modules.training.classifier import Classifier, Diverged
from lightning_modules.training.decay import Cosine, Exponential, Steps
from lightning_modules.training.joint_objective import JointObjective
from lightning_modules.training.schedule import Penalty, Phase
from tests.conftest import ROOT


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3))


@pytest.mark.parametrize("with_multipliers", [True, False])
def test_gradient_equals_autograd_of_the_written_objective(with_multipliers):
    """`L(W) + μ/2 Σ ‖W − Θ − β/μ‖²` differentiated by autograd is the independent way."""
    network, phase, mu = small(), Phase(1, 0.1, Exponential()), 0.37
    weights = {"1": network[1].weight, "3": network[3].weight}
    compressed = {n: torch.randn_like(w) for n, w in weights.items()}
    multipliers = {n: torch.randn_like(w) for n, w in weights.items()} if with_multipliers else None
    x, y = torch.randn(5, 12), torch.tensor([0, 1, 2, 1, 0])

    penalty = 0.0
    for name, weight in weights.items():
        target = compressed[name] + (multipliers[name] / mu if multipliers else 0.0)
        penalty = penalty + mu / 2 * (weight - target).square().sum()
    expected = torch.autograd.grad(functional.cross_entropy(network(x), y) + penalty, list(network.parameters()))

    objective = JointObjective(
        network, phase, 1.0, weights=weights, compressed=compressed, multipliers=multipliers, penalty=mu
    )
    functional.cross_entropy(network(x), y).backward()
    objective.on_before_optimizer_step(phase.optimizer(network))
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-5, atol=1e-6)


def test_multipliers_move_the_next_c_step_towards_feasibility():
    """`β ← β − μ (W − Θ)` and `A = W − β/μ`: the part of W that Θ lacks is added to what the C step sees."""
    weight = {"a": torch.tensor([[3.0, 0.0], [0.0, 1.0]])}
    compressed = {"a": torch.tensor([[3.0, 0.0], [0.0, 0.0]])}
    multipliers = {"a": torch.zeros(2, 2)}
    update_multipliers(multipliers, weight, compressed, penalty=0.5)
    assert multipliers["a"].tolist() == [[0, 0], [0, -0.5]]
    assert shifted(weight, multipliers, 0.5)["a"].tolist() == [[3, 0], [0, 2]]
    assert shifted(weight, None, 0.5)["a"].tolist() == [[3, 0], [0, 1]]


def test_substituted_weights_come_back_even_after_an_error():
    network = small()
    before = network[1].weight.detach().clone()
    with pytest.raises(RuntimeError), substituted({"1": network[1].weight}, {"1": torch.zeros(7, 12)}):
        assert network[1].weight.abs().sum() == 0
        raise RuntimeError
    assert torch.equal(network[1].weight, before)


def test_penalty_schedule():
    penalty = Penalty(initial=1e-3, growth=1.1, num_steps=30)
    assert penalty.weight(0) == 1e-3
    assert penalty.weight(30) == pytest.approx(1e-3 * 1.1**30)


def test_decays():
    assert [Exponential(0.25)(s) for s in (0, 0.5, 1)] == [1, 0.5, 0.25]
    assert [Steps([0.5, 0.75], 0.1)(s) for s in (0, 0.49, 0.5, 0.8)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [Cosine(0.2)(s) for s in (0, 0.5, 1)] == pytest.approx([1, 0.6, 0.2])


@pytest.mark.parametrize("epochs", [3, 7, 90, 105, 900, 4999])
def test_a_step_comes_at_its_epoch_though_its_share_is_rounded(epochs):
    for epoch in {1, epochs // 3, epochs // 2, 2 * epochs // 3, epochs - 1}:
        decay = Steps([round(epoch / epochs, 4)], 0.1)
        assert (decay((epoch - 1) / epochs), decay(epoch / epochs)) == (1, 0.1)


@pytest.mark.parametrize(
    ("name", "epochs", "steps"), [("steps_nin", 900, [350, 600, 700, 800]), ("steps_thirds", 90, [30, 60])]
)
def test_published_steps_come_at_their_epochs(name, epochs, steps):
    at = yaml.safe_load((ROOT / "conf" / "decay" / f"{name}.yaml").read_text())["at"]
    rates = [Steps(at, 0.1)(epoch / epochs) for epoch in range(epochs)]
    assert [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]] == steps


def test_phase_options_reach_the_optimizer():
    phase = Phase(2, 0.5, Exponential(0.25), momentum=0.7, nesterov=True, weight_decay=0.03)
    group = phase.optimizer(small(), factor=0.5).param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.25, 0.7, True, 0.03)
    assert phase.optimizer(small()).param_groups[0]["lr"] == 0.5
    assert not Phase(1, 0.1, Exponential(), momentum=0.0).optimizer(small()).param_groups[0]["nesterov"]
    _, (scheduler,) = Classifier(small(), phase).configure_optimizers()
    rates = []
    for _ in range(2):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.5, 0.25])


def test_divergence_is_said_at_the_end_of_the_epoch():
    class Trainer:
        num_training_batches = 1
        current_epoch = 0

    module = Classifier(small(), Phase(1, 0.1, Exponential()))
    module._trainer = Trainer()
    module.training_step((torch.full((2, 12), math.nan), torch.tensor([0, 1])), 0)
    with pytest.raises(Diverged, match="the loss is nan after epoch 1"):
        module.on_train_epoch_end()
