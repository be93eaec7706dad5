"""Splits, batches and files: what is read, in which order, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from datamodules.memory.digits import Digits
from datamodules.memory.fashion_mnist import FashionMNIST
from datamodules.memory.idx_files import read_idx
from datamodules.memory.idx_images import FILES, IdxImages
from datamodules.memory.in_memory import ImageBatches, Images
from datamodules.memory.mnist import MNIST
from datamodules.normalise import Normalise


@pytest.fixture(scope="module")
def digits():
    data = Digits()
    data.setup()
    return data


def test_digits_are_all_there_once(digits):
    parts = [digits.train, digits.validation, digits.test]
    assert [len(p) for p in parts] == [1167, 180, 450]
    assert "1167 train, 180 validation, 450 test" in digits.split
    ours = np.concatenate([p.images.numpy().reshape(len(p), -1) for p in parts])
    raw = load_digits()
    assert sorted(map(bytes, ours)) == sorted(map(bytes, raw.data.astype(np.uint8)))
    by_pixels = dict(zip(map(bytes, raw.data.astype(np.uint8)), raw.target, strict=True))
    for part in parts:
        pixels = map(bytes, part.images.numpy().reshape(len(part), -1))
        assert [by_pixels[p] for p in pixels] == part.labels.tolist()


def test_the_split_does_not_depend_on_the_global_seed(digits):
    torch.manual_seed(123)
    again = Digits()
    again.setup()
    assert torch.equal(again.test.images, digits.test.images)


def test_batches_are_normalised_and_cover_an_epoch(digits):
    batches = digits.train_batches(100, seed=3)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert len(batches) == 12 == len(list(batches))
    assert images.dtype == torch.float32
    assert images.mean(0).abs().max() < 1e-5, "the mean image is subtracted"
    assert images.max() <= 1
    assert torch.bincount(labels).tolist() == torch.bincount(digits.train.labels).tolist()
    test, _ = next(iter(digits.test_batches()))
    assert torch.allclose(test, digits.test.images / 16 - digits.train.images.float().mean(0) / 16)


def test_order_depends_on_seed_and_epoch_alone(digits):
    def order(seed, epoch):
        batches = digits.train_batches(64, seed)
        batches.epoch = epoch
        torch.manual_seed(epoch * 7 + seed)
        return torch.cat([labels for _, labels in batches]).tolist()

    assert order(1, 5) == order(1, 5)
    assert order(1, 5) != order(1, 6)
    assert order(1, 5) != order(2, 5)
    assert order(0, 1) != order(1, 0)


def test_evaluation_parts_keep_their_order():
    data = Images(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1), torch.arange(10))
    batches = ImageBatches(data, 4, Normalise(1.0, torch.zeros(1, 1, 1)))
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture(params=[MNIST, FashionMNIST])
def kind(request, monkeypatch) -> type[IdxImages]:
    """The class, which takes any files for official."""
    monkeypatch.setattr(request.param, "official", None)
    monkeypatch.setattr(request.param, "num_per_class", None)
    monkeypatch.setattr(request.param, "md5", None)
    return request.param


@pytest.fixture
def raw(kind, tmp_path: Path) -> Path:
    """Small files in the official format: 5,020 training and 30 test images, two files gzipped."""
    raw = tmp_path / kind.folder_name / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, num in (("train", 5020), ("t10k", 30)):
        images, labels = rng.integers(0, 256, (num, 28, 28)), rng.permutation(num) % 10
        (raw / f"{FILES[part][0]}.gz").write_bytes(gzip.compress(idx(images), 1))
        (raw / FILES[part][1]).write_bytes(idx(labels))
    return raw


@pytest.fixture
def root(raw) -> Path:
    return raw.parent.parent


def test_plain_and_gzipped_files_are_read(kind, raw, root):
    data = kind(str(root))
    data.setup()
    assert [len(p) for p in (data.train, data.validation, data.test)] == [20, 5000, 30]
    with gzip.open(raw / f"{FILES['t10k'][0]}.gz") as file:
        expected = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    assert np.array_equal(data.test.images.numpy(), expected)
    assert data.test.labels.tolist() == list((raw / FILES["t10k"][1]).read_bytes()[8:])


@pytest.mark.parametrize("kind", [MNIST], indirect=True)
def test_other_files_than_the_official_ones_are_refused(kind, root, monkeypatch):
    """Another data set in the same format must not share a name, a reference or a row with MNIST."""
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"MNIST: fingerprint [0-9a-f]{12}, expected 4713448bdac9: ") as caught:
        kind(str(root)).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [FashionMNIST], indirect=True)
def test_a_gzipped_file_must_have_the_sum_that_torchvision_knows(kind, raw, root, monkeypatch):
    from torchvision.datasets import FashionMNIST as Torchvision

    monkeypatch.undo()
    assert dict(Torchvision.resources) == kind.md5
    name = "train-images-idx3-ubyte.gz"
    with pytest.raises(ValueError, match=rf"{name}: md5 sum [0-9a-f]{{32}}, expected {kind.md5[name]}: ") as caught:
        kind(str(root)).setup()
    assert "\n" not in str(caught.value)
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in raw.glob("*.gz")}
    monkeypatch.setattr(kind, "md5", sums)
    monkeypatch.setattr(kind, "num_per_class", {"train": 502, "t10k": 3})
    kind(str(root)).setup()
    labels = np.arange(30) % 10
    labels[0] = 1  # as in MNIST, whose files have the same names
    (raw / FILES["t10k"][1]).write_bytes(idx(labels))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte has 2 to 4 images of a class; expected 3 of each"):
        kind(str(root)).setup()


def test_the_official_numbers_of_fashion_mnist():
    assert {part: 10 * num for part, num in FashionMNIST.num_per_class.items()} == {"train": 60_000, "t10k": 10_000}


@pytest.mark.parametrize("kind", [FashionMNIST], indirect=True)
def test_options_reach_the_batches(kind, root):
    def batch(**options):
        data = kind(str(root), **options)
        data.setup()
        assert data.test.images.shape[1:] == data.input_shape
        return next(iter(data.train_batches(20, seed=0)))[0]

    plain = batch()
    assert batch(padding=2).shape == (20, 1, 32, 32)
    assert torch.equal(batch(padding=2)[..., 2:-2, 2:-2], plain)
    cut, flipped, cropped = (
        batch(**{option: value}) for option, value in (("cutout", 8), ("flip", True), ("crop_padding", 2))
    )
    assert ((cut == plain) | (cut == 0)).all()
    assert not torch.equal(cut, plain)
    assert len({images.numpy().tobytes() for images in (plain, cut, flipped, cropped)}) == 4


def test_the_fingerprint_tells_data_apart(monkeypatch):
    def fingerprint(change) -> str:
        class Other(Digits):
            def load(self):
                parts = super().load()
                change(parts)
                return parts

        data = Other()
        data.setup()
        return data.fingerprint

    same, again = fingerprint(lambda parts: None), fingerprint(lambda parts: None)
    assert same == again
    pixel = fingerprint(lambda parts: parts[2].images[3, 0, 2, 2].add_(1))
    label = fingerprint(lambda parts: parts[0].labels[7].add_(1))
    assert len({same, pixel, label}) == 3


def test_an_empty_part_is_refused():
    class Empty(Digits):
        def load(self):
            train, validation, test = super().load()
            return train.take(torch.arange(0)), validation, test

    with pytest.raises(ValueError, match="Empty: the training part is empty"):
        Empty().setup()


def test_torchvision_reads_the_same(kind, raw, root):
    import torchvision.datasets

    for packed in raw.glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    data = kind(str(root))
    data.setup()
    theirs = getattr(torchvision.datasets, kind.folder_name)(str(root), train=False)
    assert torch.equal(theirs.data, data.test.images[:, 0])
    assert torch.equal(theirs.targets, data.test.labels)


def test_missing_files_are_named_with_the_folder_and_the_remedy(kind, raw, root):
    (raw / FILES["t10k"][1]).rename(raw / "t10k-labels.idx1-ubyte")  # as some archives name it
    with pytest.raises(ValueError, match="download=true") as caught:
        kind(str(root)).prepare_data()
    message = str(caught.value)
    assert f"{kind.title}: {raw} lacks" in message
    assert "t10k-labels-idx1-ubyte" in message
    assert "train-images" not in message
    assert "\n" not in message


def test_download_happens_only_when_asked_for(kind, tmp_path, monkeypatch):
    import torchvision.datasets

    calls = []

    def fake(root, download):
        calls.append((root, download))
        raise RuntimeError("Error downloading:\nno network")

    monkeypatch.setattr(torchvision.datasets, kind.folder_name, fake)
    with pytest.raises(ValueError, match="lacks"):
        kind(str(tmp_path)).prepare_data()
    assert calls == []
    with pytest.raises(ValueError, match=r"download to .* failed: Error downloading:$"):
        kind(str(tmp_path), download=True).prepare_data()
    assert calls == [(str(tmp_path), True)]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data[:-1], "expected .* bytes"),
        (lambda data: data + b"x", "expected .* bytes"),
        (lambda data: b"", "expected an idx file"),
        (lambda data: b"<html>not found</html>", "expected an idx file"),
        (lambda data: b"\x00\x00\x0d" + data[3:], "expected an idx file"),
        (lambda data: data[:6], "expected .* bytes"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, complaint):
    good = idx(np.arange(24).reshape(2, 3, 4))
    path = tmp_path / "file"
    path.write_bytes(good)
    assert read_idx(path).tolist() == np.arange(24).reshape(2, 3, 4).tolist()
    packed = tmp_path / "file.gz"
    for file, content in ((path, damage(good)), (packed, gzip.compress(damage(good)))):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=complaint):
            read_idx(file)
    path = packed
    path.write_bytes(gzip.compress(good)[:-9])
    with pytest.raises(ValueError, match="cannot be read"):
        read_idx(path)


@pytest.mark.parametrize(("images", "labels"), [((30, 8, 8), 0), ((30, 28, 28), 47)])
def test_other_images_and_labels_are_refused(kind, raw, root, images, labels):
    (raw / FILES["t10k"][0]).write_bytes(idx(np.zeros(images)))
    (raw / FILES["t10k"][1]).write_bytes(idx(np.full(30, labels)))
    with pytest.raises(ValueError, match="with labels 0 to 9"):
        kind(str(root)).setup()


def test_images_and_labels_must_match(kind, raw, root):
    (raw / FILES["t10k"][1]).write_bytes(idx(np.zeros(29)))
    with pytest.raises(ValueError, match=r"\(30, 28, 28\) and t10k-labels-idx1-ubyte \(29,\)"):
        kind(str(root)).setup()
