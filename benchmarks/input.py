"""Time the input: an epoch of batches against torchvision's way, and of ResNet-20 against a bare loop.

    python -m benchmarks.input [--rounds 3]

Data: random bytes of MNIST's and CIFAR-10's shape and number, in memory on both sides. torchvision's way: its data set
classes and transforms, one PIL image after another, batches made by a DataLoader with two worker processes. For
CIFAR-10 both crop, flip and cut out a square of 16×16; RandomErasing is the transform of torchvision that can. The
bare loop trains on the very batches that the Lightning path is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from benchmarks.ratios import medians, report
from datamodules.memory.augment import Augmentation
from datamodules.memory.in_memory import Images, InMemoryData
from lightning_modules.training.classifier import Classifier
from lightning_modules.training.decay import Exponential
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from networks.resnet import resnet

BATCH_SIZE, NUM_WORKERS = 128, 2


class RandomBytes(InMemoryData):
    """`num` random images; those of three channels are moved as CIFAR-10's usually are, with cutout."""

    num_classes, scale, split = 10, 255.0, "random"

    def __init__(self, num: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.num = num
        self.input_shape = shape
        if shape[0] == 3:
            self.per_channel, self.augmentation = True, Augmentation(4, True, 16)
        self.setup()

    def load(self) -> tuple[Images, Images, Images]:
        """The training part; the others are not read."""
        images = torch.randint(256, (self.num, *self.input_shape), dtype=torch.uint8)
        train = Images(images, torch.randint(10, (self.num,)))
        return train, train.take(torch.arange(10)), train.take(torch.arange(10))


def torchvision_way(data: RandomBytes) -> DataLoader:
    """A loader of the same images, made without files."""
    images, labels = data.train.images, data.train.labels
    peer: Dataset
    fields: dict[str, object]
    if data.augmentation is None:
        peer = datasets.MNIST.__new__(datasets.MNIST)
        fields = {"data": images[:, 0], "targets": labels}
        steps: list[Callable] = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    else:
        peer = datasets.CIFAR10.__new__(datasets.CIFAR10)
        fields = {"data": images.permute(0, 2, 3, 1).contiguous().numpy(), "targets": labels.tolist()}
        moments = (data.normalise.mean.flatten().tolist(), [0.25, 0.25, 0.25])
        steps = [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(*moments),
            transforms.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0)),
        ]
    vars(peer).update(fields, transform=transforms.Compose(steps), target_transform=None)
    return DataLoader(peer, BATCH_SIZE, shuffle=True, num_workers=NUM_WORKERS)


def drain(batches: Iterable) -> Callable[[], None]:
    """Read all batches and do nothing with them."""

    def work() -> None:
        for _ in batches:
            pass

    return work


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    shapes = {"MNIST": (60_000, (1, 28, 28)), "CIFAR-10 with crop, flip and cutout": (50_000, (3, 32, 32))}
    for name, (num, shape) in shapes.items():
        data = RandomBytes(num, shape)
        work = {"peer": drain(torchvision_way(data)), "ours": drain(data.train_batches(BATCH_SIZE, seed=0))}
        times = medians(work, rounds)
        report(f"epoch of {name}, in memory against torchvision's way", times["ours"], times["peer"], "goal <= 0.05")

    phase = Phase(epochs=1, learning_rate=0.02, decay=Exponential())
    schedule = Schedule(1.0, BATCH_SIZE, phase, phase, 1.0, phase, phase, Penalty(1e-3, 1.1, 1))
    data = RandomBytes(1280, (3, 32, 32))
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0)
    network = resnet([3, 32, 32], 10, 20)

    def bare() -> None:
        optimizer = phase.optimizer(network)
        network.train()
        for images, labels in data.train_batches(BATCH_SIZE, seed=0):
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def lightning() -> None:
        runner.train(Classifier(network, phase), "ResNet-20", show=False)

    times = medians({"bare": bare, "lightning": lightning}, rounds)
    title = "1280 images through ResNet-20, Lightning path against bare loop"
    report(title, times["lightning"], times["bare"], "goal <= 1.25")


if __name__ == "__main__":
    main()
