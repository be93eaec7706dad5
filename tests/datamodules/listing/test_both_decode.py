"""Both readers turn images as EXIF says, and find broken ones before anything trains."""

from __future__ import annotations

import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.datamodules.listing.readers import in_memory, refused, streamed
from tests.datamodules.listing.trees import ENDINGS, pack


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp", "avif"])
def test_images_are_turned_as_exif_says(tree, kind, orientation, load):
    """Against the definition: EXIF's 6 has the first stored row at the right, and so on."""
    upright = np.zeros((6, 6, 3), np.uint8)
    upright[:3, :3] = (200, 30, 30)
    upright[:3, 3:] = (30, 200, 30)
    upright[3:, :3] = (30, 30, 200)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    shutil.rmtree(tree / "test/ant")
    (tree / "test/ant").mkdir()
    image = Image.fromarray(np.ascontiguousarray(stored)).resize((48, 48), Image.Resampling.NEAREST)
    image.save(tree / f"test/ant/0.{kind}", exif=exif, **({} if kind in ("png", "tif") else {"quality": 95}))
    if load is in_memory:
        found = load(tree, size=6).test.images[0].numpy().transpose(1, 2, 0)
    else:
        data = load(tree)
        images, _ = next(iter(data.test_batches()))
        found = ((images * data.normalise.deviation + data.normalise.mean) * 255)[0].numpy().transpose(1, 2, 0)
        window = data._decoders.decoder.crops.random(
            (tree / f"test/ant/0.{kind}").read_bytes(), np.random.default_rng(0)
        )
        assert window.shape == (6, 6, 3)
    corners = [(0, 0), (0, 5), (5, 0), (5, 5)]
    for row, column in corners:
        assert np.abs(found[row, column].astype(int) - upright[row, column]).max() < 30


@pytest.mark.parametrize("ending", ENDINGS)
def test_broken_images_are_refused_before_training_or_left_out_and_counted(tree, ending, load, caplog):
    whole = load(tree)
    (tree / "train/ant/0.jpg").write_bytes((tree / "train/ant/0.jpg").read_bytes()[:-200])  # and the link to it
    (tree / "test/linked/1.webp").write_bytes(b"no image")
    root = pack(tree, ending)
    assert re.search(r"train/ant/(0|soft)\.jpg: not a readable image \(.*dataset.broken=skip$", refused(load, root))
    with caplog.at_level(logging.WARNING, "compression_bench"):
        data = load(root, broken="skip")
    assert sum(message.endswith("; left out") for message in caplog.messages) == 3
    assert re.search(r"; 3 broken images left out \(.*1 test\)$", data.split)
    if load is in_memory:
        kept, all_there = ({image.numpy().tobytes() for image in each.train.images} for each in (data, whole))
    else:
        kept, all_there = (set(each.parts[0].names.tolist()) for each in (data, whole))
    assert kept < all_there, "none moved from validation to training"


def test_a_class_without_a_readable_image_is_named(tree, load):
    for path in (tree / "test/ant").iterdir():
        path.unlink()
    (tree / "test/ant/0.jpg").write_bytes(b"no image")
    assert "no image of class 'ant' in the test part can be read" in refused(load, tree, broken="skip")


def test_what_is_not_checked_is_not_decoded_before(tree):
    (tree / "train/ant/3").write_bytes(b"no image")
    assert "train/ant/3: not a readable image" in refused(streamed, tree, checked="all")
    assert streamed(tree, checked="test").num_classes == 2
    (tree / "test/ant/0.jpg").write_bytes(b"no image")
    assert "test/ant/0.jpg: not a readable image" in refused(streamed, tree, checked="test")
    assert streamed(tree, checked="nothing").num_classes == 2
    assert "set dataset.checked=all" in refused(streamed, tree, checked="test", broken="skip")
