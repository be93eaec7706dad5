"""Trees of real image files, plain and packed: what is read, in which order, and as which parts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import orchestration.run.run_point as run_module
from datamodules.memory.image_files import read_images
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from orchestration.store.status import read_status
from tests.datamodules.memory.pictures import CLASSES, loaded, pack, picture, refused


def test_all_images_are_there_once_with_their_labels(tree):
    data = loaded(tree)
    assert (data.input_shape, data.num_classes) == ((3, 6, 7), 3)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [27, 3, 12]
    assert data.split == "pictures: 30 train less 3 validation (random, seed 0), 12 test"
    expected = {}
    for part in ("train", "test"):
        for label, name in enumerate(CLASSES):
            for path in sorted((tree / part / name).iterdir()):
                expected[np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes()] = label
    found = [
        (image.numpy().tobytes(), int(label))
        for part in (data.train, data.validation, data.test)
        for image, label in zip(part.images, part.labels, strict=True)
    ]
    assert len(expected) == 42
    assert sorted(found) == sorted(expected.items())
    assert data.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4, "by class, then by name"


def test_torchvision_reads_the_same(tree):
    from torchvision.datasets import ImageFolder as Torchvision

    theirs = Torchvision(str(tree / "test"))
    data = loaded(tree)
    assert [label for _, label in theirs] == data.test.labels.tolist()
    assert np.array_equal(np.stack([np.asarray(i) for i, _ in theirs]).transpose(0, 3, 1, 2), data.test.images.numpy())


@pytest.mark.parametrize("ending", [".tar.xz", ".tar.gz", ".tgz", ".tar"])
def test_an_archive_is_the_folder(tree, ending):
    path = pack(tree, ending)
    fingerprint = loaded(tree).fingerprint
    assert loaded(path).fingerprint == fingerprint
    assert loaded(path.with_name("packed")).fingerprint == fingerprint, "the ending may be left out"
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(["pictures", path.name]), "nothing is extracted"


def test_a_subset_is_the_first_of_each_class_and_is_written_down(tree):
    data = loaded(tree, subset_per_class=3, validation_share=0.34)
    whole = loaded(tree)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [6, 3, 9]
    said = "pictures: 9 train less 3 validation (random, seed 0), 9 test; at most 3 of each class in each, "
    assert data.split == f"{said}the first by name"
    assert torch.equal(data.test.images[3:6], whole.test.images[4:7])
    assert loaded(tree, subset_per_class=7).test.labels.tolist() == whole.test.labels.tolist(), "there are only 4"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_kinds_of_images_become_one(tree, mode, channels):
    path = tree / "test" / "ant" / "0001.png"
    picture(5, mode=mode).save(path)
    data = loaded(tree, channels=channels)
    assert data.input_shape == (channels, 6, 7)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(6, 7, channels)
    assert np.array_equal(data.test.images[1].numpy(), expected.transpose(2, 0, 1))


def test_resizing(tree):
    picture(5, (50, 9)).save(tree / "train" / "bee" / "0003.png")
    data = loaded(tree, size=8)
    assert data.input_shape == (3, 8, 8)
    assert data.split.endswith("; resized to 8×8")
    with Image.open(tree / "test" / "ant" / "0000.jpg") as image:
        expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[0].numpy(), expected)


@pytest.mark.parametrize("options", [{"cutout": 6}, {"crop_padding": 7}])
def test_moves_as_large_as_the_images_are_refused(tree, options):
    ((name, value),) = options.items()
    assert f"dataset.{name}={value}: expected less than a side of the images of 6×7 pixels" in refused(tree, **options)
    assert loaded(tree, **{name: 5}).num_classes == 3


def test_a_row_is_not_that_of_another_folder(make_point, tree, tmp_path, capfd):
    """The place of the data is not part of a point: moved files are the same data, other files are not."""
    small = ["network=mlp", "network.hidden=[4]", "method=reference", "dataset=image_folder"]
    done = run_point(make_point(*small, f"dataset.root={tree}"))
    assert done.status == "ok", done.status
    moved = shutil.copytree(tree, tmp_path / "moved")
    assert run_point(make_point(*small, f"dataset.root={moved}")) == done
    assert "taken from" in capfd.readouterr().out
    picture(99).save(next((moved / "train" / "ant").iterdir()))
    read_images.cache_clear()
    with pytest.raises(ConfigError, match=r"is of other data \(fingerprint \w+, these have \w+\); give them a name"):
        run_point(make_point(*small, f"dataset.root={moved}"))
    assert run_point(make_point(*small, f"dataset.root={moved}", "dataset.name=mine")).status == "ok"


@pytest.mark.parametrize("share", [0.001, 0.99])
def test_a_share_that_leaves_nothing_is_refused(tree, share):
    said = refused(tree, validation_share=share)
    assert f"validation_share={share:g} of 30 training images are" in said
    assert "change dataset.validation_share" in said


def test_the_validation_part_is_the_same_every_time(tree):
    torch.manual_seed(1)
    first = loaded(tree).validation
    read_images.cache_clear()
    torch.manual_seed(2)
    assert torch.equal(first.images, loaded(tree).validation.images)


def test_a_second_reading_is_not_needed(tree, monkeypatch):
    fingerprint = loaded(tree).fingerprint
    monkeypatch.setattr(Image, "open", lambda *a: pytest.fail("decoded again"))
    assert loaded(tree, name="other").fingerprint == fingerprint


def test_mistakes_are_refused_before_training_in_one_line(make_point, tree):
    from orchestration.errors import ConfigError
    from orchestration.run.build import build_components

    base = ["dataset=image_folder", "network=resnet20", "method=svd", f"dataset.root={tree}"]
    parts = build_components(make_point(*base, "dataset.size=16"))
    assert parts.data.input_shape == (3, 16, 16)
    (tree / "train" / "cow" / "0003.png").write_bytes(b"x")
    read_images.cache_clear()
    with pytest.raises(ConfigError, match=r"train/cow/0003.png: not a readable image"):
        build_components(make_point(*base))
    with pytest.raises(ConfigError, match=r"images: there is no /nowhere"):
        build_components(make_point(*base, "dataset.root=/nowhere"))
    with pytest.raises(ConfigError, match=r"dataset.channels: expected 1 or 3|dataset.channels: expected"):
        make_point(*base, "dataset.channels=2")


def test_a_point_runs_on_it(make_point, tree):
    from orchestration.run.run_point import run_point

    point = make_point(
        "dataset=image_folder",
        f"dataset.root={tree}",
        "dataset.name=mine",
        "dataset.crop_padding=1",
        "dataset.flip=true",
        "network=resnet20",
        "network.depth=8",
        "method=svd",
        "rank.share=0.5",
    )
    result = run_point(point)
    assert result.status == "ok"
    assert result.signature["split"].startswith("mine: 30 train less 3 validation")


def test_a_forced_run_that_does_not_end_leaves_the_earlier_row_to_its_own_data(make_point, tree, tmp_path, monkeypatch):
    """The row stays one of the data at its root, which may be long, and not plain YAML."""
    small = ["network=mlp", "network.hidden=[4]", "method=reference", "dataset=image_folder"]
    root = shutil.move(tree, tmp_path / f"a: {'long way ' * 12}end")
    other = shutil.copytree(root, tmp_path / "other")
    first = make_point(*small, f"dataset.root='{root}'")
    assert run_point(first).is_ok
    assert read_status(first).kind == "done"
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "compute", lambda *arguments: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            run_point(make_point(*small, f"dataset.root={other}", "force=true"))
    assert read_status(first).kind == "done"
    assert read_status(make_point(*small, f"dataset.root={other}")).kind == "other place"
