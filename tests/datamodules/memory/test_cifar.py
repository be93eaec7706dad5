"""Small files in the exact formats of CIFAR-10 and CIFAR-100: read, or refused: damaged, missing, not harmless."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from datamodules.memory.cifar import CIFAR, CIFAR10, CIFAR100
from datamodules.memory.cifar_files import read_batch

NUM = 5020  # training images, so that the training part keeps 20
KINDS = [CIFAR10, CIFAR100]
LABELS = {CIFAR10: {b"labels": 10}, CIFAR100: {b"fine_labels": 100, b"coarse_labels": 20}}
SUMS = {kind: kind.release.md5 for kind in KINDS}


def batch(num: int, seed: int, kind: type[CIFAR] = CIFAR10, **changes) -> dict[bytes, object]:
    rng = np.random.default_rng(seed)
    fields = {
        b"batch_label": b"training batch 1 of 5",
        **{key: rng.integers(0, limit, num).tolist() for key, limit in LABELS[kind].items()},
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


def sizes(kind: type[CIFAR]) -> dict[str, int]:
    """How many images each file has here."""
    return {name: NUM // len(kind.release.train) for name in kind.release.train} | {kind.release.test: 30}


def take_for_official(monkeypatch, kind: type[CIFAR], md5: dict[str, str] | None) -> None:
    monkeypatch.setattr(kind, "release", replace(kind.release, md5=md5))


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch) -> type[CIFAR]:
    """The class, which takes any files for official."""
    take_for_official(monkeypatch, request.param, None)
    return request.param


@pytest.fixture
def folder(kind, tmp_path: Path) -> Path:
    folder = tmp_path / kind.release.folder
    folder.mkdir()
    for seed, (name, num) in enumerate(sizes(kind).items()):
        (folder / name).write_bytes(official(batch(num, seed, kind)))
    for name in ("batches.meta", "meta"):
        (folder / name).write_bytes(b"not read")
    return folder


@pytest.fixture
def root(folder) -> Path:
    return folder.parent


def loaded(kind: type[CIFAR], root: Path, **options) -> CIFAR:
    data = kind(str(root), **options)
    data.setup()
    return data


def pack(folder: Path) -> Path:
    path = folder.parent / f"{folder.name.replace('-batches-py', '-python')}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    return path


def test_the_images_are_those_of_the_files(kind, root):
    data = loaded(kind, root)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [NUM - 5000, 5000, 30]
    *train, expected = (batch(num, seed, kind) for seed, num in enumerate(sizes(kind).values()))
    assert np.array_equal(data.test.images.numpy(), expected[b"data"].reshape(30, 3, 32, 32))
    assert data.test.labels.tolist() == expected[kind.release.key.encode()]
    found = torch.cat([data.train.images, data.validation.images]).numpy().reshape(-1, 3072)
    labels = torch.cat([data.train.labels, data.validation.labels]).tolist()
    pixels = [bytes(image) for fields in train for image in fields[b"data"]]
    theirs = [label for fields in train for label in fields[kind.release.key.encode()]]
    assert sorted(zip(map(bytes, found), labels, strict=True)) == sorted(zip(pixels, theirs, strict=True))


def test_torchvision_reads_the_same(kind, root, monkeypatch):
    import torchvision.datasets

    peer = getattr(torchvision.datasets, kind.__name__)
    monkeypatch.setattr(peer, "_check_integrity", lambda self: True)
    monkeypatch.setattr(peer, "_load_meta", lambda self: None)
    theirs = peer(str(root), train=False)
    data = loaded(kind, root)
    assert np.array_equal(theirs.data.transpose(0, 3, 1, 2), data.test.images.numpy())
    assert theirs.targets == data.test.labels.tolist()


@pytest.mark.parametrize("each", KINDS)
def test_the_sums_are_those_of_torchvision(each):
    import torchvision.datasets

    peer = getattr(torchvision.datasets, each.__name__)
    assert dict(peer.train_list + peer.test_list) == SUMS[each]
    assert (peer.base_folder, peer.filename) == (each.release.folder, each.release.archive)
    assert {Path(name).name for name in each.release.names} == set(SUMS[each])


def test_the_archive_alone_is_enough(kind, folder, root):
    from_folder = loaded(kind, root)
    assert pack(folder).name == kind.release.archive
    kind(str(root)).prepare_data()
    assert loaded(kind, root).fingerprint == from_folder.fingerprint
    assert not any(folder.iterdir()), "nothing is extracted"


def test_other_files_than_the_official_ones_are_refused(kind, folder, root, monkeypatch):
    take_for_official(monkeypatch, kind, SUMS[kind])
    first = kind.release.train[0]
    with pytest.raises(ValueError, match=f"{first}: md5 sum [0-9a-f]{{32}}, expected {SUMS[kind][first]}: "):
        kind(str(root)).setup()
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in SUMS[kind]}
    take_for_official(monkeypatch, kind, sums)
    kind(str(root)).setup()
    take_for_official(monkeypatch, kind, {**sums, kind.release.test: "0" * 32})
    pack(folder)
    with pytest.raises(ValueError, match=f"{kind.release.test}: md5 sum"):
        kind(str(root)).setup()


def test_missing_files_are_named_with_the_folder_and_the_remedy(kind, folder, root):
    name = kind.release.train[-1]
    (folder / name).rename(folder / f"{name}.bin")  # the official name of another format
    with pytest.raises(ValueError, match="download=true") as caught:
        kind(str(root)).prepare_data()
    message = str(caught.value)
    assert f"{kind.release.title}: {folder} lacks {name}, and there is no {kind.release.archive}" in message
    assert "\n" not in message


def test_download_happens_only_when_asked_for(kind, tmp_path, monkeypatch):
    import torchvision.datasets

    calls = []

    def fake(root, download):
        calls.append((root, download))
        raise OSError("<urlopen error no network>\nmore")

    monkeypatch.setattr(torchvision.datasets, kind.__name__, fake)
    with pytest.raises(ValueError, match="lacks"):
        kind(str(tmp_path)).prepare_data()
    assert calls == []
    with pytest.raises(ValueError, match=r"download to .* failed: <urlopen error no network>$"):
        kind(str(tmp_path), download=True).prepare_data()
    assert calls == [(str(tmp_path), True)]


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>"])
def test_damaged_files_are_named(kind, folder, root, damage):
    path = folder / kind.release.train[-1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name}: (cannot be read|expected a dictionary)") as caught:
        kind(str(root)).setup()
    assert "fetch the file again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_named(kind, folder, root):
    path = pack(folder)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path.name}: (cannot be read|lacks)"):
            kind(str(root)).setup()
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.addfile(tarfile.TarInfo(f"{folder.name}/{kind.release.test}"), io.BytesIO())
    lacking = ", ".join(f"{folder.name}/{name}" for name in kind.release.train)
    with pytest.raises(ValueError, match=f"lacks {lacking}; fetch"):
        kind(str(root)).setup()


def test_too_few_images_are_refused(kind, folder, root):
    for name in kind.release.train:
        (folder / name).write_bytes(official(batch(3, 0, kind)))
    with pytest.raises(ValueError, match=r"holds \d+ training images; expected over 5000"):
        kind(str(root)).setup()


def test_coarse_labels(monkeypatch, tmp_path):
    take_for_official(monkeypatch, CIFAR100, None)
    (tmp_path / CIFAR100.release.folder).mkdir()
    for seed, (name, num) in enumerate(sizes(CIFAR100).items()):
        (tmp_path / CIFAR100.release.folder / name).write_bytes(official(batch(num, seed, CIFAR100)))
    fine, coarse = (loaded(CIFAR100, tmp_path, coarse=coarse) for coarse in (False, True))
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    assert coarse.test.labels.tolist() == batch(30, 1, CIFAR100)[b"coarse_labels"]
    assert torch.equal(fine.test.images, coarse.test.images)
    assert coarse.split == f"{fine.split}; 20 coarse classes"
    assert "official CIFAR-100: 50000 train less 5000 validation" in fine.split
    assert CIFAR100.release.num_classes == 100, "the class itself is left alone"


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
        read_batch(official(batch(4, 0, **changes)), "here", "labels", 10)


def test_files_written_by_newer_versions_are_read():
    for protocol in (2, 3, 4):
        fields = {key.decode(): value for key, value in batch(4, 0).items()}
        found = read_batch(pickle.dumps(fields, protocol=protocol), "here", "labels", 10)
        assert np.array_equal(found.images.numpy().reshape(4, -1), fields["data"])


class Malicious:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pickle_cannot_run_anything(tmp_path):
    content = pickle.dumps(batch(4, 0, extra=Malicious(tmp_path / "made")), protocol=2)
    with pytest.raises(ValueError, match=r"here: cannot be read \(it asks for (posix|nt)\.mkdir"):
        read_batch(content, "here", "labels", 10)
    assert not (tmp_path / "made").exists()
    objects = pickle.dumps(batch(1, 0, data=np.array([[Malicious(tmp_path / "made")]], object)), protocol=2)
    with pytest.raises(ValueError, match="here: cannot be read"):
        read_batch(objects, "here", "labels", 10)
    assert not (tmp_path / "made").exists()


def test_options_reach_the_batches(kind, root):
    data = loaded(kind, root, crop_padding=0, flip=False)
    images, _ = next(iter(data.train_batches(8, seed=0)))
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:8]
    assert torch.equal(
        images, data.train.images[order].float().div(255).sub(data.normalise.mean).div(data.normalise.deviation)
    )
    for options in ({"flip": False}, {"crop_padding": 0}, {"crop_padding": 0, "flip": False, "cutout": 9}):
        assert not torch.equal(next(iter(loaded(kind, root, **options).train_batches(8, seed=0)))[0], images)
