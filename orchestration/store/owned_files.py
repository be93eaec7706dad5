"""The files that the owner of a point names and removes: each carries its token first, so that none is another's.

A lock cannot stop an owner that stood still for minutes, was taken for dead, and goes on in the middle of a statement.
So what it is about to name is called by its token until then, and whoever takes over removes what carries other tokens:
to the sleeper nothing is left to name. What is removed is moved to such a name, looked at, and put back if it is
another's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.atomic import put_back
from runtime.set_aside import free_name

ROW, NETWORK, LOCK, CONFIG = "result.json", "network.pt", ".lock", "config.yaml"
# Pending files, what is being removed, the temporary files of both; and what pending files were called before.
LEFT_OVER = re.compile(
    rf"\.?(?:{'|'.join(map(re.escape, (ROW, NETWORK, CONFIG)))})"
    r"(?:\.new|(?:\.old)?\.(?P<token>[0-9a-f]{32})(?:\.\d+\.\d+)?)"
)


@dataclass(frozen=True)
class OwnedFiles:
    """The files in `folder` as their owner handles them; `require_ours` raises if `token` is no longer the lock's."""

    folder: Path
    token: str
    require_ours: Callable[[], None]

    def pending(self, name: str) -> Path:
        """Return where the file `name` is written until it is published."""
        return self.folder / f"{name}.{self.token}"

    def publish(self, name: str) -> None:
        """Give a pending file its name; raises `FileNotFoundError` if another owner has removed it.

        Call `require_ours` once the file is written: who takes over later removes it.
        """
        self.pending(name).replace(self.folder / name)

    def remove(self, name: str, *, keep: bool = False) -> None:
        """Remove a file, or with `keep` give it the name of what cannot be used; what another owner wrote stays."""
        path, taken = self.folder / name, self.pending(f"{name}.old")
        with suppress(FileNotFoundError):
            seen = _version(path)
            self.require_ours()  # so that what was seen is no other's
            path.rename(taken)
            if _version(taken) != seen:
                put_back(taken, path)
                self.require_ours()
            elif keep:
                taken.rename(free_name(path))
            else:
                taken.unlink()

    def clear_others(self) -> None:
        """Remove what other owners have not published: they were killed, or taken for dead."""
        self._clear(lambda token: token != self.token)

    def clear_own(self) -> None:
        """Remove what this owner has not published, at its end."""
        self._clear(lambda token: token == self.token)

    def _clear(self, chosen: Callable[[str | None], bool]) -> None:
        for path in self.folder.iterdir():
            found = LEFT_OVER.fullmatch(path.name)
            if found is not None and chosen(found["token"]):
                with suppress(OSError):  # gone, or a folder
                    path.unlink()


def _version(path: Path) -> tuple[int, int]:
    """Return what tells a file from another one of its name."""
    now = path.stat()
    return now.st_ino, now.st_mtime_ns
