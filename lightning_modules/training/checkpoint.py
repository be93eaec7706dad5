"""The file that lets a killed run go on: what the method knows, and the state of the phase of training it was in.

There is one file a stage, always whole: it is written beside its place and moved there. What it says of the method
(its step, ranks, multipliers, the dense weights) was true when the phase began; Lightning's own entries (network,
optimiser, epoch) are those of that phase. A run that goes on takes the method's state, builds the phase's network from
the ranks in it, and hands the file to Lightning.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evaluation.environment import commit
from runtime.console import say
from runtime.distributed import broadcast, group
from runtime.signals import is_interrupted

KEY = "compression_bench"


@dataclass
class Position:
    """Where a stage is: the method's `state` (None: at its start) and what had been counted when it was noted."""

    state: dict[str, Any] | None = None
    epochs: int = 0
    steps: int = 0
    num_phases: int = 0


class Checkpoint:
    """Keep the file at `path` up to date, at most every `every_seconds`; `origin` must be equal for it to be used."""

    def __init__(self, path: Path, every_seconds: float, origin: dict[str, Any]) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self.origin = origin
        self.position = Position()
        self.phase = 0  # the phase that the file on disk was written in; 0: none
        self.seconds_before = 0.0
        self._start = self._written = time.perf_counter()

    def load(self) -> None:
        """Begin: read the file, if there is one of the same origin; what cannot be used is said and left."""
        self._start = time.perf_counter()
        if group().rank == 0 and self.path.exists():
            self._read()
        self.position, self.phase, self.seconds_before = broadcast((self.position, self.phase, self.seconds_before))

    def _read(self) -> None:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            entry = content[KEY]
            if entry["origin"] != self.origin:
                changed = [name for name in self.origin if entry["origin"].get(name) != self.origin[name]]
                raise ValueError(f"it is of another {', '.join(changed)}")
            position = Position(**entry["position"])
            self.position, self.phase, self.seconds_before = position, entry["phase"], entry["seconds"]
        except Exception as error:  # damaged bytes make torch raise almost anything
            reason = str(error) if type(error) is ValueError else f"damaged: {type(error).__name__}"
            say(f"begins anew: {self.path} cannot be used ({reason})")
            return
        say(f"goes on from {self.path}")

    def note(self, position: Position) -> None:
        """The method has reached `position`; its tensors are copied, for training changes them in place."""
        self.position = Position(copied(position.state), position.epochs, position.steps, position.num_phases)
        self.phase = 0
        if group().rank == 0 and self.is_due():
            self.write(lambda path: torch.save({KEY: self.entry(phase=0)}, path))

    def is_due(self) -> bool:
        """Whether enough time has passed since the file was written, or the process is to end."""
        return is_interrupted() or time.perf_counter() - self._written >= self.every_seconds

    def entry(self, phase: int) -> dict[str, Any]:
        """What goes into the file beside Lightning's own entries."""
        return {
            "origin": self.origin,
            "position": vars(self.position),
            "phase": phase,
            "seconds": self.seconds(),
        }

    def write(self, save: Callable[[Path], None]) -> None:
        """Let `save` write a new file, then put it in place in one step; a full disk is said, and no reason to stop.

        Of several processes all must ask, and the first one writes; there a full disk ends the point.
        """
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save(temporary)
            if group().rank == 0:
                os.replace(temporary, self.path)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
            if group().size > 1:  # the others are on their way to the next epoch already
                raise
            say(f"no checkpoint: {self.path} cannot be written ({str(error).partition(chr(10))[0]})")
        finally:
            temporary.unlink(missing_ok=True)
        self._written = time.perf_counter()

    def seconds(self) -> float:
        """Seconds spent on the stage, those of earlier processes included."""
        return self.seconds_before + time.perf_counter() - self._start

    def remove(self) -> None:
        """The stage is over: leave nothing, nor a file that a killed process was writing."""
        if group().rank > 0:
            return
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            path.unlink(missing_ok=True)


def origin(**known: str | bool) -> dict[str, str | bool]:
    """What a checkpoint must agree with: what it is of, the code and the torch that compute."""
    return {**known, "commit": str(commit()), "torch": str(torch.__version__)}


def copied(value: Any) -> Any:
    """A state whose tensors may be changed in place, here or there."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value
