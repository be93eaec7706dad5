"""CIFAR-10 as JPEG files, where DATA_ROOT names a folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from datamodules.listing.places import ENDINGS
from datamodules.memory.image_folder import ImageFolder

ROOT = Path(os.environ.get("DATA_ROOT", "data"))
present = any((ROOT / f"cifar10_jpeg{ending}").exists() for ending in ("", *ENDINGS))
pytestmark = pytest.mark.skipif(not present, reason=f"no cifar10_jpeg in {ROOT.absolute()}; set DATA_ROOT")


def test_a_subset_of_the_archive(make_point):
    from orchestration.run.build import build_components

    overrides = ["dataset=cifar10_jpeg", f"dataset.root={ROOT / 'cifar10_jpeg'}", "dataset.subset_per_class=20"]
    data = build_components(make_point(*overrides, "network=resnet20", "method=svd")).data
    assert isinstance(data, ImageFolder)
    data.setup()
    assert (data.input_shape, data.num_classes) == ((3, 32, 32), 10)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [180, 20, 200]
    assert torch.bincount(data.test.labels).tolist() == [20] * 10
    assert data.split.startswith(
        "CIFAR-10, JPEG-coded: 200 train less 20 validation (random, seed 0), 200 test; at most"
    )
    assert data.fingerprint == "7f2b8ac23407"
    published = torch.tensor([0.4914, 0.4822, 0.4465])  # of the 50,000 official images
    assert torch.allclose(data.normalise.mean.flatten(), published, atol=0.02)
