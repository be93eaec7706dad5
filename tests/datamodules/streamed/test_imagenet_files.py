"""Archives, kits and folders that are not ILSVRC2012's: each is refused by name, with what to do."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from tests.datamodules.streamed.imagenet_layouts import (
    DEVKIT,
    WNIDS,
    add,
    loaded,
    refused,
)


def test_nothing_there_is_said_with_the_files(tmp_path, packed):
    said = refused(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} lacks ILSVRC2012_img_train.tar, and there is no folder train/" in said
    assert "image-net.org" in said
    assert "nothing is downloaded" in said
    (packed / "ILSVRC2012_img_val.tar").unlink()
    assert "lacks ILSVRC2012_img_val.tar" in refused(packed)


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
def test_truncated_archives_are_named(packed, name):
    path = packed / name
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    end = -(-(last.offset_data + last.size) // 512) * 512
    cuts = (0, 100, 512, last.offset - 3, last.offset, last.offset_data, last.offset_data + last.size // 2, end)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        os.utime(path, ns=(cut, cut))
        said = refused(packed)
        assert f"{path}: cannot be read as an archive (" in said, cut
        assert said.endswith("; fetch it again")
    path.write_bytes(b"<html>not found</html>" * 100)
    assert "cannot be read as an archive (" in refused(packed)


def test_other_archives_than_the_official_ones_are_refused(packed):
    train, val = packed / "ILSVRC2012_img_train.tar", packed / "ILSVRC2012_img_val.tar"
    whole = train.read_bytes()
    val_bytes = val.read_bytes()
    train.write_bytes(val_bytes)
    assert "expected archives <wnid>.tar inside, one a class" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "notes.txt", b"x")
    assert "holds notes.txt; expected JPEG files" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "goldfish.tar", b"\0" * 10240)
    assert "holds goldfish.tar; expected archives named <wnid>.tar" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", b"\0" * 10240)
    assert "n09999999.tar holds no image" in refused(packed)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w") as inner:
        add(inner, "n09999999_1.JPEG", b"x")
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", empty.getvalue())
    said = refused(packed)
    assert f"class n09999999 is in {train} and not in {val}; both need the same classes" in said
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", empty.getvalue()[:700])
    assert "cannot be read as an archive" in refused(packed)


def test_a_kit_that_is_missing_or_wrong_is_said(packed, flat):
    archive = packed / f"{DEVKIT}.tar.gz"
    whole = archive.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2]):
        archive.write_bytes(content)
        assert f"{archive}: cannot be read (" in refused(packed)
    archive.unlink()
    assert "lacks ILSVRC2012_devkit_t12.tar.gz (or the folder ILSVRC2012_devkit_t12)" in refused(packed)
    with tarfile.open(archive, "w:gz") as kit:
        kit.add(flat / DEVKIT / "data" / "meta.mat", f"{DEVKIT}/data/meta.mat")
    assert "lacks data/ILSVRC2012_validation_ground_truth.txt" in refused(packed)
    truth = flat / DEVKIT / "data" / "ILSVRC2012_validation_ground_truth.txt"
    lines = truth.read_text().split()
    truth.write_text("\n".join(lines[:-1]))
    assert "has 8 lines for 9 validation images; expected one for each" in refused(flat)
    truth.write_text("\n".join([*lines[:-1], "4"]))
    assert "has class 4, which meta.mat does not know" in refused(flat)
    truth.write_text("\n".join([*lines[:-1], "goldfish"]))
    assert "expected one number a line" in refused(flat)
    truth.write_text("\n".join(lines))
    assert len(loaded(flat).parts[2]) == 9
    meta = flat / DEVKIT / "data" / "meta.mat"
    for content in (b"", b"<html>" * 100, meta.read_bytes()[:300]):
        meta.write_bytes(content)
        assert "meta.mat: cannot be read (" in refused(flat)
    savemat(meta, {"others": np.ones(3)})
    assert "meta.mat: cannot be read (" in refused(flat)


def test_classes_that_do_not_fit_are_named(tree):
    spare = tree.with_name("spare")
    (tree / "val" / WNIDS[2]).rename(spare)
    said = refused(tree)
    assert f"class {WNIDS[2]} is in {tree / 'train'} and not in {tree / 'val'}" in said
    (tree / "val" / WNIDS[2]).mkdir()
    assert f"{tree / 'val' / WNIDS[2]} holds no image; put some there, or delete the class" in refused(tree)
    (tree / "val" / WNIDS[2]).rmdir()
    spare.rename(tree / "val" / "n09999999")
    assert "class n02102040 is in" in refused(tree)
    (tree / "val" / "n09999999").rename(tree / "val" / "goldfish")
    said = refused(tree)
    assert f"{tree / 'val' / 'goldfish'}: expected folders named by WordNet ids" in said
    shutil.rmtree(tree / "val")
    (tree / "val").mkdir()
    assert f"{tree / 'val'} holds no image" in refused(tree)
    shutil.rmtree(tree / "train")
    (tree / "train").mkdir()
    assert f"{tree / 'train'}: no folder of images; expected train/<class>/<image>" in refused(tree)


def test_hidden_files_are_left_out_and_others_are_not(tree):
    whole = loaded(tree).fingerprint
    (tree / "train" / WNIDS[0] / ".DS_Store").write_text("x")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "n01440764.tar").write_text("x")
    assert loaded(tree).fingerprint == whole
    (tree / "train" / WNIDS[0] / "Thumbs.db").write_text("x")
    assert loaded(tree).fingerprint == whole
    (tree / "train" / WNIDS[0] / "notes.txt").write_text("x")
    said = refused(tree)
    assert f"{tree / 'train' / WNIDS[0] / 'notes.txt'}: expected an image (.jpeg, .jpg" in said


@pytest.mark.parametrize("share", [0.001, 0.99])
def test_a_share_that_leaves_nothing_is_refused(tree, share):
    said = refused(tree, validation_share=share)
    assert f"validation_share={share:g} of 24 training images are" in said
    assert "change dataset.validation_share" in said
