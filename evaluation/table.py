"""Tables over many results: one row a variant, mean and 95 % interval over its seeds, failures shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from evaluation.result import Measure, Result
from evaluation.statistics import mean

GROUPS = ("dataset", "network", "method")


@dataclass(frozen=True)
class Variant:
    """All seeds of one experiment, and the words that tell it from the others."""

    name: str
    results: list[Result]


def variants(results: Iterable[Result]) -> list[Variant]:
    """Group results that differ only in their seed, named by dataset, network, method and what else differs."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.variant, []).append(result)
    firsts = [group[0] for group in groups.values()]
    return [
        Variant(
            "/".join(group[0].choices[g] for g in GROUPS) + _difference(group[0], firsts),
            sorted(group, key=lambda r: r.seed),
        )
        for group in groups.values()
    ]


def _difference(result: Result, others: Sequence[Result]) -> str:
    """The overrides of `result` that not all results of its dataset, network and method share."""
    same = [set(o.overrides) for o in others if all(o.choices[g] == result.choices[g] for g in GROUPS)]
    shared = set.intersection(*same)
    own = [o for o in result.overrides if o not in shared and not o.startswith(("seed=", "force="))]
    return f" {' '.join(own)}" if own else ""


# Every column is computed from the raw values of one result.
COLUMNS: dict[str, Callable[[Measure, Measure], float]] = {
    "test error [%]": lambda r, c: 100 - c.test_top1_percent,
    "reference error [%]": lambda r, c: 100 - r.test_top1_percent,
    "parameters": lambda r, c: c.num_params,
    "params ratio": lambda r, c: r.num_params / c.num_params,
    "MACs": lambda r, c: c.macs,
    "MACs ratio": lambda r, c: r.macs / c.macs,
    "speed-up, batch 1": lambda r, c: _speed_up(r, c, min),
    "speed-up, large batch": lambda r, c: _speed_up(r, c, max),
    "epochs": lambda r, c: c.epochs,
}
# What fits eighty columns, under names that do.
TERMINAL_COLUMNS = {
    "test error [%]": "error %",
    "reference error [%]": "ref. %",
    "params ratio": "params ÷",
    "MACs ratio": "MACs ÷",
    "speed-up, large batch": "speed ×",
}


def comparison(results: Iterable[Result], columns: Sequence[str] = tuple(COLUMNS)) -> list[list[str]]:
    """Header and rows: one a variant, mean ± half the 95 % interval over its seeds; failures are counted."""
    table = [["experiment", "n", *columns, "status"]]
    for variant in variants(results):
        pairs = [(r.reference, r.compressed) for r in variant.results if r.is_ok]
        failed = [r.status.split(":")[0] for r in variant.results if not r.is_ok]
        cells = [_cell([COLUMNS[name](r, c) for r, c in pairs if r and c]) for name in columns]
        status = ", ".join(f"{failed.count(s)} {s}" for s in dict.fromkeys(failed)) or "ok"
        table.append([variant.name, str(len(pairs)), *cells, status])
    return table


def print_comparison(results: Iterable[Result]) -> None:
    """Print the comparison of a sweep in the terminal."""
    header, *rows = comparison(results, tuple(TERMINAL_COLUMNS))
    table = Table(title="mean ± half of the 95 % interval over seeds; speed at the large batch", title_justify="left")
    table.add_column(header[0], overflow="fold", min_width=18)
    for name in header[1:]:
        table.add_column(TERMINAL_COLUMNS.get(name, name), justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, its first row as the header."""
    header, *rows = table
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: Sequence[int | float]) -> str:
    if not values:
        return "–"
    average = mean(values)
    digits = 0 if max(abs(v) for v in values) >= 1000 else 2
    text = f"{average.value:,.{digits}f}"
    return text if not average.half_width > 0 else f"{text} ± {average.half_width:,.{digits}f}"


def _speed_up(reference: Measure, compressed: Measure, which: Callable[[list[int]], int]) -> float:
    size = str(which([int(size) for size in compressed.latency_ms]))
    return reference.latency_ms[size] / compressed.latency_ms[size] if compressed.latency_ms[size] else math.nan
