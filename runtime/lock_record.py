"""The file of a lock: a record of the process that owns it, created whole in one atomic step, dated by heartbeats.

A hard link under the lock's name is one atomic step on NFS too, and the file has its whole content from the start. An
owner on this machine is looked up by its pid; one elsewhere is alive while its heartbeat is recent by the clock of the
file system, as no two machines agree on the time.

Whatever else lies in the place of a lock (another file, a folder, a record with impossible values) is one of `UNKNOWN`,
which ages like a lock.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.atomic import put_back
from runtime.json_file import read_json
from runtime.process import UNKNOWN, ProcessId

DEAD_AFTER_SECONDS = 120.0  # NFS may show a time that is a minute old
MAX_BYTES = 2**16
TOKEN = re.compile(r"[0-9a-zA-Z]{1,64}")  # it becomes part of a file's name
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


def remove_record(path: Path, owner: ProcessId) -> bool:
    """Remove the file at `path` if it is `owner`'s; return False if there is none, or if it is another's, which stays.

    What is looked at is what is removed: it is moved to a name of its own before. So a process that stood still since
    it last looked takes no other's away.
    """
    taken = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.rename(taken)
    except FileNotFoundError:
        return False
    if read_record(taken) != owner:
        put_back(taken, path)
        return False
    taken.unlink(missing_ok=True)
    return True


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
    """Return the owner that `path` names, `UNKNOWN` for anything else that is there, None if nothing is."""
    try:
        return _owner(read_json(path, MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError):
        return UNKNOWN


def _owner(record: dict[str, Any]) -> ProcessId:
    """Return the owner of a record; raises `ValueError` or `TypeError` for a value that no process writes."""
    owner = ProcessId(**record)
    texts = (owner.host, owner.place, owner.born, owner.start, owner.token)
    if not all(isinstance(text, str) and text.isprintable() and len(text) < 1000 for text in texts):
        raise ValueError(f"expected printable text, got {texts}")
    if type(owner.pid) is not int or not 0 < owner.pid < 2**31:  # 0 and -1 would name whole groups, all alive
        raise ValueError(f"expected a pid, got {owner.pid!r}")
    if not TOKEN.fullmatch(owner.token):
        raise ValueError(f"expected letters and digits, got {owner.token!r}")
    return owner


def is_owner_alive(path: Path, owner: ProcessId, *, writes: bool = True) -> bool:
    """Return True if `owner`, read from `path`, is alive: by its pid if it is here, else by its heartbeat.

    Without `writes` the clock of this machine stands for that of the file system.
    """
    if owner.is_here:
        return owner.is_alive
    try:
        heartbeat = _heartbeat(path)
    except OSError:
        return False
    now = file_system_time(path) if writes else time.time()
    # A time in the future is no heartbeat: it would keep a lock for good. An owner that lives sets it right in seconds.
    return abs(now - heartbeat) <= DEAD_AFTER_SECONDS


def _heartbeat(path: Path) -> float:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a file makes NFS ask the server
    except PermissionError:
        return path.stat().st_mtime
    try:
        return os.fstat(file).st_mtime
    finally:
        os.close(file)


def file_system_time(path: Path) -> float:
    """Return the time by the clock of the file system that holds `path`; where none can write, by this machine's."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
