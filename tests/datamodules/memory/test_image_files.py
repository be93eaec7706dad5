"""Trees of image files that cannot be read as they are: each is refused by name, with what to do."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from datamodules.memory.image_files import read_images
from tests.datamodules.memory.pictures import CLASSES, loaded, pack, picture, refused


def test_different_sizes_are_refused(tree):
    picture(5, (50, 9)).save(tree / "test" / "bee" / "0003.png")
    said = refused(tree)
    first = tree / "train" / "ant" / "0000.jpg"
    assert f"test/bee/0003.png has 9×50 pixels and {first} has 6×7; give all one size" in said
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
    assert "train/ant/notes.txt: expected an image (.jpeg, .jpg" in refused(tree)


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
    assert said.endswith("mend or delete it, or leave such images out with dataset.broken=skip")


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
    assert "class 'cow' is in train/ and not in test/; all parts need the same classes" in said()
    (tree / "train" / "cow").rename(tree / "test" / "cow")
    assert "class 'cow' is in test/ and not in train/" in said()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["train/stray.png", "train/ant/deeper/a.png", "test/stray.jfif"])
def test_images_in_other_places_are_not_dropped_in_silence(tree, place, packed):
    (tree / place).parent.mkdir(exist_ok=True)
    picture(5).save(tree / place)
    said = refused(pack(tree, ".tar.gz") if packed else tree)
    if "deeper" in place:
        assert "train/ant/deeper: a folder inside a class; move its images up" in said
    else:
        part = place.partition("/")[0]
        assert f"{place} is not in a folder of its class; expected {part}/<class>/<image>" in said


def test_one_class_is_nothing_to_tell_apart(tree):
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(tree / part / name)
    assert "one class, ant; expected at least two" in refused(tree)


def test_nothing_to_read_is_said_with_the_layout(tmp_path, tree):
    said = refused(tmp_path / "nowhere")
    assert f"there is no {tmp_path / 'nowhere'}, nor an archive of that name" in said
    assert "set dataset.root" in said
    assert "train/<class>/<image> and test/<class>/<image>" in said
    (tmp_path / "empty").mkdir()
    assert "empty holds neither train nor test; expected a folder or an archive with train/<class>/" in refused(
        tmp_path / "empty"
    )
    assert "train holds neither train nor test" in refused(tree / "train")
    shutil.rmtree(tree / "test")
    assert "pictures holds train; expected" in refused(tree)


def test_damaged_archives_are_named(tree):
    for ending in (".tar.xz", ".tar.gz", ".tar"):
        path = pack(tree, ending)
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
            path.write_bytes(content)
            os.utime(path, ns=(len(content), len(content)))
            assert f"{path}: cannot be read as an archive (" in refused(path)
