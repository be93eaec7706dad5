"""JSON that anybody may have written: bounded in size, depth and numbers, and never from a pipe or a folder."""

from __future__ import annotations

import json
import os

import pytest

from runtime.json_file import MAX_DEPTH, read_json


def test_what_json_writes_is_read(tmp_path):
    value = {"a": [1, 2.5, None, True, "é"], "b": {"c": -(2**62), "d": 1.5e300}}
    (tmp_path / "x.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "levels of nesting"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels of nesting"),
        ('{"a":' * 200 + "1" + "}" * 200, "levels of nesting"),
        ("[2e400]", "finite numbers, got 2e400"),
        ("[NaN]", "finite numbers, got NaN"),
        ("[-Infinity]", "finite numbers"),
        (f"[{10**30}]", "64 bits"),
        (f"[{'9' * 10_000}]", "64 bits"),
        ("", "Expecting value"),
        ("{", "property name"),
        ("\0", "Expecting value"),
    ],
)
def test_what_no_program_of_ours_writes_is_refused(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_json(tmp_path / "x.json")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe[]")
    with pytest.raises(ValueError):
        read_json(tmp_path / "x.json")


def test_a_file_that_is_too_large_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("1" + " " * 100)
    assert read_json(tmp_path / "x.json", max_bytes=101) == 1
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read_json(tmp_path / "x.json", max_bytes=100)


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path):
    """A pipe would wait for somebody to write, and /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for name in ("pipe", "device", "folder"):
        with pytest.raises(ValueError, match="plain file"):
            read_json(tmp_path / name)
    assert not before or len(os.listdir("/proc/self/fd")) == before, "what was opened is closed"
