"""ILSVRC2012 in its official layouts, small: what is found, what it is labelled, how it is split."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import replace

import pytest
import torch

from datamodules.listing.image_index import fingerprint
from datamodules.streamed.imagenet_files import find_imagenet
from tests.datamodules.streamed.imagenet_layouts import (
    DEVKIT,
    WNIDS,
    loaded,
    refused,
    val_wnids,
)


def samples(part) -> list[tuple[bytes, bytes, int]]:
    names = part.file_names().tolist()
    return [(names[i], part.read(i), int(part.labels[i])) for i in range(len(part))]


def test_archives_are_read_where_they_lie(packed):
    """Against tarfile's own reading of the same archives."""
    found = find_imagenet(packed, None)
    assert found.classes == WNIDS
    expected = []
    with tarfile.open(packed / "ILSVRC2012_img_train.tar") as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                label = WNIDS.index(member.name[:9])
                expected += [(label, f.name.encode(), inner.extractfile(f).read()) for f in inner]
    assert [(label, name, content) for name, content, label in samples(found.train)] == sorted(expected)
    with tarfile.open(packed / "ILSVRC2012_img_val.tar") as archive:
        contents = {name: archive.extractfile(name).read() for name in archive.getnames()}
    labels = {f"ILSVRC2012_val_{i + 1:08}.JPEG": WNIDS.index(wnid) for i, wnid in enumerate(val_wnids())}
    expected = sorted((labels[name], name.encode(), contents[name]) for name in contents)
    assert [(label, name, content) for name, content, label in samples(found.test)] == expected
    left = sorted(path.name for path in packed.iterdir() if not path.name.endswith(".index.npz"))
    assert left == [f"{DEVKIT}.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"], "nothing is extracted"


def test_all_layouts_are_the_same_data(packed, tree, request):
    first = loaded(packed)
    for root in (tree, request.getfixturevalue("flat")):
        other = loaded(root)
        for ours, theirs in zip(first.parts, other.parts, strict=True):
            assert samples(ours) == samples(theirs)
        assert (other.fingerprint, other.split) == (first.fingerprint, first.split)
    shutil.rmtree(tree / "val")  # a folder and an archive together
    for name in ("ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz"):
        shutil.copy(packed / name, tree)
    assert loaded(tree).fingerprint == first.fingerprint


def test_the_split_is_a_partition_and_written_down(tree):
    data = loaded(tree)
    assert (data.num_classes, data.input_shape) == (3, (3, 32, 32))
    assert [len(part) for part in data.parts] == [18, 6, 9]
    train, validation, test = ([name for name, _, _ in samples(part)] for part in data.parts)
    assert len({*train, *validation}) == 24
    assert test == sorted(test, key=lambda name: (data.parts[2].labels[test.index(name)], name))
    assert data.split == (
        "ILSVRC2012, the official validation part as test part: 24 train less 6 validation (random, seed 0), 9 test; "
        "evaluated on the centre 32×32 of the shorter side resized to 36"
    )
    torch.manual_seed(5)
    assert samples(loaded(tree).parts[1]) == samples(data.parts[1])


def test_a_subset_is_the_first_classes_and_the_first_images_of_each(packed):
    data = loaded(packed, subset_classes=2, subset_per_class=2)
    assert data.num_classes == 2
    found = find_imagenet(packed, None)
    first = {label: sorted(n for n, _, mine in samples(found.train) if mine == label)[:2] for label in (0, 1)}
    kept = sorted(name for part in data.parts[:2] for name, _, _ in samples(part))
    assert kept == sorted(first[0] + first[1])
    assert data.parts[2].labels.tolist() == [0, 0, 1, 1]
    assert "; the first 2 classes; at most 2 of each class in each, the first by name; " in data.split
    assert data.fingerprint != loaded(packed).fingerprint
    said = refused(packed, subset_classes=4)
    assert "subset_classes=4 of 3 classes; lower dataset.subset_classes" in said


def test_the_fingerprint_tells_files_apart(tree):
    parts = loaded(tree).parts
    whole = fingerprint(parts)
    test = parts[2]
    renamed, longer, other = test.names.copy(), test.sizes.copy(), test.labels.copy()
    renamed[0] = renamed[0].replace(b"val_", b"vax_")
    longer[3] += 1
    other[8] -= 1
    changed = [replace(test, names=renamed), replace(test, sizes=longer), replace(test, labels=other)]
    assert len({whole, *(fingerprint([*parts[:2], part]) for part in changed)}) == 4


def test_the_headers_are_read_once(packed, tmp_path, capsys):
    cache = tmp_path / "cache" / "folder"
    train, val = packed / "ILSVRC2012_img_train.tar", packed / "ILSVRC2012_img_val.tar"
    kept = [cache / f"{path.name}.index.npz" for path in (train, val)]

    def read() -> list[str]:
        """Load, and say which headers were read for it."""
        data = loaded(packed, cache=str(cache))
        assert samples(data.parts[0]) == first
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix("reading the headers of ").removesuffix(", once") for line in lines]

    first = samples(loaded(packed).parts[0])
    assert len(list(packed.iterdir())) == 5, "beside the archives"
    capsys.readouterr()
    assert read() == [str(train), str(val)]
    assert sorted(cache.iterdir()) == kept, "and no unfinished file"
    assert read() == []
    os.utime(val, ns=(1, 1))
    assert read() == [str(val)]
    for damage in (lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"<html>"):
        kept[0].write_bytes(damage(kept[0].read_bytes()))
        assert read() == [str(train)]
    time = train.stat().st_mtime_ns
    train.write_bytes(train.read_bytes() + b"\0" * 512)
    os.utime(train, ns=(time, time))
    assert read() == [str(train)], "of another size"
    assert read() == []


def test_a_cache_that_cannot_be_written_is_said(packed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"index.npz: cannot be written \(.*set dataset.cache to a folder"):
        assert len(find_imagenet(packed, tmp_path / "file" / "cache").train) == 24


def test_mistakes_are_refused_before_training_in_one_line(make_point, packed, tmp_path):
    from orchestration.errors import ConfigError
    from orchestration.run.build import build_components

    base = ["dataset=imagenet", "network=resnet20", "method=svd", f"dataset.root={packed}", "dataset.num_workers=0"]
    parts = build_components(make_point(*base, "dataset.size=16", "dataset.validation_share=0.1"))
    assert parts.data.input_shape == (3, 16, 16)
    with pytest.raises(ConfigError, match=r"resize=256: expected at least size=300"):
        build_components(make_point(*base, "dataset.size=300"))
    with pytest.raises(ConfigError, match=r"lacks ILSVRC2012_img_train.tar"):
        build_components(make_point(*base, f"dataset.root={tmp_path / 'nowhere'}"))
    with pytest.raises(ConfigError, match=r"dataset.min_crop_area"):
        make_point(*base, "dataset.min_crop_area=0")
    moved = make_point(*base, "dataset.root=/elsewhere", "dataset.num_workers=7", "dataset.cache=/tmp")
    assert moved.id == make_point(*base).id, "where the files are is no part of what is run"
    assert moved.id != make_point(*base, "dataset.size=64").id


def test_a_point_runs_on_it(make_point, packed):
    """Through Lightning, with workers, to its row; an image that cannot be read makes a row that says so."""
    from orchestration.run.run_point import run_point

    wanted = [
        "dataset=imagenet", f"dataset.root={packed}", "dataset.size=32", "dataset.resize=36", "dataset.num_workers=2",
        "dataset.validation_share=0.2", "network=resnet20", "network.depth=8", "method=svd", "rank.share=0.5",
        "schedule.batch_size=8", "latency_batch_size=2",
    ]  # fmt: skip
    result = run_point(make_point(*wanted))
    assert result.status == "ok", result.status
    assert result.signature["split"].startswith("ILSVRC2012, the official validation part as test part: 24 train less")
    assert result.compressed.num_params < result.reference.num_params
    train = packed / "ILSVRC2012_img_train.tar"
    first = find_imagenet(packed, None).train
    with train.open("r+b") as file:
        file.seek(int(first.offsets[0]))
        file.write(b"\0" * int(first.sizes[0]))
    result = run_point(make_point(*wanted, "seed=1"))
    assert result.status.startswith(f"failed: {train}: n01440764/n01440764_10.JPEG: not a readable image (")
