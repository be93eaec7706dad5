"""Trees that are not quite UCF11's: what is missing, doubled, empty or misnamed is told in a line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from datamodules.video.ucf11_files import find_clips
from tests.datamodules.video.ucf11_trees import loaded, refused
from tests.datamodules.video.videos import CODECS, picture, write_tree, write_video


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """Three classes of five groups with one clip; for the tests that change files."""
    write_tree(tmp_path, clips=1)
    return tmp_path


def test_broken_clips_are_named_or_counted(small_tree):
    path = small_tree / "UCF11_updated_mpg" / "biking" / "v_biking_02" / "v_biking_02_01.mpg"
    before = loaded(small_tree, protocol="clip_split")
    path.write_bytes(b"")
    said = refused(small_tree)
    assert said.startswith(f"{path}: not a readable video (")
    assert said.endswith("fetch it again, or leave such clips out with dataset.broken=skip")
    data = loaded(small_tree, broken="skip")
    assert [len(p) for p in (data.train, data.validation, data.test)] == [8, 3, 3]
    assert data.split.endswith("6 frames of 12×16; 1 broken clips left out")
    after = loaded(small_tree, protocol="clip_split", broken="skip")
    for one, other in ((before.train, after.train), (before.test, after.test)):
        assert [p for p in one.paths if "v_biking_02_01" not in p.name] == list(other.paths), "no other clip moves"


def test_a_missing_tree_is_named_with_layout_and_remedy(tmp_path):
    said = refused(tmp_path / "nowhere")
    assert said.startswith(f"UCF11: {tmp_path / 'nowhere'} holds no UCF11_updated_mpg or UCF11_updated or UCF11; ")
    assert "UCF11_updated_mpg/<class>/v_<word>_<group>/v_<word>_<group>_<clip>.mpg" in said
    assert "https://www.crcv.ucf.edu/" in said
    assert "set dataset.root" in said
    (tmp_path / "UCF11").mkdir()
    assert f"{tmp_path / 'UCF11'}: 0 class folders" in refused(tmp_path)


def test_two_trees_are_not_guessed_between(small_tree):
    (small_tree / "UCF11").mkdir()
    assert "move one away" in refused(small_tree)


@pytest.mark.parametrize(
    "name",
    ["biking/v_biking_02/clip.mpg", "biking/v_biking_02/v_biking_3.mpg", "biking/v_biking_02_09.mpg"],
)
def test_strange_names_are_refused(small_tree, name):
    path = small_tree / "UCF11_updated_mpg" / name
    write_video(path, picture(5, 0))
    assert refused(small_tree).startswith(f"{path}: a clip with a strange name; expected UCF11_updated_mpg/<class>/")


def test_what_is_no_clip_is_not_looked_at(small_tree):
    folder = small_tree / "UCF11_updated_mpg"
    expected = find_clips(folder)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "README.txt").write_bytes(b"x")
    (folder / "biking" / "v_biking_02" / "Thumbs.db").write_bytes(b"x")
    (folder / "biking" / "v_biking_02" / "._v_biking_02_01.mpg").write_bytes(b"x")
    assert find_clips(folder) == expected


def test_other_files_are_named_in_one_line(small_tree, caplog):
    folder = small_tree / "UCF11_updated_mpg"
    expected = find_clips(folder)
    (folder / "list.csv").write_bytes(b"x")
    (folder / "biking" / "v_biking_02" / "v_biking_02_01.wav").write_bytes(b"x")
    with caplog.at_level(logging.WARNING, "compression_bench"):
        assert find_clips(folder) == expected
    (said,) = caplog.messages
    assert f"{folder}: not read: list.csv, biking/v_biking_02/v_biking_02_01.wav; read is UCF11_updated_mpg/" in said


@pytest.mark.parametrize("ending", [".MPG", ".mpeg", ".mp4", ".mov", ".webm", ".avi"])
def test_clips_of_all_kinds_are_read_through_links(small_tree, ending):
    folder = small_tree / "UCF11_updated_mpg"
    before = loaded(small_tree)
    path = folder / "biking" / "v_biking_02" / "v_biking_02_01.mpg"
    path.unlink()
    write_video(path.with_suffix(ending), picture(10, 112), CODECS[ending.lower()])
    (folder / "biking").rename(small_tree / "elsewhere")
    (folder / "biking").symlink_to(small_tree / "elsewhere", target_is_directory=True)
    (small_tree / "elsewhere" / "v_biking_03").rename(small_tree / "third")
    (small_tree / "elsewhere" / "v_biking_03").symlink_to("../third", target_is_directory=True)
    after = loaded(small_tree)
    assert after.split == before.split
    assert [len(part) for part in (after.train, after.validation, after.test)] == [9, 3, 3]


def test_a_folder_inside_a_group_is_named(small_tree):
    deeper = small_tree / "UCF11_updated_mpg" / "biking" / "v_biking_02" / "deeper"
    deeper.mkdir()
    assert refused(small_tree).startswith(f"{deeper}: a folder inside a group")


def test_empty_classes_doubled_clips_and_dead_links_are_named(small_tree):
    folder = small_tree / "UCF11_updated_mpg"
    clip = folder / "biking" / "v_biking_02" / "v_biking_02_01.mpg"
    clip.with_suffix(".avi").write_bytes(b"x")
    said = refused(small_tree)
    assert "is the same clip; delete one" in said
    assert str(clip) in said
    clip.with_suffix(".avi").unlink()
    clip.unlink()
    clip.symlink_to(folder / "gone.mpg")
    assert f"{clip}: a link that leads to no file" in refused(small_tree)
    clip.unlink()
    (folder / "walking").mkdir()
    assert f"{folder / 'walking'}: the class holds no clip" in refused(small_tree)


@pytest.mark.parametrize(
    ("groups", "empty"), [(range(1, 4), "validation"), (range(1, 5), "test"), (range(5, 6), "train")]
)
def test_an_empty_part_is_named(tmp_path, groups, empty):
    write_tree(tmp_path, groups, clips=1)
    there = ", ".join(map(str, groups))
    assert f"the {empty} part is empty with the groups that are there ({there})" in refused(tmp_path)


def test_a_class_that_nothing_trains_is_named(small_tree):
    for group in (1, 2, 3):
        for path in (small_tree / "UCF11_updated_mpg" / "biking").glob(f"v_biking_{group:02}/*"):
            path.write_bytes(b"")
    assert "the train part has no clip of 'biking'" in refused(small_tree, broken="skip")


@pytest.mark.parametrize("options", [{"protocol": "five_fold"}, {"fold": 1}, {"protocol": "clip_split", "fold": 1}])
def test_a_fold_belongs_to_five_folds(tmp_path, options):
    assert "dataset.fold: expected 0 to 4 with five_fold, else null" in refused(tmp_path, **options)
