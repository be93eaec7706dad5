"""A process as others know it: on which machine, under which number, and whether it is alive."""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that holds something: `place` is its machine since its last start, `born` tells equal pids apart.

    Every `token` is used once.
    """

    host: str
    place: str
    pid: int
    born: str
    start: str
    token: str

    @classmethod
    def this_process(cls) -> ProcessId:
        """This process, under a new token."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return cls(socket.gethostname(), _place(), os.getpid(), _born(os.getpid()) or "", now, uuid.uuid4().hex)

    @property
    def is_here(self) -> bool:
        """Whether its process can be looked up from here."""
        return self.place == _place()

    @property
    def runs(self) -> bool:
        """Of one that is here: whether its process has not ended; one that only sleeps has not."""
        return _born(self.pid) in (self.born, HIDDEN)

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.start}"


HIDDEN = "unknown"  # of a process that can only be seen to be there
UNKNOWN = ProcessId("an unknown host", "", 0, "", "an unknown time", "unknown")


def _born(pid: int) -> str | None:
    """When a process of this machine started, in the kernel's units; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:  # it has ended; or there is no /proc, or one that hides the processes of others
        pass
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return HIDDEN


def _place() -> str:
    """Containers that share a machine, or a name, have pids of their own."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
