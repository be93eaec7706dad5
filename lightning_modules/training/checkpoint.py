"""The checkpoint from which a killed run resumes: the method's state, and that of the phase of training it was in.

There is one file for each stage, written atomically. The method's state in it (its step, ranks, multipliers, the dense
weights) is that at the start of the phase; Lightning's own entries (network, optimiser, epoch) are those within the
phase. A run that resumes takes the method's state, builds the phase's network from the ranks in it, and hands the file
to Lightning. A file that is damaged, or that nothing can go on from, is set aside, and the stage starts over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from evaluation.environment import commit
from lightning_modules.training.classifier import Diverged
from runtime.atomic import atomic_write
from runtime.console import say
from runtime.distributed import broadcast, group
from runtime.messages import first_line
from runtime.set_aside import set_aside
from runtime.signals import is_interrupted
from runtime.zip_records import require_whole

KEY = "compression_bench"
T = TypeVar("T")


@dataclass
class Position:
    """The method's `state` (None at the start of its stage), and the counts at the moment when it was saved."""

    state: dict[str, Any] | None = None
    epochs: int = 0
    steps: int = 0
    num_phases: int = 0


class Checkpoint:
    """Keep the file at `path` up to date.

    Args:
        path: the file; `remove` deletes it when the stage is over.
        every_seconds: the least time between two writes, except for an interrupted process, which writes at once.
        origin: what the file is of; a file of another origin is not used.
    """

    def __init__(self, path: Path, every_seconds: float, origin: dict[str, Any]) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self.origin = origin
        self.position = Position()
        self.phase = 0  # the phase in which the file was written; 0: between phases, or there is no file
        self.seconds_before = 0.0
        self.is_untried = False  # True from the moment when what was read is taken until something has gone on from it
        self._start = self._written = time.perf_counter()

    def load(self) -> None:
        """Start the stage's clock and read the file of the same origin, if any; print why one cannot be used.

        One of another origin stays where it is until the next write; a damaged one is set aside.
        """
        self._start = time.perf_counter()
        if group().rank == 0 and self.path.exists():
            self._read()
        self.position, self.phase, self.seconds_before = broadcast((self.position, self.phase, self.seconds_before))

    def _read(self) -> None:
        try:
            require_whole(self.path)
            metadata = torch.load(self.path, map_location="cpu", weights_only=True)[KEY]
            changed = [name for name in self.origin if metadata["origin"].get(name) != self.origin[name]]
            position = Position(**metadata["position"])
            phase, seconds_before = metadata["phase"], metadata["seconds"]
        except MemoryError:  # no fault of the file
            raise
        except Exception as error:  # for damaged bytes torch raises almost anything
            self._set_aside(f"damaged: {first_line(error) if type(error) is ValueError else type(error).__name__}")
            return
        if changed:
            say(f"starting over: {self.path} cannot be used (it is of another {', '.join(changed)})")
            return
        self.position, self.phase, self.seconds_before = position, phase, seconds_before
        say(f"resuming from {self.path}")

    def go_on(self, work: Callable[[], T], start_over: Callable[[], T]) -> T:
        """Return `work()`, or `start_over()` if what was read is to blame for its failure; the file is set aside then.

        What diverges (`Diverged`) leaves no file: it would diverge again.
        """
        try:
            return work()
        except Diverged:
            self.remove()
            raise
        except Exception as error:
            if not self._is_to_blame(error):
                raise
        return start_over()

    def _is_to_blame(self, error: Exception) -> bool:
        """Set the file aside if `error` came of taking up what was read; return True if the stage can start over now.

        Several processes do not start over together: their next start does. Want of memory is no fault of a file.
        """
        if not self.is_untried or isinstance(error, OSError | MemoryError | torch.OutOfMemoryError):
            return False
        if group().rank == 0:
            self._set_aside(f"nothing goes on from it: {type(error).__name__}: {first_line(error)}")
        return group().size == 1

    def _set_aside(self, reason: str) -> None:
        kept = set_aside(self.path)
        say(f"starting over: {self.path} cannot be used ({reason}); it is kept as {kept.name}")

    def update(self, position: Position) -> None:
        """Record that the method has reached `position`, and write the file if it is due.

        The tensors are copied, because training changes them in place.
        """
        self.position = Position(copy_state(position.state), position.epochs, position.steps, position.num_phases)
        self.phase, self.is_untried = 0, False
        if group().rank == 0 and self.is_due():
            self.write(lambda path: torch.save({KEY: self.metadata(phase=0)}, path))

    def is_due(self) -> bool:
        """Return True if the last write is `every_seconds` ago, or if the process is interrupted."""
        return is_interrupted() or time.perf_counter() - self._written >= self.every_seconds

    def metadata(self, phase: int) -> dict[str, Any]:
        """Return what the file holds beside Lightning's own entries, when it is written in `phase`."""
        return {
            "origin": self.origin,
            "position": vars(self.position),
            "phase": phase,
            "seconds": self.seconds(),
        }

    def write(self, save: Callable[[Path], None]) -> None:
        """Replace the file by what `save` writes to the path it is given; a full disk is reported and stops no run.

        Every process must call it, because Lightning's `save` waits for all; only rank 0 writes. With several processes
        a full disk raises: the other ones are already in their next epoch.
        """
        try:
            with atomic_write(self.path) if group().rank == 0 else nullcontext(self.path) as temporary:
                save(temporary)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
            if group().size > 1:
                raise
            say(f"no checkpoint: {self.path} cannot be written ({first_line(error)})")
        self._written = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds spent on the stage, including those of earlier processes."""
        return self.seconds_before + time.perf_counter() - self._start

    def remove(self) -> None:
        """Delete the file, and the temporary files of killed processes: the stage is over."""
        if group().rank > 0:
            return
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            path.unlink(missing_ok=True)


def origin(**known: str | bool) -> dict[str, str | bool]:
    """Return the origin that a checkpoint must share to be used: `known`, the commit and the version of torch."""
    return {**known, "commit": str(commit()), "torch": str(torch.__version__)}


def copy_state(value: Any) -> Any:
    """Return a deep copy of dicts, lists and tensors, the tensors on the CPU and without gradients.

    >>> state = {"ranks": [3, None], "weight": torch.ones(2)}
    >>> copy = copy_state(state)
    >>> state["weight"].zero_()
    tensor([0., 0.])
    >>> copy
    {'ranks': [3, None], 'weight': tensor([1., 1.])}
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: copy_state(item) for key, item in value.items()}
    return [copy_state(item) for item in value] if isinstance(value, list) else value
