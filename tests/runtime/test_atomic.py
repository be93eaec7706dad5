"""A file has its contents on the disk before it has its name."""

from __future__ import annotations

import errno
import os

import pytest

from runtime.atomic import atomic_write


def test_contents_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    path, done = tmp_path / "row.json", []
    sync, replace = os.fsync, os.replace

    def synced(descriptor):
        done.append(("sync", os.fstat(descriptor).st_size, path.exists()))
        sync(descriptor)

    def replaced(*names):
        done.append(("replace",))
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with atomic_write(path) as temporary:
        temporary.write_text("{}\n")
    assert done == [("sync", 3, False), ("replace",)]
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize(("number", "is_written"), [(errno.EINVAL, True), (errno.EIO, False), (errno.ENOSPC, False)])
def test_contents_that_do_not_get_there_leave_the_old_file(tmp_path, monkeypatch, number, is_written):
    """EINVAL: a file system that has no such thing."""

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "row.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
    except OSError as error:
        assert error.errno == number
    assert path.read_text() == ("new" if is_written else "old")
    assert [each.name for each in tmp_path.iterdir()] == ["row.json"]
