"""Tables over many results: one row a variant, mean and 95 % interval over its seeds, failures shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.result import Measure, Result
from evaluation.statistics import mean
from reporting.variants import FOOTNOTE, MARK, Options, shown, variants

# Every column is computed from the raw values of one result.
COLUMNS: dict[str, Callable[[Measure, Measure], float]] = {
    "test error [%]": lambda r, c: 100 - c.test_top1_percent,
    "reference error [%]": lambda r, c: 100 - r.test_top1_percent,
    "parameters": lambda r, c: c.num_params,
    "params ratio": lambda r, c: _ratio(r.num_params, c.num_params),
    "nonzero ratio": lambda r, c: _ratio(r.num_params, c.num_params if c.num_nonzero is None else c.num_nonzero),
    "bytes ratio": lambda r, c: _ratio(r.num_bytes, c.num_bytes),
    "MACs": lambda r, c: c.macs,
    "MACs ratio": lambda r, c: _ratio(r.macs, c.macs),
    "speed-up, batch 1": lambda r, c: _speed_up(r, c, min),
    "speed-up, large batch": lambda r, c: _speed_up(r, c, max),
    "epochs": lambda r, c: c.epochs,
}
# What fits eighty columns, folded, under names that do.
TERMINAL_COLUMNS = {
    "test error [%]": "error %",
    "reference error [%]": "ref. %",
    "params ratio": "params ÷",
    "nonzero ratio": "nonzero ÷",
    "MACs ratio": "MACs ÷",
    "speed-up, large batch": "speed ×",
}


def comparison(
    results: Iterable[Result], columns: Sequence[str] = tuple(COLUMNS), reconstructions: Options = ()
) -> list[list[str]]:
    """Header and rows: one a variant, mean ± half the 95 % interval over its seeds; failures are counted."""
    table = [["experiment", "runs", *columns]]
    for variant in variants(results, reconstructions=reconstructions):
        pairs = [(r.reference, r.compressed) for r in variant.results if r.is_ok]
        statuses = [r.status.split(":")[0] for r in variant.results]
        cells = [_cell([COLUMNS[name](r, c) for r, c in pairs if r and c]) for name in columns]
        runs = ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))
        table.append([variant.name, runs, *cells])
    return table


def pivot(results: Iterable[Result], across: str, column: str, reconstructions: Options = ()) -> list[list[str]]:
    """One measure with one setting across: a line a method, a column a value of `across`, the last for those without.

    Raises `ValueError` for a column that is none.
    """
    if column not in COLUMNS:
        raise ValueError(f"column: expected one of {', '.join(COLUMNS)}, got {column}")
    lines: dict[str, dict[str, str]] = {}
    for variant in variants(results, across, reconstructions):
        pairs = [(r.reference, r.compressed) for r in variant.results if r.is_ok]
        cell = _cell([COLUMNS[column](r, c) for r, c in pairs if r and c])
        failed = len(variant.results) - len(pairs)
        at = "none" if variant.at is None else shown(variant.at)
        cells = lines.setdefault(variant.name, {})
        if at in cells:
            raise ValueError(f"{across}: two experiments are both {variant.name} at {at}; show them without --across")
        cells[at] = f"{cell} ({failed} failed)" if failed else cell
    if all(set(cells) == {"none"} for cells in lines.values()):
        raise ValueError(
            f"{across}: no setting of these experiments is called so; see the names in the table without it"
        )
    values = sorted({at for cells in lines.values() for at in cells}, key=_as_number)
    header = [f"{column}, {across} =", *values]
    return [header, *([name, *(cells.get(at, "") for at in values)] for name, cells in lines.items())]


def _as_number(text: str) -> tuple[float, str]:
    """Numbers by their size, then words."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def print_comparison(results: Iterable[Result], reconstructions: Options = ()) -> None:
    """Print the comparison of a sweep in the terminal."""
    header, *rows = comparison(results, tuple(TERMINAL_COLUMNS), reconstructions)
    title = "mean ± half of the 95 % interval over seeds; speed at the large batch"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(header[0], overflow="fold", min_width=18)
    for name in header[1:]:
        table.add_column(TERMINAL_COLUMNS.get(name, name), justify="right", min_width=6)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)  # a log has no width: a row is a line there
    if any(MARK in row[0] for row in rows):
        console.print(FOOTNOTE)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, its first row as the header."""
    header, *rows = table
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: Sequence[int | float]) -> str:
    if not values:
        return "–"
    average = mean(values)
    digits = 0 if all(isinstance(v, int) for v in values) else 2  # counts have no decimals
    text = f"{average.value:,.{digits}f}"
    return text if not average.half_width > 0 else f"{text} ± {average.half_width:,.{digits}f}"


def _speed_up(reference: Measure, compressed: Measure, which: Callable[[list[int]], int]) -> float:
    size = str(which([int(size) for size in compressed.latency_ms]))
    return _ratio(reference.latency_ms[size], compressed.latency_ms[size])


def _ratio(before: int | float, after: int | float) -> float:
    """Infinite where nothing is left: every layer may vanish."""
    return before / after if after else math.inf
