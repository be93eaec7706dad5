"""Both readers of images list the same files of the same tree, in a folder, a tar and a zip archive."""

from __future__ import annotations

import io
import logging
import shutil
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.listing.image_parts import find_parts
from datamodules.listing.rule import IMAGES
from tests.datamodules.listing.readers import in_memory, refused, streamed
from tests.datamodules.listing.trees import ENDINGS, HIDDEN, NAMES, pack, save
from tests.datamodules.refusals import refusal


@pytest.mark.parametrize("wrapper", ["", "photos-main"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_all_fourteen_images_are_found_by_both(tree, ending, wrapper):
    contents = {
        part: [(tree / part / name / file).read_bytes() for name in classes for file in sorted(classes[name])]
        for part, classes in NAMES.items()
    }
    expected = {part: [(n, f) for n in classes for f in sorted(classes[n])] for part, classes in NAMES.items()}
    pixels = [np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content in contents["test"]]
    root = pack(tree, ending, wrapper)
    found = find_parts(root, takes_validation=False, in_place=True)
    for part, index in (("train", found.train), ("test", found.test)):
        names = [tuple(name.decode().split("/")[-2:]) for name in index.names.tolist()]
        assert names == expected[part]
        assert [index.read(place) for place in range(len(index))] == contents[part]
    memory, stream = in_memory(root), streamed(root)
    assert [len(part.labels) for part in stream.parts] == [len(memory.train), len(memory.validation), 6] == [6, 2, 6]
    assert memory.test.labels.tolist() == stream.parts[2].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(memory.test.images.numpy().transpose(0, 2, 3, 1), np.stack(pixels))
    ((images, _),) = list(stream.test_batches())
    centres = ((images * stream.normalise.deviation + stream.normalise.mean) * 255).round().numpy()
    # of 7 columns the centre is six
    assert np.abs(centres.transpose(0, 2, 3, 1) - np.stack(pixels)[:, :, :6]).max() == 0


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_an_archive_has_the_fingerprint_of_its_folder(tree, ending, load):
    whole = load(tree)
    root = pack(tree, ending)
    assert load(root).fingerprint == whole.fingerprint
    assert load(root).split == whole.split
    assert load(tree.with_name(root.name.removesuffix(Path(root.name).suffix))).fingerprint == whole.fingerprint


def test_each_hidden_name_is_hidden_alone(tree, load):
    for name in HIDDEN:
        (tree / name).unlink()
    bare = load(tree).fingerprint
    for name in HIDDEN:
        (tree / name).write_text("no image")
        assert load(tree).fingerprint == bare
        (tree / name).rename((tree / name).with_name("seen.txt"))
        if Path(name).parts[1] == "ant":
            assert "seen.txt: expected an image" in refused(load, tree)
        (tree / name).with_name("seen.txt").unlink()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("target", ["gone.jpg", "/etc/hostname-that-is-not", "../../../outside.jpg", "circle.jpg"])
@pytest.mark.parametrize("place", ["test/ant", "test"])
def test_a_broken_link_is_named(tree, ending, target, place, load):
    (tree / place / "circle.jpg").symlink_to(target)
    assert f"{place}/circle.jpg: a link that leads to no file" in refused(load, pack(tree, ending))


def test_a_link_out_of_an_archive_is_broken_even_if_the_file_is_there(tree, tmp_path, load):
    save(tmp_path / "there.jpg", 9)
    (tree / "test/ant/out.jpg").symlink_to(tmp_path / "there.jpg")
    assert len(load(tree).test_batches().labels if load is streamed else load(tree).test.labels) == 7
    assert "test/ant/out.jpg: a link that leads to no file" in refused(load, pack(tree, ".tar"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_not_read_is_said_in_one_line(tree, ending, load, caplog):
    (tree / "train/list.txt").write_text("x")
    (tree / "labels.csv").write_text("x")
    with caplog.at_level(logging.WARNING, "compression_bench"):
        load(pack(tree, ending))
    top, below = caplog.messages
    assert top.endswith("not read: labels.csv, store; read is train/, test/")
    assert below.endswith("train: not read: list.txt; read is train/<class>/<image>")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["train/stray.avif", "train/ant/deeper/a.jpg", "train/ant/a.mp3"])
def test_a_file_in_a_wrong_place_or_of_a_wrong_kind_is_named(tree, ending, name, load):
    save(tree / name, 0, "png")
    said = refused(load, pack(tree, ending))
    assert name.removesuffix("/a.jpg") in said
    assert any(words in said for words in ("is not in a folder of its class", "a folder inside a class", IMAGES[-1]))


def test_a_validation_folder_is_the_validation_part_of_both(tree, load):
    whole = load(tree)
    (tree / "test").rename(tree / "val")
    assert load(tree).fingerprint == whole.fingerprint, "val/ alone is the test part"
    shutil.copytree(tree / "val", tree / "test")
    assert "set dataset.validation_share=null to use it" in refused(load, tree)
    assert "8 train, 6 validation, 6 test" in load(tree, validation_share=None).split
    shutil.rmtree(tree / "val")
    assert "there is no validation part; take one" in refused(load, tree, validation_share=None)


def test_the_last_of_a_name_is_read(tree, load):
    path = pack(tree, ".tar")
    before = load(path).fingerprint
    save(tree / "newer.jpg", 77)
    with tarfile.open(path, "a") as archive:
        archive.add(tree / "newer.jpg", "./test/ant/0.jpg")
    assert load(path).fingerprint != before
    (tree / "newer.jpg").rename(tree / "test/ant/0.jpg")
    assert load(path).fingerprint == load(tree).fingerprint


@pytest.mark.parametrize("name", ["train/../../out.png", "../out.png"])
def test_a_name_that_leads_out_of_an_archive_is_refused(tree, name, load):
    path = pack(tree, ".tar")
    with tarfile.open(path, "a") as archive:
        archive.add(tree / "train/ant/0.jpg", name)
    assert "a name that leads out of the archive" in refused(load, path)


def test_archives_that_cannot_be_read_are_named(tree, load):
    path = pack(tree, ".zip")
    whole = path.read_bytes()
    for content in (whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert f"{path}: cannot be read as an archive (" in refused(load, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.write(tree / "train/ant/0.jpg", "train/ant/0.jpg")
    assert "0.jpg is packed by method 12; pack the archive again" in refused(load, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tree / "train/ant/0.jpg", "train/ant/0.jpg")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of encryption, in the central directory
    path.write_bytes(content)
    assert "0.jpg is encrypted; pack the archive again" in refused(load, path)


def test_a_damaged_header_inside_a_tar_is_not_its_end(tree, load):
    """`tarfile` stops there in silence, and half of the images were gone."""
    path = pack(tree, ".tar")
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[-3].offset
    content = bytearray(path.read_bytes())
    content[offset + 150] ^= 1  # in the checksum
    path.write_bytes(content)
    assert f"has a damaged header at byte {offset}" in refused(load, path)


def test_a_compressed_tar_is_for_memory_only(tree):
    whole = in_memory(tree).fingerprint
    for ending, kind in ((".tar.xz", "w:xz"), (".tar.gz", "w:gz"), (".tar.bz2", "w:bz2")):
        path = tree.with_name(f"packed{ending}")
        with tarfile.open(path, kind) as archive:
            archive.add(tree, "top")
        assert in_memory(path).fingerprint == whole
        said = refusal(partial(streamed, path))
        assert "a compressed archive cannot be read image by image; unpack it" in said
