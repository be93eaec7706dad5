"""The written rule of what is read is the one that the code follows."""

from __future__ import annotations

import logging
import re

import pytest

from datamodules.listing.rule import HIDDEN_FILES, HIDDEN_FOLDERS, IMAGES, is_hidden, is_image, is_video, tell_unread
from tests.conftest import ROOT


def test_the_guide_lists_the_endings_and_the_hidden_names():
    text = (ROOT / "docs" / "guides" / "own-data.md").read_text()
    read, hidden = re.search(r"- \*\*Read\*\*(.*?)- \*\*Hidden\*\*(.*?)- \*\*Refused", text, re.DOTALL).groups()
    assert sorted(re.findall(r"`(\.\w+)`", read)) == sorted(IMAGES)
    assert sorted(name.lower() for name in re.findall(r"`(.+?)`", hidden)) == sorted((*HIDDEN_FILES, *HIDDEN_FOLDERS))


@pytest.mark.parametrize(
    ("name", "hidden", "image", "video"),
    [
        ("a.JPG", False, True, False),
        ("a.b.jfif", False, True, False),
        ("0001", False, True, False),
        ("a.txt", False, False, False),
        ("a.MOV", False, False, True),
        ("._a.jpg", True, True, False),
        ("THUMBS.DB", True, False, False),
        ("readme.MD", True, False, False),
        ("README.jpg", False, True, False),
        ("Annotation", False, True, False),
    ],
)
def test_names(name, hidden, image, video):
    assert (is_hidden(name, is_folder=False), is_image(name), is_video(name)) == (hidden, image, video)


def test_boxes_beside_videos_are_hidden_only_there():
    assert is_hidden("Annotation", is_folder=True, beside_videos=True)
    assert not is_hidden("Annotation", is_folder=True)


def test_a_class_may_be_called_readme():
    assert not is_hidden("readme", is_folder=True)
    assert is_hidden("__MACOSX", is_folder=True)


def test_many_are_counted_and_told_once(caplog):
    with caplog.at_level(logging.WARNING, "compression_bench"):
        for _ in range(2):
            tell_unread("a place", [f"{index}.txt" for index in range(8)], "images")
        tell_unread("a place", [], "images")
    assert caplog.messages == ["a place: not read: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more; read is images"]
