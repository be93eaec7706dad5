"""Large images in folders, streamed: the same batches for any number of workers, and what is refused."""

from __future__ import annotations

import gc
import io
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize, ToDtype, ToImage

from datamodules.data import Batches
from datamodules.streamed.images import DEVIATION, MEAN
from tests.datamodules.streamed.pictures import CLASSES, epoch, loaded, picture, refused, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pictures")


@pytest.fixture
def workers(tree):
    """Data with two workers, which must be gone afterwards."""
    data = loaded(tree, num_workers=2)
    yield data
    del data


def test_evaluation_is_torchvisions(tree):
    data = loaded(tree)
    images, labels = epoch(data.test_batches())
    both = [Resize(28), CenterCrop(24), ToImage(), ToDtype(torch.float32, scale=True), Normalize(MEAN, DEVIATION)]
    transform = Compose(both)
    paths = [path for name in CLASSES for path in sorted((tree / "test" / name).iterdir())]
    theirs = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert torch.allclose(images, theirs, atol=1e-5)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_batches_fill_their_role(tree):
    data = loaded(tree)
    batches = data.train_batches(8, seed=0)
    assert isinstance(batches, Batches)
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 3]
    assert len(batches) == 4
    assert sorted(epoch(batches)[1].tolist()) == sorted(data.parts[0].labels.tolist())
    assert data.split.startswith("pictures: 30 train less 3 validation (random, seed 0), 12 test; evaluated on")
    assert (data.input_shape, data.num_classes) == ((3, 24, 24), 3)


def test_epochs_repeat_for_any_number_of_workers(tree):
    """Workers stay from epoch to epoch; nothing of an earlier one stays with them."""
    expected = {}
    for num_workers in (0, 1, 2):
        data = loaded(tree, num_workers=num_workers)
        train = data.train_batches(8, seed=3)
        for number in (0, 1, 5, 0):
            images, labels = epoch(train, number)
            first = expected.setdefault(number, (images, labels))
            assert torch.equal(images, first[0])
            assert torch.equal(labels, first[1])
        for part, batches in (("validation", data.validation_batches()), ("test", data.test_batches())):
            assert torch.equal(epoch(batches)[0], expected.setdefault(part, epoch(batches))[0])
    assert not torch.equal(expected[0][1], expected[1][1])
    data = loaded(tree)
    assert not torch.equal(epoch(data.train_batches(8, seed=4))[1], expected[0][1])
    # The windows change with the epoch, and are not those of the batch: other batches hold the same ones.
    by_image = [{bytes(image.numpy().data) for image in epoch(data.train_batches(size, seed=3))[0]} for size in (8, 5)]
    assert by_image[0] == by_image[1]
    other = {bytes(image.numpy().data) for image in epoch(data.train_batches(8, seed=3), 1)[0]}
    assert not by_image[0] & other


def test_the_global_random_numbers_are_left_alone(workers):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(3), np.random.random(3).tolist()
    torch.manual_seed(0)
    np.random.seed(0)
    epoch(workers.train_batches(8, seed=1))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.random.random(3).tolist() == expected[1]


def test_workers_are_shared_by_parts_and_epochs_and_end_with_the_data(tree):
    before = {process.pid for process in multiprocessing.active_children()}
    data = loaded(tree, num_workers=2)
    assert {process.pid for process in multiprocessing.active_children()} == before, "none before the first batch"
    for number in range(2):
        epoch(data.train_batches(8, seed=0), number)
        epoch(data.validation_batches())
        epoch(data.test_batches())
        mine = {process.pid for process in multiprocessing.active_children()} - before
        assert len(mine) == 2
    del data
    gc.collect()
    assert {process.pid for process in multiprocessing.active_children()} <= before


def test_an_abandoned_epoch_leaves_nothing_behind(workers):
    expected = epoch(workers.train_batches(4, seed=0))[0]
    batches = workers.train_batches(4, seed=0)
    for number in (0, 1, 2):
        abandoned = iter(batches)
        for _ in range(number):
            next(abandoned)
        del abandoned
        assert torch.equal(epoch(batches)[0], expected)
    assert len(workers._decoders._loaders) == 1, "the same workers served all"


def test_two_epochs_may_run_beside_each_other(workers):
    train, test = workers.train_batches(4, seed=0), workers.test_batches()
    workers.evaluation_batch_size = 4
    small = workers.test_batches()
    expected = [epoch(each)[0] for each in (train, small)]
    train.epoch = 0
    pairs = list(zip(train, small, strict=False))
    assert torch.equal(torch.cat([ours[0] for ours, _ in pairs]), expected[0][:12])
    assert torch.equal(torch.cat([theirs[0] for _, theirs in pairs]), expected[1])
    held = iter(train)  # whoever holds a finished iteration must not take from the next
    for _ in range(len(train)):
        next(held)
    again = iter(train)
    first = next(again)[0]
    assert next(held, None) is None
    del held
    assert torch.equal(torch.cat([first, *(images for images, _ in again)]), expected[0])
    assert torch.equal(epoch(test)[0], expected[1])


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>", lambda d: d[:40] + b"\0" * (len(d) - 40)]
)
@pytest.mark.parametrize("name", ["0002.jpg", "0003.png"])
def test_unreadable_images_are_named_in_one_line(tree, damage, name, num_workers):
    path = tree / "test" / "cow" / name
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    early = refused(tree, num_workers=num_workers, checked="test")
    assert early.startswith(f"{path}: not a readable image (")
    assert "leave such images out with dataset.broken=skip" in early
    data = loaded(tree, num_workers=num_workers, checked="nothing")
    with pytest.raises(ValueError, match="not a readable image") as caught:
        epoch(data.test_batches())
    assert str(caught.value).startswith(f"{path}: not a readable image (")
    assert str(caught.value).endswith("); fetch it again, or mend or delete it")
    assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    if len(damage(whole)) == len(whole):  # as when it was found
        assert len(epoch(data.test_batches())[1]) == 12, "the same workers go on"


def test_files_that_change_or_go_are_named(tree):
    data = loaded(tree)
    path = tree / "test" / "cow" / "0001.png"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"0001.png: not a readable image \({size - 1} bytes, and {size} when it was"):
        epoch(data.test_batches())
    path.unlink()
    with pytest.raises(ValueError, match=r"0001.png: not a readable image \(.*No such file"):
        epoch(data.test_batches())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 1) is killed by signal: Bus error.\nIt is possible that"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_a_worker_that_dies_is_said_in_one_line(workers, error, monkeypatch):
    def die(loader):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(DataLoader, "__iter__", die)
        with pytest.raises(ValueError, match=r"^a process that decodes images died \(.* lower dataset.num_") as caught:
            epoch(workers.test_batches())
        assert "\n" not in str(caught.value)
    assert len(epoch(workers.test_batches())[1]) == 12, "others take its place"


def test_large_images_are_not_held_in_memory(tree, make_point):
    from orchestration.run.run_point import run_point

    content = io.BytesIO()
    picture(0, (3000, 2000)).save(content, "jpeg")
    (tree / "train" / "ant" / "large.jpg").write_bytes(content.getvalue())
    point = make_point(
        "dataset=image_folder_streamed", f"dataset.root={tree}", "dataset.name=mine", "dataset.size=32",
        "dataset.num_workers=1", "network=resnet20", "network.depth=8", "method=svd", "rank.share=0.5",
        "latency_batch_size=2",
    )  # fmt: skip
    result = run_point(point)
    assert result.status == "ok", result.status
    assert result.signature["split"].startswith("mine: 31 train less 3 validation (random, seed 0), 12 test")
