"""The official MNIST files, where DATA_ROOT names a folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from datamodules.memory.idx_files import find_file
from datamodules.memory.idx_images import FILES
from datamodules.memory.mnist import MNIST

ROOT = Path(os.environ.get("DATA_ROOT", "data"))
present = all(find_file(ROOT / "MNIST" / "raw", name) for pair in FILES.values() for name in pair)
pytestmark = pytest.mark.skipif(not present, reason=f"no MNIST in {ROOT.absolute()}/MNIST/raw; set DATA_ROOT")


@pytest.fixture(scope="module")
def mnist():
    data = MNIST(str(ROOT))
    data.setup()
    return data


def test_known_counts(mnist):
    assert [len(p) for p in (mnist.train, mnist.validation, mnist.test)] == [55_000, 5_000, 10_000]
    labels = torch.cat([mnist.train.labels, mnist.validation.labels])
    assert torch.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = torch.cat([mnist.train.images, mnist.validation.images]).double() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)


def test_a_network_learns_it_within_an_epoch(make_point):
    from orchestration.run.run_point import run_point

    point = make_point(
        "dataset=mnist", f"dataset.root={ROOT}", "network=lenet300", "method=reference", "schedule.reference.epochs=1"
    )
    result = run_point(point)
    assert result.status == "ok"
    assert result.reference.num_params == 266_610
    assert result.reference.test_top1_percent > 93
