"""Small files in the exact format of CIFAR-10: read, and refused when damaged, missing or not harmless."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from datamodules.cifar import ARCHIVE, CIFAR10, FOLDER, MD5, TEST, TRAIN, read_batch

NUM = 1004  # images in each of the five files, so that the training part keeps 20


def batch(num: int, seed: int, **changes) -> dict[bytes, object]:
    rng = np.random.default_rng(seed)
    fields = {
        b"batch_label": b"training batch 1 of 5",
        b"labels": rng.integers(0, 10, num).tolist(),
        b"data": rng.integers(0, 256, (num, 3072), dtype=np.uint8),
        b"filenames": [b"leptodactylus_pentadactylus_s_000004.png"] * num,
    }
    return fields | {key.encode(): value for key, value in changes.items()}


class Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes as the strings of Python 2, which made the official files."""

    def save_string(self, text: str | bytes) -> None:
        string = text.encode() if isinstance(text, str) else text
        short = len(string) < 256
        self.write((b"U" + bytes([len(string)]) if short else b"T" + len(string).to_bytes(4, "little")) + string)
        self.memoize(text)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}  # type: ignore[attr-defined]


def official(fields: dict[bytes, object]) -> bytes:
    """Protocol 2, strings of Python 2, and the name that NumPy's function had in 2009."""
    buffer = io.BytesIO()
    Python2(buffer, protocol=2).dump(fields)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(CIFAR10, "md5", None)
    folder = tmp_path / FOLDER
    folder.mkdir()
    for seed, name in enumerate((*TRAIN, TEST)):
        num = 30 if name == TEST else NUM
        (folder / name).write_bytes(official(batch(num, seed)))
    (folder / "batches.meta").write_bytes(b"not read")
    return tmp_path


def pack(root: Path) -> None:
    with tarfile.open(root / ARCHIVE, "w:gz") as archive:
        archive.add(root / FOLDER, FOLDER)
    for path in (root / FOLDER).iterdir():
        path.unlink()


def test_the_images_are_those_of_the_files(root):
    data = CIFAR10(str(root))
    data.setup()
    assert [len(p) for p in (data.train, data.validation, data.test)] == [5 * NUM - 5000, 5000, 30]
    expected = batch(30, 5)
    assert np.array_equal(data.test.images.numpy(), expected[b"data"].reshape(30, 3, 32, 32))
    assert data.test.labels.tolist() == expected[b"labels"]
    pixels = np.concatenate([batch(NUM, seed)[b"data"] for seed in range(5)])
    found = torch.cat([data.train.images, data.validation.images]).numpy().reshape(-1, 3072)
    assert sorted(map(bytes, found)) == sorted(map(bytes, pixels))


def test_torchvision_reads_the_same(root, monkeypatch):
    from torchvision.datasets import CIFAR10 as Torchvision

    monkeypatch.setattr(Torchvision, "_check_integrity", lambda self: True)
    monkeypatch.setattr(Torchvision, "_load_meta", lambda self: None)
    theirs = Torchvision(str(root), train=False)
    data = CIFAR10(str(root))
    data.setup()
    assert np.array_equal(theirs.data.transpose(0, 3, 1, 2), data.test.images.numpy())
    assert theirs.targets == data.test.labels.tolist()


def test_the_sums_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10 as Torchvision

    assert dict(Torchvision.train_list + Torchvision.test_list) == MD5
    assert (Torchvision.base_folder, Torchvision.filename) == (FOLDER, ARCHIVE)


def test_the_archive_alone_is_enough(root):
    from_folder = CIFAR10(str(root))
    from_folder.setup()
    pack(root)
    data = CIFAR10(str(root))
    data.prepare_data()
    data.setup()
    assert data.fingerprint == from_folder.fingerprint
    assert not any((root / FOLDER).iterdir()), "nothing is extracted"


def test_other_files_than_the_official_ones_are_refused(root, monkeypatch):
    monkeypatch.setattr(CIFAR10, "md5", MD5)
    with pytest.raises(ValueError, match=f"data_batch_1: md5 sum [0-9a-f]{{32}}, expected {MD5['data_batch_1']}: "):
        CIFAR10(str(root)).setup()
    sums = {name: hashlib.md5((root / FOLDER / name).read_bytes()).hexdigest() for name in MD5}
    monkeypatch.setattr(CIFAR10, "md5", sums)
    CIFAR10(str(root)).setup()


def test_missing_files_are_named_with_the_folder_and_the_remedy(root):
    (root / FOLDER / "data_batch_3").unlink()
    with pytest.raises(ValueError, match="download=true") as caught:
        CIFAR10(str(root)).prepare_data()
    message = str(caught.value)
    assert f"{root / FOLDER} lacks data_batch_3, and there is no {ARCHIVE}" in message
    assert "\n" not in message


def test_download_happens_only_when_asked_for(tmp_path, monkeypatch):
    import torchvision.datasets

    calls = []

    def fake(root, download):
        calls.append((root, download))
        raise OSError("<urlopen error no network>\nmore")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fake)
    with pytest.raises(ValueError, match="lacks"):
        CIFAR10(str(tmp_path)).prepare_data()
    assert calls == []
    with pytest.raises(ValueError, match=r"download to .* failed: <urlopen error no network>$"):
        CIFAR10(str(tmp_path), download=True).prepare_data()
    assert calls == [(str(tmp_path), True)]


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>"])
def test_damaged_files_are_named(root, damage):
    path = root / FOLDER / "data_batch_2"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"data_batch_2: (cannot be read|expected a dictionary)") as caught:
        CIFAR10(str(root)).setup()
    assert "fetch the file again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_named(root):
    pack(root)
    path = root / ARCHIVE
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{ARCHIVE}: (cannot be read|lacks)"):
            CIFAR10(str(root)).setup()
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(f"{FOLDER}/{TEST}")
        archive.addfile(info, io.BytesIO())
    with pytest.raises(ValueError, match=f"lacks {FOLDER}/data_batch_1, .*data_batch_5; fetch"):
        CIFAR10(str(root)).setup()


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": [10] * 4},
        {"labels": [-1] * 4},
        {"labels": [0] * 3},
        {"labels": ["a"] * 4},
        {"labels": None},
        {"data": np.zeros((4, 3071), np.uint8)},
        {"data": np.zeros((4, 3072), np.float32)},
        {"data": np.zeros((0, 3072), np.uint8), "labels": []},
        {"data": b"bytes"},
    ],
)
def test_other_contents_are_refused(changes):
    with pytest.raises(ValueError, match=r"here: expected a dictionary with 'data'"):
        read_batch(official(batch(4, 0, **changes)), "here")


def test_files_written_by_newer_versions_are_read():
    for protocol in (2, 3, 4):
        fields = {key.decode(): value for key, value in batch(4, 0).items()}
        found = read_batch(pickle.dumps(fields, protocol=protocol), "here")
        assert np.array_equal(found.images.numpy().reshape(4, -1), fields["data"])


class Malicious:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pickle_cannot_run_anything(tmp_path):
    content = pickle.dumps(batch(4, 0, extra=Malicious(tmp_path / "made")), protocol=2)
    with pytest.raises(ValueError, match=r"here: cannot be read \(it asks for (posix|nt)\.mkdir"):
        read_batch(content, "here")
    assert not (tmp_path / "made").exists()
    objects = pickle.dumps(batch(1, 0, data=np.array([[Malicious(tmp_path / "made")]], object)), protocol=2)
    with pytest.raises(ValueError, match="here: cannot be read"):
        read_batch(objects, "here")
    assert not (tmp_path / "made").exists()


def test_options_reach_the_batches(root):
    data = CIFAR10(str(root), crop_padding=0, flip=False)
    data.setup()
    images, _ = next(iter(data.train_batches(8, seed=0)))
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:8]
    assert torch.equal(
        images, data.train.images[order].float().div(255).sub(data.normalise.mean).div(data.normalise.deviation)
    )
    moved = CIFAR10(str(root))
    moved.setup()
    assert not torch.equal(next(iter(moved.train_batches(8, seed=0)))[0], images)
