"""Decoding once: the right frames, whole files only, broken clips by name, and a cache that is never stale."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.video import cache
from datamodules.video.cache import fill_cache, open_clip
from datamodules.video.decode import BrokenClip, Frames, decode
from tests.datamodules.video.videos import picture, read_video, write_video

SIX = Frames(6, 24, 32)


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    paths = {f"a/v_a_01_{number:02}": tmp_path / f"{number}.mpg" for number in range(4)}
    for seed, path in enumerate(paths.values()):
        write_video(path, picture(10 + seed, seed))
    return paths


def filled(clips, tmp_path, frames=SIX, broken="fail", **options) -> dict[str, Path]:
    return fill_cache(clips, tmp_path / "cache", frames, broken, **options)


@pytest.mark.parametrize(
    ("ending", "codec"), [(".mpg", "mpeg1video"), (".avi", "msmpeg4v2"), (".avi", "msmpeg4"), (".avi", "mpeg4")]
)
@pytest.mark.parametrize("num_frames", [1, 6, 13, 20, None])
def test_the_frames_are_those_of_the_file(tmp_path, ending, codec, num_frames):
    path = tmp_path / f"clip{ending}"
    write_video(path, picture(13, 5), codec)
    theirs = read_video(path)
    assert len(theirs) == 13
    ours = decode(path, Frames(num_frames, 24, 32))
    wanted = list(range(13))
    if num_frames is not None:  # the middle of each of equal pieces
        wanted = [int(np.floor((piece + 0.5) * 13 / num_frames)) for piece in range(num_frames)]
    assert ours.shape == (len(wanted), 3, 24, 32)
    assert ours.dtype == np.uint8
    for frame, index in zip(ours, wanted, strict=True):
        small = np.asarray(Image.fromarray(theirs[index]).resize((32, 24), Image.Resampling.BILINEAR), np.float64)
        close = np.abs(frame.transpose(1, 2, 0) - small).mean()
        # Frames are 100/13 apart: a neighbour would be off by more than 7.
        assert close < 2.5


def test_a_frame_of_the_asked_size_is_not_changed(tmp_path):
    path = tmp_path / "clip.mpg"
    write_video(path, picture(4, 1))
    ours = decode(path, Frames(None, 48, 64)).transpose(0, 2, 3, 1)
    assert np.abs(ours.astype(int) - read_video(path)).max() <= 2


def test_clips_are_mapped_and_not_decoded_twice(clips, tmp_path, monkeypatch):
    first = filled(clips, tmp_path)
    assert list(first) == list(clips)
    for name, path in first.items():
        array = open_clip(path)
        assert isinstance(array, np.memmap)
        assert np.array_equal(array, decode(clips[name], SIX))
    monkeypatch.setattr(cache, "decode", lambda *a: pytest.fail("decoded again"))
    assert filled(clips, tmp_path) == first


def test_a_cache_is_of_one_number_and_size(clips, tmp_path):
    forms = [SIX, Frames(5, 24, 32), Frames(6, 32, 24), Frames(None, 24, 32)]
    arrays = [open_clip(filled(clips, tmp_path, form)["a/v_a_01_03"]) for form in forms]
    assert [a.shape for a in arrays] == [(6, 3, 24, 32), (5, 3, 24, 32), (6, 3, 32, 24), (13, 3, 24, 32)]


def test_a_killed_decode_goes_on(clips, tmp_path, monkeypatch):
    whole = {name: np.array(open_clip(path)) for name, path in filled(clips, tmp_path).items()}
    paths = list(filled(clips, tmp_path).values())
    paths[1].unlink()
    (paths[0].parent / ".abc.tmp").write_bytes(b"half a clip")
    paths[2].write_bytes(paths[2].read_bytes()[:-5])  # a disk that lost something
    decoded = []
    monkeypatch.setattr(cache, "decode", lambda path, frames: decoded.append(path) or decode(path, frames))
    again = filled(clips, tmp_path)
    assert decoded == [list(clips.values())[1], list(clips.values())[2]]
    assert all(np.array_equal(open_clip(again[name]), whole[name]) for name in clips)


def test_a_write_that_fails_leaves_nothing(clips, tmp_path, monkeypatch):
    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(ValueError, match=r"cannot be written there \(No space left on device\); set dataset.cache"):
            filled(clips, tmp_path)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    filled(clips, tmp_path)


def test_a_cache_that_is_no_folder_is_named(clips, tmp_path):
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(
        ValueError, match=rf"{tmp_path / 'cache'}/6_frames_24x32_v\d+: the decoded clips cannot"
    ) as caught:
        filled(clips, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_changed_source_is_decoded_anew(clips, tmp_path, keep_time):
    before = filled(clips, tmp_path)
    name, source = list(clips.items())[2]
    stamp = source.stat()
    write_video(source, picture(30, 77))
    if keep_time:  # then its size is another
        os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = filled(clips, tmp_path)
    assert np.array_equal(open_clip(after[name]), decode(source, SIX))
    assert [each for each in clips if before[each] != after[each]] == [name]
    assert not before[name].exists(), "what nobody reads any more is removed"


def test_processes_decode_the_same(clips, tmp_path):
    alone = fill_cache(clips, tmp_path / "alone", SIX, "fail")
    several = fill_cache(clips, tmp_path / "several", SIX, "fail", num_workers=2)
    assert [p.name for p in alone.values()] == [p.name for p in several.values()]
    assert all(np.array_equal(open_clip(alone[name]), open_clip(several[name])) for name in clips)


def test_two_runs_at_once_end_with_whole_clips(clips, tmp_path):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        runs = [pool.submit(fill_cache, clips, tmp_path / "cache", SIX, "fail") for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert first == second
    assert all(np.array_equal(open_clip(first[name]), decode(clips[name], SIX)) for name in clips)
    assert len(list((tmp_path / "cache").rglob("*.*"))) == len(clips)


BROKEN = {
    "empty": lambda content: b"",
    "junk": lambda content: b"<html>not found</html>" * 100,
    "cut to its first bytes": lambda content: content[:40],
    "a sound without a picture": None,
}


@pytest.mark.parametrize(("damage", "num_workers"), [*((damage, 0) for damage in BROKEN), ("junk", 2)])
def test_broken_clips_fail_by_name_or_are_left_out(clips, tmp_path, caplog, damage, num_workers):
    name, path = list(clips.items())[1]
    if BROKEN[damage] is None:
        write_sound(path)
    else:
        path.write_bytes(BROKEN[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=rf"^{path}: not a readable video \(.+\); mend it$") as caught:
        filled(clips, tmp_path, num_workers=num_workers, remedy="mend it")
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING, "compression_bench"):
        found = filled(clips, tmp_path, broken="skip", num_workers=num_workers)
    assert list(found) == [each for each in clips if each != name]
    assert f"{path}: left out" in caplog.text


def write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_cut_avi_is_broken_and_a_cut_mpg_is_a_shorter_clip(tmp_path):
    """Only the former says how many frames it should have."""
    for ending, share in ((".avi", 0.75), (".mpg", 0.5)):
        path = tmp_path / f"clip{ending}"
        write_video(path, picture(40, 3))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BrokenClip, match=r"^\d+ whole frames of 40$"):
        decode(tmp_path / "clip.avi", SIX)
    frames, all_there = decode(tmp_path / "clip.mpg", Frames(None, 48, 64)), read_video(tmp_path / "clip.mpg")
    assert 5 < len(frames) < 38
    assert len(frames) == len(all_there) - 1, "the frame that was cut is left out"


@pytest.mark.parametrize("ending", [".avi", ".mp4", ".mov", ".webm"])
def test_uneven_frames_are_taken_as_they_come(tmp_path, ending):
    """An AVI's header counts the gaps too: 61 frames, of which there are 13."""
    import av

    path, frames = tmp_path / f"clip{ending}", picture(13, 5)
    write_video(path, frames, times=[0, 1, 2, 10, 11, 12, 30, 31, 32, 50, 51, 52, 60])
    if ending == ".avi":
        with av.open(str(path)) as container:
            assert container.streams.video[0].frames == 61
    ours = decode(path, Frames(None, 48, 64)).transpose(0, 2, 3, 1)
    assert ours.shape == frames.shape
    assert np.abs(ours.astype(int) - frames).mean(axis=(1, 2, 3)).max() < 4, "neighbours are 7.7 apart"
    content = path.read_bytes()
    if ending == ".avi":
        path.write_bytes(content[: int(len(content) * 0.75)])
        with pytest.raises(BrokenClip, match=r"whole frames of 61$"):
            decode(path, SIX)


def test_a_killed_process_is_said_in_one_line(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_decode_one", _die)
    with pytest.raises(ValueError, match=r"a decoding process was killed.*start again") as caught:
        filled(clips, tmp_path, num_workers=1)
    assert "\n" not in str(caught.value)


def _die(work, frames):
    os._exit(9)


def test_nothing_is_drawn_where_there_is_no_terminal(clips, tmp_path, capsys):
    filled(clips, tmp_path)
    assert capsys.readouterr() == ("", "")
