"""The file of a lock: a record of the process that owns it, created whole in one atomic step, dated by heartbeats.

A hard link under the lock's name is one atomic step on NFS too, and the file has its whole content from the start. An
owner on this machine is looked up by its pid; one elsewhere is alive while its heartbeat is recent by the clock of the
file system, as no two machines agree on the time.
"""

from __future__ import annotations

import errno
import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from runtime.process import UNKNOWN, ProcessId

DEAD_AFTER_SECONDS = 120.0  # NFS may show a time that is a minute old
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def create_record(path: Path, owner: ProcessId) -> bool:
    """Create the file at `path` with its whole content; return False if there is one already.

    Raises `OSError` where nothing can be written.
    """
    candidate = write_candidate(path, owner)
    try:
        os.link(candidate, path)
        return True
    except FileExistsError:
        return candidate.stat().st_nlink == 2  # NFS may make the link and lose the answer
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Without links the file is empty for a moment, in which `read_record` returns `UNKNOWN`.
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(asdict(owner)))
            return True
        return False
    finally:
        candidate.unlink()


def write_candidate(path: Path, owner: ProcessId) -> Path:
    """Write a record beside `path`, under a hidden name of its own, and return its path."""
    candidate = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        candidate.write_text(json.dumps(asdict(owner)), encoding="utf-8")
    except OSError:
        candidate.unlink(missing_ok=True)
        raise
    return candidate


def read_record(path: Path) -> ProcessId | None:
    """Return the owner that `path` names, `UNKNOWN` if it cannot be parsed, None if there is no file."""
    try:
        return ProcessId(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        return UNKNOWN


def is_owner_alive(path: Path, owner: ProcessId) -> bool:
    """Return True if `owner`, read from `path`, is alive: by its pid if it is here, else by its heartbeat."""
    if owner.is_here:
        return owner.is_alive
    try:
        with path.open("rb") as file:  # opening a file makes NFS ask the server
            heartbeat = os.fstat(file.fileno()).st_mtime
        return file_system_time(path) - heartbeat <= DEAD_AFTER_SECONDS
    except FileNotFoundError:
        return False


def file_system_time(path: Path) -> float:
    """Return the time by the clock of the file system that holds `path`."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
