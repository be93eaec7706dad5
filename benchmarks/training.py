"""Time the harness: LeNet300 through this suite's Lightning path against a bare loop, and the joint objective
against plain training.

    python -m benchmarks.training [--rounds 5]

Data: random images of MNIST's shape and number, in memory on both sides; only the time is looked at. The bare loop
draws a permutation, cuts batches of 256 from it, normalises them, and steps SGD with Nesterov momentum.
"""

from __future__ import annotations

import argparse

import torch
from torch.nn import functional

from benchmarks.ratios import medians, report
from datamodules.memory.in_memory import Images, InMemoryData
from lightning_modules.training.classifier import Classifier
from lightning_modules.training.decay import Exponential
from lightning_modules.training.joint_objective import JointObjective
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from networks.lenet import lenet300


class RandomMNIST(InMemoryData):
    """55,000 random images of MNIST's shape."""

    input_shape, num_classes, scale, split = (1, 28, 28), 10, 255.0, "random"

    def load(self) -> tuple[Images, Images, Images]:
        """The training part; the others are not read."""
        images = torch.randint(256, (55_000, 1, 28, 28), dtype=torch.uint8)
        train = Images(images, torch.randint(10, (55_000,)))
        return train, train.take(torch.arange(10)), train.take(torch.arange(10))


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    phase = Phase(epochs=1, learning_rate=0.02, decay=Exponential())
    schedule = Schedule(1.0, 256, phase, phase, 1.0, phase, phase, Penalty(1e-3, 1.1, 1))
    data = RandomMNIST()
    data.setup()
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0)
    network = lenet300([1, 28, 28], 10)
    weights = {name: network.get_parameter(f"{name}.weight") for name in ("fc1", "fc2", "fc3")}
    zeros = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def bare() -> None:
        optimizer = phase.optimizer(network)
        network.train()
        for index in torch.randperm(len(data.train)).split(256):
            images = data.train.images[index].to(torch.float32).div_(data.scale).sub_(data.normalise.mean)
            loss = functional.cross_entropy(network(images), data.train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def plain() -> None:
        runner.train(Classifier(network, phase), "plain", show=False)

    def joint() -> None:
        objective = JointObjective(
            network, phase, 1.0, weights=weights, compressed=zeros, multipliers=zeros, penalty=1e-3
        )
        runner.train(objective, "joint", show=False)

    times = medians({"bare": bare, "plain": plain, "joint": joint}, rounds)
    report("epoch of LeNet300, Lightning path against bare loop", times["plain"], times["bare"], "goal <= 1.35")
    report("epoch of LeNet300, joint objective against plain training", times["joint"], times["plain"], "goal <= 1.10")


if __name__ == "__main__":
    main()
