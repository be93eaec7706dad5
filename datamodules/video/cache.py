"""Decoded clips on disk: one array of bytes per clip, mapped into memory, made once by one or several processes.

A clip's file in the cache is named after the size and time of its source, and the folder after all else that its bytes
depend on, so nothing stale is ever read. A file appears whole or not at all, so a decode that was killed goes on where
it stopped.
"""

from __future__ import annotations

import functools
import glob
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from datamodules.video.decode import BrokenClip, Frames, decode
from runtime.atomic import atomic_write
from runtime.console import bar, log


def open_clip(path: Path) -> UInt8[np.ndarray, "frame 3 height width"]:
    """Map a clip of the cache into memory: only the bytes that are used are read."""
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

    `clips` maps names, which are paths below the cache, to video files. If `broken` is "skip", broken clips are left
    out with a warning. Raises `ValueError` that names a broken clip and its `remedy`, or a cache that cannot be
    written. `num_workers` processes decode, with one thread each; 0 decodes in this process.
    """
    folder = cache / frames.folder
    places = {name: _place(folder, name, source) for name, source in clips.items()}
    missing = [name for name, place in places.items() if not _is_whole(place, frames)]
    work = [(clips[name], places[name]) for name in missing]
    failed = set()
    try:
        with bar(f"decoding {len(work)} clips", len(work)) as advance:
            for name, fault in zip(missing, _decoded(work, frames, num_workers), strict=True):
                if fault is not None:
                    if broken == "fail":
                        raise ValueError(f"{clips[name]}: not a readable video ({fault}); {remedy}")
                    log.warning("%s: left out, not a readable video (%s)", clips[name], fault)
                    failed.add(name)
                advance("")
    except OSError as error:
        raise ValueError(
            f"{folder}: the decoded clips cannot be written there ({error.strerror or error}); set dataset.cache to a "
            "folder that can be written and has room"
        ) from None
    except BrokenProcessPool:
        raise ValueError(
            f"{folder}: a decoding process was killed, perhaps because memory ran out; start again with fewer "
            "dataset.num_workers: decoding goes on where it stopped"
        ) from None
    return {name: place for name, place in places.items() if name not in failed}


def _place(folder: Path, name: str, source: Path) -> Path:
    """Return the file of the clip `name`, for its source as it is now."""
    stamp = source.stat()
    return folder / f"{name}.{stamp.st_size}-{stamp.st_mtime_ns}.npy"


def _is_whole(place: Path, frames: Frames) -> bool:
    try:
        return frames.fits(open_clip(place))
    except (OSError, ValueError, EOFError):  # not there, or damaged
        return False


def _decoded(work: list[tuple[Path, Path]], frames: Frames, num_workers: int) -> Iterator[str | None]:
    """Decode each source to its place; yield what is wrong with the source, or None, in order."""
    task = functools.partial(_decode_one, frames=frames)
    num_workers = min(num_workers, len(work))
    if not num_workers:
        yield from map(task, work)
        return
    # A fork of a process with threads, which torch starts, can hang; a spawned process imports this module only.
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(task, work)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_one(source_and_place: tuple[Path, Path], frames: Frames) -> str | None:
    """Decode one clip into its place; return what is wrong with its source, or None. Raises `OSError`."""
    source, place = source_and_place
    if _is_whole(place, frames):  # another process was faster
        return None
    try:
        array = decode(source, frames)
    except BrokenClip as error:
        return str(error)
    with atomic_write(place) as temporary, temporary.open("wb") as file:
        np.save(file, array)
    name = place.name.removesuffix(".npy").rpartition(".")[0]
    for other in place.parent.glob(f"{glob.escape(name)}.*.npy"):
        if other != place:  # made from the source as it was before
            other.unlink(missing_ok=True)
    return None
