"""Show progress while a point runs: a bar for each stretch of work, and lines that are printed and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

log = logging.getLogger("compression_bench")
console = Console(highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print one line above any running bar and write it to the log."""
    log.info(line)
    console.print(line, markup=False)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of `total` steps; yield a function that advances it by one step and shows a note beside it.

    Nothing is drawn if the output is not a terminal.
    """
    if not console.is_terminal:
        yield lambda note: None
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda note: progress.update(task, advance=1, note=note)
