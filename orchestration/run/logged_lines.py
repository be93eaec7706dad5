"""The lines of history that a point has logged, in a file beside its row, until the point is done.

wandb loses what it has not yet written when its process is killed, and begins an offline run anew when the point goes
on, which trains again what came after its last checkpoint. With these lines the new run gets what was logged before,
and a line that is logged again is known: none is missing, none is double.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.atomic import atomic_write
from runtime.console import say
from runtime.messages import first_line

STEP = "trainer/global_step"  # as Lightning calls it
Line = dict[str, Any]


class LoggedLines:
    """The `lines` of earlier processes, and a file that keeps those of this one too.

    Args:
        path: the file; of another `origin` (commit, versions, force=true or not), or damaged, it is begun anew.
        origin: what the lines are of.
        first: the number of lines that the run on the server has from before, where the file is begun.
        folder: that of this process's run, which joins `folders`.
    """

    def __init__(self, path: Path, origin: Mapping[str, Any], first: int, folder: Path) -> None:
        self.path = path
        known = _read(path, origin)
        self.first, earlier, self.lines = known or (first, [], [])
        self.earlier_folders = [Path(name) for name in earlier]
        self._again = Counter(map(_identity, self.lines))  # those that may be logged again
        self._is_lost = False
        head = {"origin": dict(origin), "first": self.first, "folders": [*earlier, str(folder)]}
        try:
            with atomic_write(path) as temporary:
                temporary.write_text("".join(json.dumps(each) + "\n" for each in (head, *self.lines)), encoding="utf-8")
        except OSError as error:
            self._lose(error)

    def add(self, line: Line) -> bool:
        """Keep a line, and return True; False if it is known from a process that was killed."""
        if self._again[identity := _identity(line)] > 0:
            self._again[identity] -= 1
            return False
        if not self._is_lost:
            try:
                with self.path.open("a", encoding="utf-8") as file:  # closed at once: what is written outlives a kill
                    file.write(json.dumps(line) + "\n")
            except OSError as error:
                self._lose(error)
        return True

    def remove(self) -> None:
        """Delete the file: the point is done."""
        self.path.unlink(missing_ok=True)

    def _lose(self, error: OSError) -> None:
        self._is_lost = True
        say(f"no history for W&B after a kill: {self.path} cannot be written ({first_line(error)})")


def _read(path: Path, origin: Mapping[str, Any]) -> tuple[int, list[str], list[Line]] | None:
    """Return the number of the first line, the folders and the whole lines of a file of this origin."""
    try:
        head, *rest = path.read_text(encoding="utf-8").split("\n")
        about = json.loads(head)
        if about["origin"] != json.loads(json.dumps(origin)):
            return None
        first, folders = int(about["first"]), [str(folder) for folder in about["folders"]]
        return first, folders, [dict(json.loads(line)) for line in rest[:-1]]  # the last one may be torn
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _identity(line: Line) -> tuple[Any, ...]:
    """Return what tells lines apart: what is logged, at which step of training and of the method.

    Not the values: on a GPU they may differ in the last bits when a step is computed again.
    """
    kinds = sorted({key.partition("/")[0] for key in line})
    return (*kinds, *sorted((key, value) for key, value in line.items() if key.endswith(("/step", STEP))))
