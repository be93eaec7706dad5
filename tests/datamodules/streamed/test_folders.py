"""Which pictures of a folder belong to which class and part, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from datamodules.listing.image_parts import list_classes
from datamodules.listing.places import Folder
from tests.datamodules.streamed.pictures import CLASSES, epoch, loaded, picture, refused, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "pictures")


def test_a_validation_folder_is_the_validation_part(tree):
    whole = loaded(tree)
    (tree / "test").rename(tree / "val")
    assert [len(part) for part in loaded(tree).parts] == [27, 3, 12], "val/ alone is the test part"
    assert loaded(tree).fingerprint == whole.fingerprint
    for name in CLASSES:
        (tree / "test" / name).mkdir(parents=True)
        picture(9, (30, 30)).save(tree / "test" / name / "0.png")
    said = refused(tree)
    assert "has a validation part, val/; set dataset.validation_share=null to use it" in said
    data = loaded(tree, validation_share=None)
    assert [len(part) for part in data.parts] == [30, 12, 3]
    assert data.split.startswith("pictures: 30 train, 12 validation, 3 test; evaluated")
    (tree / "val").rename(tree / "other")
    assert "there is no validation part; take one from the training part" in refused(tree, validation_share=None)


def test_missing_and_empty_classes_are_named(tree):
    for path in (tree / "test" / "cow").iterdir():
        path.unlink()
    assert f"{tree / 'test' / 'cow'} holds no image; put some there, or delete the class" in refused(tree)
    (tree / "test" / "cow").rmdir()
    assert "class 'cow' is in train/ and not in test/; all parts need the same classes" in refused(tree)
    (tree / "train" / "cow").rename(tree / "test" / "cow")
    assert "class 'cow' is in test/ and not in train/" in refused(tree)


def test_images_in_other_places_are_not_dropped_in_silence(tree):
    classes = sorted(path for path in (tree / "train").iterdir())
    (classes[0] / "deeper").mkdir()
    with pytest.raises(ValueError, match="deeper: a folder inside a class"):
        list_classes(Folder(tree / "train"))
    (classes[0] / "deeper").rmdir()
    (tree / "train" / "stray.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"stray.png is not in a folder of its class"):
        list_classes(Folder(tree / "train"))
    (tree / "train" / "stray.png").unlink()
    for path in classes[1:]:
        shutil.rmtree(path)
    with pytest.raises(ValueError, match=r"one class, .*; expected at least two"):
        list_classes(Folder(tree / "train"))


def test_nothing_to_read_is_said_with_the_layout(tmp_path, tree):
    said = refused(tmp_path / "nowhere")
    assert f"there is no {tmp_path / 'nowhere'}, nor an archive of that name (.tar.xz" in said
    assert "set dataset.root" in said
    (tmp_path / "empty").mkdir()
    assert "empty holds neither train nor test; expected a folder or an archive" in refused(tmp_path / "empty")
    (tree / "test").rename(tree / "tset")
    assert "holds train; expected" in refused(tree)


def test_names_may_have_any_letters(tree):
    odd = tree / "test" / "ant" / "größe ☃ 1.jpg"
    odd.write_bytes((tree / "test" / "ant" / "0000.jpg").read_bytes())
    images, _ = epoch(loaded(tree).test_batches())
    assert torch.equal(images[0], images[4])
