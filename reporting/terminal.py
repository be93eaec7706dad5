"""Print tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Drawn

from evaluation.result import Result
from reporting.table import comparison
from reporting.variants import Options
from runtime.messages import printable

# The columns that fit into eighty characters, under short names.
COLUMNS = {
    "test error [%]": "error %",
    "reference error [%]": "ref. %",
    "params ratio": "params ÷",
    "nonzero ratio": "nonzero ÷",
    "MACs ratio": "MACs ÷",
    "speed-up, large batch": "speed ×",
}


def shown(text: str) -> str:
    """Return text of a row as a table of rich prints it letter by letter."""
    return escape(printable(text))


def print_comparison(results: Iterable[Result], reconstructions: Options = ()) -> None:
    """Print the comparison of all `results`; methods among the `reconstructions` are marked."""
    table = comparison(results, tuple(COLUMNS), reconstructions)
    title = "mean ± half of the 95 % interval over seeds; speed at the large batch"
    drawn = Drawn(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    drawn.add_column(table.header[0], overflow="fold", min_width=18)
    for name in table.header[1:]:
        drawn.add_column(COLUMNS.get(name, name), justify="right", min_width=6)
    for row in table.rows:
        drawn.add_row(*(f"[bold]{shown(cell.text)}[/bold]" if cell.is_best else shown(cell.text) for cell in row))
    console = Console()
    # A log has no width: there each variant is one line.
    (console if console.is_terminal else Console(width=160)).print(drawn)
    for note in table.footnotes:
        console.print(note)
