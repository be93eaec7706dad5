"""The whole joint method against learning-compression written out in NumPy: weights, multipliers, ranks, penalties."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from datamodules.memory.in_memory import Images, InMemoryData
from decompositions.rank_search.cost import Cost
from decompositions.svd import SVD
from lightning_modules.joint import Joint
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.decay import Exponential, Steps
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig

OUT, WIDTH, NUM, STEPS, EPOCHS, RATE, LAMBDA = 5, 6, 24, 4, 3, 0.05, 0.004


class OneBatch(InMemoryData):
    """Random images, all in one batch, so that the order does not matter."""

    input_shape, num_classes, scale, split = (1, 1, WIDTH), OUT, 255.0, "random"

    def load(self):
        generator = torch.Generator().manual_seed(4)
        images = torch.randint(256, (NUM, 1, 1, WIDTH), dtype=torch.uint8, generator=generator)
        data = Images(images, torch.randint(OUT, (NUM,), generator=generator))
        return data, data, data


def reference_lc(weight, bias, x, labels, mus, multipliers, rates=(RATE,) * STEPS, momentum=0.0, keep=False, low=1):
    """LC as [IC20] writes it, with full-batch gradient descent and one full SVD per C step."""
    history = []
    speed = [np.zeros_like(weight), np.zeros_like(bias)]

    def c_step(a, mu):
        u, s, v = np.linalg.svd(a, full_matrices=False)
        costs = {r: LAMBDA * r * (OUT + WIDTH) + mu / 2 * np.sum(s[r:] ** 2) for r in range(low, 3)}
        costs[None] = LAMBDA * OUT * WIDTH
        rank = min(costs, key=costs.get)
        return rank, a if rank is None else (u[:, :rank] * s[:rank]) @ v[:rank]

    beta, theta = np.zeros_like(weight), weight
    for j in range(STEPS + 1):
        mu = mus[j]
        if not keep:
            speed = [np.zeros_like(weight), np.zeros_like(bias)]
        for _ in range(EPOCHS if j else 0):
            logits = x @ weight.T + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(NUM), labels] -= 1
            gradient = p.T @ x / NUM + mu * (weight - theta) - beta
            speed = [momentum * speed[0] + gradient, momentum * speed[1] + p.mean(0)]
            weight, bias = weight - rates[j - 1] * speed[0], bias - rates[j - 1] * speed[1]
        rank, theta = c_step(weight - beta / mu if mu else weight, mu)
        if multipliers:
            beta = beta - mu * (weight - theta)
        history.append((rank, 0.0 if rank is None else np.sum((weight - theta) ** 2)))
    return weight, history


def both(tmp_path, schedule, method, **options):
    """Run the method and the reference with `options`; compare them, and return the ranks of the steps."""
    data = OneBatch()
    data.setup()
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, OUT)).double()
    x = (data.train.images.double() / 255.0 - data.normalise.mean).reshape(NUM, WIDTH).numpy()
    start = [network[1].weight.detach().numpy().copy(), network[1].bias.detach().numpy().copy()]
    weight, expected = reference_lc(*start, x, data.train.labels.numpy(), **options)

    network.float()
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", every_seconds=1e9, origin={})
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0, checkpoint=checkpoint)
    done = method.compress(network, runner)
    assert [h["ranks"]["1"] for h in done.history] == [rank for rank, _ in expected]
    assert len({rank for rank, _ in expected}) > 1, "the ranks must move, or little is tested"
    assert [h["violation"] for h in done.history] == pytest.approx([v for _, v in expected], rel=1e-3, abs=1e-6)
    assert checkpoint.position.state is not None
    assert checkpoint.position.state["network"]["1.weight"].numpy() == pytest.approx(weight, abs=1e-5)
    assert network[1].weight.detach().numpy() == pytest.approx(start[0], abs=1e-7), "the reference stays as it is"
    return [rank for rank, _ in expected]


def schedule_of(penalty, momentum=0.0, **options):
    l_step = Phase(EPOCHS, RATE, Exponential(), momentum=momentum, nesterov=False)
    none = Phase(0, RATE, Exponential())
    return Schedule(1.0, NUM, none, l_step, 1.0, none, none, penalty, **options)


@pytest.mark.parametrize("multipliers", [True, False])
def test_same_ranks_violations_and_weights(multipliers, tmp_path):
    penalty = Penalty(initial=0.02, growth=2.0, num_steps=STEPS)
    method = Joint(SVD(), Cost(LAMBDA, "macs", relative=False), multipliers=multipliers)
    mus = [0.02, 0.04, 0.08, 0.16, 0.32]
    both(tmp_path, schedule_of(penalty), method, mus=mus, multipliers=multipliers)


def test_a_start_at_zero_begins_at_rank_0_and_without_multipliers(tmp_path):
    penalty = Penalty(initial=0.02, growth=2.0, num_steps=STEPS, start="zero")
    method = Joint(SVD(), Cost(LAMBDA, "macs", relative=False), min_rank=0)
    mus = [0.0, 0.02, 0.04, 0.08, 0.16]
    assert both(tmp_path, schedule_of(penalty), method, mus=mus, multipliers=True, low=0)[0] == 0


@pytest.mark.parametrize("keep", [True, False])
def test_momentum_and_rate_over_all_l_steps(keep, tmp_path):
    """The rate falls to a tenth after half of the four L steps; momentum goes on, or each step begins without."""
    penalty = Penalty(initial=0.02, growth=2.0, num_steps=STEPS)
    schedule = schedule_of(penalty, 0.9, l_steps_decay=Steps([0.5], 0.1), keep_momentum=keep)
    method = Joint(SVD(), Cost(LAMBDA, "macs", relative=False))
    mus = [0.02, 0.04, 0.08, 0.16, 0.32]
    options = {"mus": mus, "rates": [RATE, RATE, RATE / 10, RATE / 10], "momentum": 0.9, "keep": keep}
    both(tmp_path, schedule, method, multipliers=True, **options)


def test_the_first_l_step_has_the_full_rate_where_the_penalty_starts_at_zero():
    for start, expected in (("initial", [0.5, 0.25]), ("zero", [1.0, 0.5])):
        schedule = dataclasses.replace(schedule_of(Penalty(0.02, 2.0, STEPS, start)), l_step_decay=0.5)
        assert [schedule.l_step_factor(number) for number in (1, 2)] == expected
