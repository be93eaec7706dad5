"""The whole joint method against learning-compression written out in NumPy: weights, multipliers, ranks, penalties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from datamodules.memory.in_memory import Images, InMemoryData
from decompositions.rank_search.cost import Cost
from decompositions.svd import SVD
from lightning_modules.joint import Joint
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.decay import Exponential
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


def reference_lc(weight, bias, x, labels, penalty, multipliers):
    """LC as [IC20] writes it, with full-batch gradient descent and one full SVD per C step."""
    history = []

    def c_step(a, mu):
        u, s, v = np.linalg.svd(a, full_matrices=False)
        costs = {r: LAMBDA * r * (OUT + WIDTH) + mu / 2 * np.sum(s[r:] ** 2) for r in range(1, 3)}
        costs[None] = LAMBDA * OUT * WIDTH
        rank = min(costs, key=costs.get)
        return rank, a if rank is None else (u[:, :rank] * s[:rank]) @ v[:rank]

    beta, theta = np.zeros_like(weight), weight
    for j in range(STEPS + 1):
        mu = penalty.initial * penalty.growth**j
        for _ in range(EPOCHS if j else 0):
            logits = x @ weight.T + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(NUM), labels] -= 1
            gradient = p.T @ x / NUM + mu * (weight - theta - beta / mu)
            weight, bias = weight - RATE * gradient, bias - RATE * p.mean(0)
        rank, theta = c_step(weight - beta / mu, mu)
        if multipliers:
            beta = beta - mu * (weight - theta)
        history.append((rank, 0.0 if rank is None else np.sum((weight - theta) ** 2)))
    return weight, history


@pytest.mark.parametrize("multipliers", [True, False])
def test_same_ranks_violations_and_weights(multipliers, tmp_path):

    data = OneBatch()
    data.setup()
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, OUT)).double()
    penalty = Penalty(initial=0.02, growth=2.0, num_steps=STEPS)
    plain = Phase(EPOCHS, RATE, Exponential(), momentum=0.0)
    none = Phase(0, RATE, Exponential())
    schedule = Schedule(1.0, NUM, plain, plain, 1.0, none, none, penalty)
    x = (data.train.images.double() / 255.0 - data.normalise.mean).reshape(NUM, WIDTH).numpy()
    start = [network[1].weight.detach().numpy().copy(), network[1].bias.detach().numpy().copy()]
    weight, expected = reference_lc(*start, x, data.train.labels.numpy(), penalty, multipliers)

    network.float()
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", every_seconds=1e9, origin={})
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0, checkpoint=checkpoint)
    method = Joint(SVD(), Cost(LAMBDA, "macs", relative=False), multipliers=multipliers)
    done = method.compress(network, runner)
    assert [h["ranks"]["1"] for h in done.history] == [rank for rank, _ in expected]
    assert len({rank for rank, _ in expected}) > 1, "the ranks must move, or little is tested"
    assert [h["violation"] for h in done.history] == pytest.approx([v for _, v in expected], rel=1e-3, abs=1e-6)
    assert checkpoint.position.state is not None
    assert checkpoint.position.state["network"]["1.weight"].numpy() == pytest.approx(weight, abs=1e-5)
    assert network[1].weight.detach().numpy() == pytest.approx(start[0], abs=1e-7), "the reference stays as it is"
