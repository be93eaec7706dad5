"""Read the rows below some folders, in a fixed order; nothing here needs torch."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from evaluation.result import Result, read_result


def read_rows(folders: Iterable[Path]) -> list[Result]:
    """All readable rows, in a fixed order; what is unreadable, repeated or mixed is named on standard error."""
    found: dict[str, tuple[Path, Result]] = {}
    for path in sorted({path.resolve() for folder in folders for path in folder.rglob("result.json")}):
        try:
            result = read_result(path)
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        if result.id in found:
            kept, dropped = sorted(
                [(path, result), found[result.id]], key=lambda row: (row[1].is_ok, row[1].started), reverse=True
            )
            print(f"skipped: {dropped[0]}: the same point as {kept[0]}, which is ok or newer", file=sys.stderr)
            path, result = kept
        found[result.id] = (path, result)
    results = [result for _, result in found.values()]
    commits = sorted({str(r.environment.get("commit")) for r in results})
    if len(commits) > 1:
        print(f"note: the rows come from several commits: {', '.join(commits)}", file=sys.stderr)
    return sorted(results, key=lambda r: (*r.choices.values(), r.overrides, r.seed))
