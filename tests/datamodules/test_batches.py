"""The shares of a batch that several processes read are together the batch, for every kind of data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.memory.augment import Augmentation
from datamodules.memory.digits import Digits
from datamodules.streamed.folder import StreamedFolder
from datamodules.synthetic import Synthetic
from datamodules.video.ucf11 import UCF11
from tests.datamodules.video.videos import write_tree


def digits(folder):
    data = Digits()
    data.augmentation = Augmentation(crop_padding=1, flip=True, cutout=2)
    return data


def streamed(folder):
    rng = np.random.default_rng(0)
    for part, num in (("train", 9), ("test", 4)):
        for name in "ab":
            (folder / part / name).mkdir(parents=True)
            for number in range(num):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return StreamedFolder(str(folder), "small", size=8, resize=10, validation_share=0.2, num_workers=0)


def clips(folder):
    write_tree(folder, groups=range(1, 8), clips=1)  # 15 clips to train on: the last batch of 7 is one clip
    return UCF11(str(folder), height=8, width=10, num_frames=2, flip=True)


MAKERS = {
    "in memory": digits,
    "synthetic": lambda folder: Synthetic([2, 5, 4], 3, num_train=23, num_validation=5, num_test=5),
    "streamed": streamed,
    "clips": clips,
}


@pytest.fixture(scope="module", params=MAKERS)
def data(request, tmp_path_factory):
    made = MAKERS[request.param](tmp_path_factory.mktemp("data"))
    made.prepare_data()
    made.setup()
    return made


@pytest.mark.parametrize("size", [2, 3])
def test_shares_are_the_batch(data, size):
    for make, training in ((lambda: data.train_batches(7, seed=1), True), (data.validation_batches, False)):
        whole = make()
        whole.epoch = 4
        parts = [make() for _ in range(size)]
        for rank, part in enumerate(parts):
            part.epoch, part.share = 4, slice(rank, None, size)
        for (samples, labels), *shares in zip(whole, *parts, strict=True):
            assert len(whole) == len(parts[0])
            if training and len(labels) < size:
                assert all(torch.equal(share, samples) for share, _ in shares)
                continue
            for rank, (share, its_labels) in enumerate(shares):
                assert torch.equal(share, samples[rank::size])
                assert torch.equal(its_labels, labels[rank::size])


def test_an_empty_share_of_the_last_batch_is_empty(data):
    batches = data.test_batches()
    batches.share = slice(10_000, None, 10_001)
    for samples, labels in batches:
        assert samples.shape == (0, *data.input_shape)
        assert labels.shape == (0,)
