"""The files of a point: its row, and the network of the same run, both whole or neither."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from evaluation.result import Result, read_result, write_result
from orchestration.config.point import Point
from orchestration.errors import ConfigError
from orchestration.store.acceptance import refusal
from orchestration.store.owned_files import CONFIG, NETWORK, ROW, OwnedFiles
from runtime.atomic import atomic_write
from runtime.console import say
from runtime.messages import one_line
from runtime.plain_file import is_in_the_way, read_plain
from runtime.set_aside import set_aside

LOG, CHECKPOINT, LOGGED = "run.log", "checkpoint.pt", "logged.jsonl"
FILES = (ROW, NETWORK, CONFIG, LOG, CHECKPOINT, LOGGED)
MAX_CONFIG_BYTES = 16 * 2**20
# A whole file of YAML takes a hundred times as long to read.
ROOT_OF_DATA = re.compile(r"^dataset:\n(?:  .*\n)*?  root: (.*)$", re.MULTILINE)


def finished(point: Point) -> Result | None:
    """Return the row of a point that ran to its end and left a whole network; None if there is none to read."""
    return finished_or_refused(point)[0]


def finished_or_refused(point: Point) -> tuple[Result | None, str]:
    """Return the finished row of a point; or None, and why a row that says ok is not this point's (`acceptance`)."""
    try:
        row = read_result(point.directory / ROW)
    except ValueError:
        return None, ""
    if not row.is_ok:
        return None, ""
    why = refusal(point, row, point.directory / NETWORK)
    return (row, "") if why is None else (None, why)


def has_other_root(point: Point) -> bool:
    """Return True if the finished run used another dataset.root: only fingerprints tell whether the data match."""
    root = point.written["dataset"].get("root")
    try:
        text = read_plain(point.directory / CONFIG, MAX_CONFIG_BYTES).decode("utf-8")
        before = ROOT_OF_DATA.search(text)
        return root is not None and before is not None and yaml.safe_load(before[1]) != root
    except OSError:  # a row alone, copied here
        return False
    except (ValueError, yaml.YAMLError, RecursionError):  # nobody knows
        return root is not None


def set_aside_odd(point: Point) -> None:
    """Move a row that cannot be read aside, and folders, pipes and devices in the place of a point's files; say so.

    They are not deleted: somebody may want to know what they were. The point is computed again.
    """
    for path in (point.directory / name for name in FILES):
        why = "no plain file is there" if is_in_the_way(path) else _unreadable(path) if path.name == ROW else None
        if why is not None:
            say(f"{point.label}: {why}; moved to {set_aside(path)}, and computed again")


def _unreadable(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        read_result(path)
    except ValueError as error:
        return one_line(error)
    return None


def require_writable(folder: Path) -> None:
    """Make a folder and write a file there; raises `ConfigError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a file is in the place of a folder" if is_file else error.strerror
        raise ConfigError(f"results_dir: cannot write to {folder}: {why}") from None


def new_row(point: Point, split: str, seconds_ago: float = 0.0) -> dict[str, Any]:
    """Return the fields of a row that are known before anything has run; the run began `seconds_ago`."""
    from evaluation.counts import COUNTING  # these need torch, and who reads rows does not
    from evaluation.latency import PROTOCOL

    return {
        "id": point.id,
        "variant": point.variant,
        "choices": point.choices,
        "seed": point.config["seed"],
        "config": point.identity,
        "overrides": point.identifying_overrides,
        "tags": point.written["tags"],
        "reported": point.written["reported"],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(time.time() - seconds_ago)),
        "signature": {"split": split, "counting": COUNTING, "latency": PROTOCOL},
    }


def row_without_result(point: Point, status: str, split: str = "not known", seconds: float = 0.0) -> Result:
    """Return the row of a run that ended without writing one."""
    import torch

    from evaluation.environment import environment

    here = environment(torch.device("cpu"))
    return Result(**new_row(point, split, seconds), status=status, seconds=seconds, environment=here)


def begin_run(point: Point, files: OwnedFiles, *, keeps_row: bool) -> None:
    """Write the configuration of a run down; remove what an earlier run left, unless its row is to be kept."""
    text = yaml.safe_dump(point.written, sort_keys=False, width=math.inf)
    with atomic_write(files.pending(CONFIG)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    files.require_ours()
    if not keeps_row:
        is_anothers = bool(finished_or_refused(point)[1])  # whose, nobody knows here
        files.remove(ROW, keep=is_anothers)
        files.remove(NETWORK, keep=is_anothers)
        files.publish(CONFIG)


def store_row(point: Point, files: OwnedFiles, result: Result) -> Result | None:
    """Store the row of a run, and its network if the row is ok; return None if an earlier row is kept instead."""
    if (point.directory / ROW).exists() and not result.is_ok:
        return None
    write_result(files.pending(ROW), result)
    result = read_result(files.pending(ROW))
    files.require_ours()
    if result.is_ok:
        files.remove(ROW)  # an old row never stands beside a new network
        files.publish(NETWORK)
        if files.pending(CONFIG).exists():  # with force=true the earlier row's stood there until now
            files.publish(CONFIG)
    files.publish(ROW)
    return result
