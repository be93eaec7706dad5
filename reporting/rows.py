"""Read the rows below folders, in a fixed order, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.result import Result, read_result


@dataclass(frozen=True)
class Rows:
    """The `results`, the folder of each by its id, and notes on skipped or mixed files, one line each."""

    results: list[Result]
    places: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_rows(folders: Iterable[Path]) -> Rows:
    """Read all rows below `folders`; of two rows of one point keep the one that is ok, or newer.

    Smoke rows, whose accuracies mean nothing, are left out where there are others.

    Notes name the files that are unreadable or repeated, and say if the rows come from several commits or have
    ids of an earlier schema.
    """
    found: dict[str, tuple[Path, Result]] = {}
    notes: list[str] = []
    for path in files(folders):
        try:
            result = read_result(path)
        except ValueError as error:
            notes.append(f"skipped: {error}")
            continue
        if result.id in found:
            kept, dropped = sorted(
                [(path, result), found[result.id]], key=lambda row: (row[1].is_ok, row[1].started), reverse=True
            )
            notes.append(f"skipped: {dropped[0]}: the same point as {kept[0]}, which is ok or newer")
            path, result = kept
        found[result.id] = (path, result)
    if num_skipped := len(notes):
        notes.append(f"{num_skipped} of {len(found) + num_skipped} files were skipped")
    smoke = {id for id, (_, result) in found.items() if result.is_smoke}
    if smoke and len(smoke) < len(found):
        found = {id: row for id, row in found.items() if id not in smoke}
        notes.append(
            f"note: {len(smoke)} smoke rows (trainer.limit_batches) are left out: their accuracies mean nothing"
        )
    results = [result for _, result in found.values()]
    commits = sorted({str(r.environment.get("commit")) for r in results})
    if len(commits) > 1:
        notes.append(f"note: the rows come from several commits: {', '.join(commits)}")
    if num_old := sum(result.schema_version in ("1.0", "1.1") for result in results):
        notes.append(f"note: {num_old} rows have ids of an earlier schema; `report.py … --migrate` gives them today's")
    results.sort(key=lambda r: (list(r.choices.values()), r.overrides, r.seed))
    return Rows(results, {result.id: path.parent for path, result in found.values()}, notes)


def files(folders: Iterable[Path]) -> list[Path]:
    """List all files of rows below the folders."""
    return sorted({Path(os.path.realpath(path)) for folder in folders for path in folder.rglob("result.json")})


def state(folders: Iterable[Path]) -> list[tuple[Path, int, int]]:
    """Return the paths, times and sizes of all files of rows: they differ when a row has changed."""
    found = []
    for path in files(folders):
        try:
            stamp = path.stat()
        except OSError:  # being replaced, or a link that leads nowhere
            continue
        found.append((path, stamp.st_mtime_ns, stamp.st_size))
    return found
