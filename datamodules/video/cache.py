"""Decoded clips on disk: one array of bytes per clip, to be mapped into memory, made once by one or several processes.

A clip's file in the cache is named after the size and time of its source, and the folder after all else that its bytes
depend on. So nothing stale is ever read, and a decode that was killed goes on where it stopped: a file appears whole or
not at all, because it is renamed when it is written.
"""

from __future__ import annotations

import functools
import glob
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from datamodules.video.decode import BrokenClip, Frames, decode

log = logging.getLogger("compression_bench")


def open_clip(path: Path) -> UInt8[np.ndarray, "frame 3 height width"]:
    """A clip of the cache, mapped into memory: only what is looked at is read."""
    return np.load(path, mmap_mode="r")


def fill_cache(
    clips: Mapping[str, Path],
    cache: Path,
    frames: Frames,
    broken: Literal["fail", "skip"],
    num_workers: int = 0,
    remedy: str = "fetch it again",
) -> dict[str, Path]:
    """Decode what the cache lacks; return `{clip: its file in the cache}` in the order of `clips`.

    `clips` are `{name: video file}`; a name is a path below the cache. Broken clips are left out with a warning if
    `broken` is "skip". Raises `ValueError` that names a broken clip and its `remedy`, or an unwritable cache.
    `num_workers` processes decode, with one thread each; 0 decodes in this one.
    """
    folder = cache / frames.folder
    places = {name: _place(folder, name, source) for name, source in clips.items()}
    missing = [name for name, place in places.items() if not _is_whole(place, frames)]
    work = [(clips[name], places[name]) for name in missing]
    failed = set()
    try:
        with _bar(f"decoding {len(work)} clips", len(work)) as advance:
            for name, fault in zip(missing, _decoded(work, frames, num_workers), strict=True):
                if fault is not None:
                    if broken == "fail":
                        raise ValueError(f"{clips[name]}: not a readable video ({fault}); {remedy}")
                    log.warning("%s: left out, not a readable video (%s)", clips[name], fault)
                    failed.add(name)
                advance()
    except OSError as error:
        raise ValueError(
            f"{folder}: the decoded clips cannot be written there ({error.strerror or error}); set dataset.cache to a "
            "folder that can be written and has room"
        ) from None
    except BrokenProcessPool:
        raise ValueError(
            f"{folder}: a decoding process was killed, perhaps for want of memory; start again, it goes on from there, "
            "with fewer dataset.num_workers"
        ) from None
    return {name: place for name, place in places.items() if name not in failed}


def _place(folder: Path, name: str, source: Path) -> Path:
    """Where the clip `name` belongs while its source is as it is now."""
    stamp = source.stat()
    return folder / f"{name}.{stamp.st_size}-{stamp.st_mtime_ns}.npy"


def _is_whole(place: Path, frames: Frames) -> bool:
    try:
        return frames.fits(open_clip(place))
    except (OSError, ValueError, EOFError):  # not there, or damaged
        return False


def _decoded(work: list[tuple[Path, Path]], frames: Frames, num_workers: int) -> Iterator[str | None]:
    """For each source and place, decode and write; yield what is wrong with the source, in order."""
    task = functools.partial(_decode_one, frames=frames)
    num_workers = min(num_workers, len(work))
    if not num_workers:
        yield from map(task, work)
        return
    # A forked copy of a process with threads (torch has some) can hang; a spawned one imports this module alone.
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(task, work)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_one(source_and_place: tuple[Path, Path], frames: Frames) -> str | None:
    """Decode one clip into its place; return what is wrong with its source, or None. Raises `OSError`."""
    source, place = source_and_place
    if _is_whole(place, frames):  # another run was faster
        return None
    try:
        array = decode(source, frames)
    except BrokenClip as error:
        return str(error)
    place.parent.mkdir(parents=True, exist_ok=True)
    _write(array, place)
    name = place.name.removesuffix(".npy").rpartition(".")[0]
    for other in place.parent.glob(f"{glob.escape(name)}.*.npy"):
        if other != place:  # made from the source as it was before
            other.unlink(missing_ok=True)
    return None


def _write(array: np.ndarray, place: Path) -> None:
    """Write under another name, then rename: whoever looks sees a whole file or none."""
    handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(temporary, place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _bar(title: str, total: int) -> Iterator[functools.partial[None]]:
    """A bar of `total` steps, where the output is a terminal; it yields what advances it by one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    show = bool(total) and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not show) as progress:
        yield functools.partial(progress.advance, progress.add_task(title, total=total))
