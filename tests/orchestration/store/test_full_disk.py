"""A full disk (Linux has a device that is one) costs a line, at most this point, and never what is done already."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

import orchestration.run.run_point as run_module
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from orchestration.store.owned_files import OwnedFiles
from orchestration.store.status import read_status

FULL = Path("/dev/full")
POINT = ("trainer=smoke", "method=reference", "network.hidden=[8]")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


@pytest.mark.parametrize("name", ["config.yaml", "result.json"])
def test_where_no_row_can_be_written_the_user_is_told_once_and_the_same_command_goes_on(make_point, monkeypatch, name):
    point = make_point(*POINT)

    def pending(files, wanted):
        path = real(files, wanted)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        if wanted == name and not temporary.is_symlink():
            temporary.symlink_to(FULL)
        return path

    real = OwnedFiles.pending
    with (
        monkeypatch.context() as patched,
        pytest.raises(ConfigError, match="No space left on device; make room, or make it writable, and type") as caught,
    ):
        patched.setattr(OwnedFiles, "pending", pending)
        run_point(point)
    assert len(str(caught.value).splitlines()) == 1
    assert str(point.directory) in str(caught.value)
    assert read_status(point).kind == "new"
    assert run_point(point).is_ok


def test_a_log_that_cannot_be_written_is_said_once_and_the_point_is_done(make_point, capfd, monkeypatch):
    point = make_point(*POINT)
    monkeypatch.setattr("orchestration.store.claim.set_aside_odd", lambda point: None)  # a device is no plain file
    point.directory.mkdir(parents=True)
    (point.directory / "run.log").symlink_to(FULL)
    assert run_point(point).is_ok
    out, err = capfd.readouterr()
    assert out.count("no log: ") == 1
    assert "No space left on device" in out
    assert "Traceback" not in out + err


def test_without_room_for_its_network_a_point_has_failed(make_point, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    point = make_point(*POINT)
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "save_network", full)
        assert "No space left on device" in run_point(point).status
    assert read_status(point).kind == "failed"
    assert run_point(point).is_ok
