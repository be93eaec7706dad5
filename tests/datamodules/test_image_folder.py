"""Trees of real image files, plain and packed: what is read, in which order, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.memory.image_files import read_images
from datamodules.memory.image_folder import ImageFolder
from orchestration.job import run_point
from orchestration.schema import ConfigError

CLASSES = ("ant", "bee", "cow")
SIZE = (7, 6)  # width, height


def picture(seed: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture(autouse=True)
def forget():
    read_images.cache_clear()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three classes with 10 training and 4 test images each, JPEG and PNG."""
    root = tmp_path / "pictures"
    for part, num in (("train", 10), ("test", 4)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for index in range(num):
                ending = "png" if index % 2 else "jpg"
                picture(1000 * label + index + 100 * num).save(root / part / name / f"{index:04}.{ending}")
    return root


def pack(root: Path, ending: str) -> Path:
    path = root.with_name(f"packed{ending}")
    kind = {".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar": "w"}[ending]
    with tarfile.open(path, kind) as archive:
        for part in ("train", "test"):
            archive.add(root / part, f"./{part}" if ending == ".tar.gz" else part)
    return path


def loaded(root: Path, **options) -> ImageFolder:
    data = ImageFolder(str(root), options.pop("name", "pictures"), **options)
    data.setup()
    return data


def refused(root: Path, **options) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        loaded(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_different_sizes_are_refused(tree):
    picture(5, (50, 9)).save(tree / "test" / "bee" / "0003.png")
    said = refused(tree)
    assert "test/bee/0003.png has 9×50 pixels and train/ant/0000.jpg has 6×7; give all one size" in said
    assert "dataset.size=32" in said


def test_hidden_files_are_left_out_and_others_are_not(tree):
    fingerprint = loaded(tree).fingerprint
    (tree / "train" / "ant" / ".DS_Store").write_text("x")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "list.txt").write_text("x")
    read_images.cache_clear()
    assert loaded(tree).fingerprint == fingerprint
    read_images.cache_clear()
    assert loaded(pack(tree, ".tar")).fingerprint == fingerprint
    (tree / "train" / "ant" / "notes.txt").write_text("x")
    read_images.cache_clear()
    assert "train/ant/notes.txt: not a readable image (" in refused(tree)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>", lambda d: d[:40] + b"\0" * 60]
)
@pytest.mark.parametrize("name", ["0002.jpg", "0003.png"])
def test_unreadable_images_are_named(tree, damage, name, packed):
    path = tree / "train" / "cow" / name
    path.write_bytes(damage(path.read_bytes()))
    said = refused(pack(tree, ".tar") if packed else tree)
    assert f"train/cow/{name}: not a readable image (" in said
    assert said.endswith("mend or delete it")


def test_sixteen_bits_are_refused(tree):
    Image.fromarray(np.zeros((6, 7), np.uint16)).save(tree / "train" / "cow" / "0003.png")
    assert "train/cow/0003.png: not a readable image (pixels of kind I;16" in refused(tree)


@pytest.mark.parametrize("packed", [False, True])
def test_missing_and_empty_classes_are_named(tree, packed):
    def said() -> str:
        read_images.cache_clear()
        return refused(pack(tree, ".tar.xz") if packed else tree)

    for path in (tree / "test" / "cow").iterdir():
        path.unlink()
    assert "test/cow holds no image; put some there, or delete the class" in said()
    (tree / "test" / "cow").rmdir()
    assert "class 'cow' is in train/ and not in test/; both need the same classes" in said()
    (tree / "train" / "cow").rename(tree / "test" / "cow")
    assert "class 'cow' is in test/ and not in train/" in said()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["train/stray.png", "train/ant/deeper/a.png", "test/stray.png"])
def test_images_in_other_places_are_not_dropped_in_silence(tree, place, packed):
    (tree / place).parent.mkdir(exist_ok=True)
    picture(5).save(tree / place)
    assert f"{place} is not in a folder of its class; expected train/<class>/<image>" in refused(
        pack(tree, ".tar.gz") if packed else tree
    )


def test_one_class_is_nothing_to_tell_apart(tree):
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(tree / part / name)
    assert "one class, ant; expected at least two" in refused(tree)


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


def test_nothing_to_read_is_said_with_the_layout(tmp_path, tree):
    said = refused(tmp_path / "nowhere")
    assert f"there is no {tmp_path / 'nowhere'}, nor an archive of that name" in said
    assert "set dataset.root" in said
    assert "train/<class>/<image> and test/<class>/<image>" in said
    (tmp_path / "empty").mkdir()
    assert "no classes in train/; expected train/<class>/<image>" in refused(tmp_path / "empty")
    assert "no classes in train/" in refused(tree / "train")


def test_damaged_archives_are_named(tree):
    for ending in (".tar.xz", ".tar.gz", ".tar"):
        path = pack(tree, ending)
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
            path.write_bytes(content)
            os.utime(path, ns=(len(content), len(content)))
            assert f"{path}: cannot be read as an archive (" in refused(path)


def test_links_in_an_archive_are_not_followed(tree, tmp_path):
    path = pack(tree, ".tar")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("train/ant/link.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
        content = io.BytesIO()
        picture(9).save(content, "png")
        info = tarfile.TarInfo("train/../../../escaped.png")
        info.size = len(content.getvalue())
        archive.addfile(info, io.BytesIO(content.getvalue()))
    assert loaded(path).fingerprint == loaded(tree).fingerprint


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
    from orchestration.assemble import assemble
    from orchestration.schema import ConfigError

    base = ["dataset=image_folder", "network=resnet20", "method=svd", f"dataset.root={tree}"]
    parts = assemble(make_point(*base, "dataset.size=16"))
    assert parts.data.input_shape == (3, 16, 16)
    (tree / "train" / "cow" / "0003.png").write_bytes(b"x")
    read_images.cache_clear()
    with pytest.raises(ConfigError, match=r"train/cow/0003.png: not a readable image"):
        assemble(make_point(*base))
    with pytest.raises(ConfigError, match=r"images: there is no /nowhere"):
        assemble(make_point(*base, "dataset.root=/nowhere"))
    with pytest.raises(ConfigError, match=r"dataset.channels: expected 1 or 3|dataset.channels: expected"):
        make_point(*base, "dataset.channels=2")


def test_a_point_runs_on_it(make_point, tree):
    from orchestration.job import run_point

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
