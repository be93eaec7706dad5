"""Identify a process so that others can tell where it runs and whether it is alive."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that holds something, as it is written into a file for others.

    `place` identifies its machine since the last boot (and its container), `born` tells it from an earlier process of
    the same `pid`, `start` is the time at which it began to hold, and `token` is new for everything that it holds.
    """

    host: str
    place: str
    pid: int
    born: str
    start: str
    token: str

    @classmethod
    def this_process(cls) -> ProcessId:
        """Return the identity of this process, with a new token.

        >>> ProcessId.this_process().is_alive
        True
        """
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return cls(socket.gethostname(), _place(), os.getpid(), _born(os.getpid()) or "", now, uuid.uuid4().hex)

    @property
    def is_here(self) -> bool:
        """Return True if it runs where this process can look it up by its pid."""
        return self.place == _place()

    @property
    def is_alive(self) -> bool:
        """Return True if it has not ended, also if it is stopped; meaningful only where it `is_here`."""
        return _born(self.pid) in (self.born, HIDDEN)

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.start}"


HIDDEN = "unknown"  # the start time of a process of which only the existence can be seen
UNKNOWN = ProcessId("an unknown host", "", 0, "", "an unknown time", "unknown")


def descendants() -> set[int]:
    """Return the pids of all processes that this one has started, and of those that they have; none without `ps`."""
    try:
        listed = subprocess.run(["ps", "-Ao", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return set()
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found: set[int] = set()
    started = {os.getpid()}
    while started := {pid for pid, parent in parents.items() if parent in started} - found:
        found |= started
    return found


@dataclass(frozen=True)
class Child:
    """A process that this one has started; a stopped one (SIGSTOP) lives and does nothing."""

    pid: int
    is_stopped: bool


def children(name: str) -> list[Child]:
    """Return the living processes called `name` that this one has started itself; none without `ps`."""
    try:
        listed = subprocess.run(["ps", "-Ao", "pid=,ppid=,state=,comm="], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    fields = [line.split(None, 3) for line in listed.stdout.splitlines()]
    ours = [own for own in fields if own[1] == str(os.getpid()) and Path(own[3]).name == name]  # macOS has paths
    return [Child(int(pid), state.startswith("T")) for pid, _, state, _ in ours if not state.startswith("Z")]


def _born(pid: int) -> str | None:
    """Return when a process of this machine started, in the kernel's units; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:  # it has ended; or there is no /proc, or it hides other users' processes
        pass
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return HIDDEN


def _place() -> str:
    """Return the host's name, boot and pid namespace: containers of one machine have pids of their own."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
