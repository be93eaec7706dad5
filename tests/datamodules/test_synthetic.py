"""Random data: of every shape, the same from the same seed, easy to learn, and small in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from datamodules.data import Batches, Data
from datamodules.normalisation import Normalisation
from datamodules.synthetic import Pool, Synthetic
from orchestration.config.shared import split_options


def made(shape=(1, 12, 9), num_classes=4, num_train=120, num_validation=30, num_test=50, seed=0) -> Synthetic:
    data = Synthetic(list(shape), num_classes, num_train, num_validation, num_test, seed)
    data.setup()
    return data


def epoch(batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 7, 1), (6, 3, 12, 16), (5, 1, 3, 40)])
def test_shapes_and_numbers(shape):
    data = made(shape)
    assert isinstance(data, Data)
    assert (data.input_shape, data.num_classes) == (shape, 4)
    parts = {"120 train": data.train_batches(32, 0), "30 validation": data.validation_batches()}
    for said, batches in {**parts, "50 test": data.test_batches()}.items():
        images, labels = epoch(batches)
        assert said.split()[0] == str(len(labels))
        assert images.shape == (len(labels), *shape)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert labels.unique().tolist() == [0, 1, 2, 3]
        assert said in data.split
    assert data.split.startswith("synthetic: ")
    assert [len(labels) for _, labels in data.train_batches(32, 0)] == [32, 32, 32, 24]
    assert len(data.train_batches(32, 0)) == 4


@pytest.mark.parametrize("shape", [(2, 12, 9), (3, 2, 5, 20)])
def test_samples_against_brute_force(shape):
    pool = Pool.draw(shape, 5, torch.Generator().manual_seed(1))
    labels, noises = torch.tensor([4, 0, 4]), torch.tensor([7, 7, 200])
    for sample, label, noise in zip(pool.samples(labels, noises).numpy(), labels, noises, strict=True):
        expected = pool.noises[noise].numpy().astype(int)
        *_, height, width = shape
        rows, columns = pool.patterns.shape[-2:]
        for y in range(height):
            for x in range(width):
                expected[..., y, x] += pool.patterns[label].numpy()[..., y * rows // height, x * columns // width]
        assert np.array_equal(sample, expected), "no byte runs over"


def test_samples_are_about_normal():
    images, _ = epoch(made((3, 32, 32), num_classes=50, num_train=1000).train_batches(100, 0))
    assert abs(float(images.mean())) < 0.05
    assert float(images.std()) == pytest.approx(1, abs=0.05)


def test_the_same_seed_makes_the_same_data_and_order():
    first, again, other = made(), made(), made(seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.fingerprint != made(num_test=51).fingerprint
    torch.manual_seed(5)
    for one, two in zip(epoch(first.train_batches(32, 7)), epoch(again.train_batches(50, 7)), strict=True):
        assert torch.equal(one, two)
    for name in ("validation_batches", "test_batches"):
        assert torch.equal(epoch(getattr(first, name)())[0], epoch(getattr(again, name)())[0])
        assert not torch.equal(epoch(getattr(first, name)())[0], epoch(getattr(other, name)())[0])
    later = first.train_batches(32, 7)
    later.epoch = 1
    order = epoch(first.train_batches(32, 7))[1].tolist()
    assert epoch(later)[1].tolist() != order != epoch(first.train_batches(32, 8))[1].tolist()
    assert sorted(epoch(later)[1].tolist()) == sorted(order)


def test_large_samples_share_a_pool():
    data = made((3, 224, 224), num_classes=1000, num_train=10**6)
    assert data._pools[torch.device("cpu")].noises.nbytes <= 2**25
    images, _ = next(iter(data.train_batches(4, 0)))
    assert images.shape == (4, 3, 224, 224)
    assert len(Pool.draw((2**12, 1, 2**13 + 1), 2, torch.Generator()).noises) == 1
    clips = made((6, 3, 120, 160), num_test=110)
    assert [len(labels) for _, labels in clips.test_batches()] == [108, 2]


def test_a_small_network_learns_it():
    torch.manual_seed(0)
    data = made(num_train=400)
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for images, labels in data.train_batches(20, 0):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    images, labels = epoch(data.test_batches())
    assert float((network(images).argmax(1) == labels).float().mean()) > 0.8, "chance: 0.25"


@pytest.mark.parametrize(
    ("preset", "shape", "num_classes"),
    [
        ("synthetic", (1, 28, 28), 10),
        ("synthetic_cifar10", (3, 32, 32), 10),
        ("synthetic_imagenet", (3, 224, 224), 1000),
        ("synthetic_ucf11", (6, 3, 120, 160), 11),
    ],
)
def test_presets(make_point, preset, shape, num_classes):
    from hydra.utils import instantiate

    node, _ = split_options(make_point(f"dataset={preset}").config["dataset"], Normalisation)
    data = instantiate(node, _convert_="all")
    assert (data.input_shape, data.num_classes) == (shape, num_classes)


def test_a_point_runs_on_it(make_point):
    from orchestration.run.run_point import run_point

    sizes = ["dataset.num_train=200", "dataset.num_validation=50", "dataset.num_test=50"]
    shape = ["dataset.shape=[3,8,8]", "dataset.num_classes=3", "dataset.seed=4"]
    result = run_point(make_point("dataset=synthetic", *sizes, *shape, "network=lenet300", "method=svd"))
    assert result.status == "ok"
    assert result.signature["split"] == ("synthetic: 200 train, 50 validation, 50 test; 3×8×8, 3 classes, seed 4")


@pytest.mark.parametrize(
    "wrong", ["shape=[28,28]", "shape=[1,0,8]", "num_classes=1", "num_test=0", "shape=[2,2,2,2,2]"]
)
def test_wrong_options_are_refused(make_point, wrong):
    from orchestration.errors import ConfigError

    with pytest.raises(ConfigError, match=rf"dataset\.{wrong.split('=')[0]}.*: expected"):
        make_point("dataset=synthetic", f"dataset.{wrong}")
