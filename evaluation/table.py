"""Tables of results: one run against its reference, and variants with means over seeds, for terminal and Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evaluation.result import Measure, Result
from evaluation.statistics import mean


def print_result(result: Result, directory: Path) -> None:
    """Print reference against compressed, with ratios, and the layers' ranks."""
    console = Console()
    if result.reference is None or result.compressed is None:
        console.print(f"status: {result.status}", markup=False)
        console.print(f"results in {directory}", markup=False, soft_wrap=True)
        return
    names = "/".join(result.choices[group] for group in ("dataset", "network", "method"))
    table = Table(title=f"{names}, seed {result.seed}", title_justify="left")
    for column, justify in (("", "left"), ("reference", "right"), ("compressed", "right"), ("", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in comparison_rows(result.reference, result.compressed):
        table.add_row(*row)
    console.print(table)
    for name, layer in result.layers.items():
        rank = "dense" if layer["rank"] is None else f"rank {layer['rank']}"
        console.print(f"  {name}: {rank}" + (f" ({layer['reason']})" if layer["reason"] else ""), markup=False, soft_wrap=True)
    if result.rank_reason:
        console.print(f"  {result.rank_reason}", markup=False, soft_wrap=True)
    console.print(f"results in {directory}", markup=False, soft_wrap=True)


def comparison_rows(reference: Measure, compressed: Measure) -> list[tuple[str, str, str, str]]:
    """Name, reference, compressed and their relation, for everything that was measured."""

    def ratio(a: float, b: float) -> str:
        return f"{a / b:.2f}× smaller" if b else ""

    def speed(a: float, b: float) -> str:
        return f"{a / b:.2f}× faster" if a >= b else f"{b / a:.2f}× slower"

    r, c = reference, compressed
    rows = [
        ("test top-1 [%]", f"{r.test_top1_percent:.2f}", f"{c.test_top1_percent:.2f}", f"{c.test_top1_percent - r.test_top1_percent:+.2f} points"),
        ("validation top-1 [%]", f"{r.validation_top1_percent:.2f}", f"{c.validation_top1_percent:.2f}", f"{c.validation_top1_percent - r.validation_top1_percent:+.2f} points"),
        ("parameters", f"{r.num_params:,}", f"{c.num_params:,}", ratio(r.num_params, c.num_params)),
        ("MACs", f"{r.macs:,}", f"{c.macs:,}", ratio(r.macs, c.macs)),
        ("bytes of the state file", f"{r.num_bytes:,}", f"{c.num_bytes:,}", ratio(r.num_bytes, c.num_bytes)),
    ]
    for size in r.latency_ms:
        a, b = r.latency_ms[size], c.latency_ms[size]
        rows.append((f"latency, batch {size} [ms]", f"{a:.4f}", f"{b:.4f}", speed(a, b)))
    for size in r.peak_memory_mib:
        a, b = r.peak_memory_mib[size], c.peak_memory_mib[size]
        rows.append((f"peak memory, batch {size} [MiB]", f"{a:.3f}", f"{b:.3f}", ratio(a, b)))
    rows.append(("epochs spent", str(r.epochs), f"+ {c.epochs}", ""))
    rows.append(("seconds spent", f"{r.seconds:.1f}", f"+ {c.seconds:.1f}", ""))
    return rows


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
            "/".join(group[0].choices[g] for g in ("dataset", "network", "method")) + _difference(group[0], firsts),
            sorted(group, key=lambda r: r.seed),
        )
        for group in groups.values()
    ]


def _difference(result: Result, others: Sequence[Result]) -> str:
    """The overrides of `result` that other results of the same dataset, network and method do not share."""
    same = [o for o in others if all(o.choices[g] == result.choices[g] for g in ("dataset", "network", "method"))]
    shared = set.intersection(*({*o.overrides} for o in same))
    own = [o for o in result.overrides if o not in shared and not o.startswith(("seed=", "force="))]
    return f" {' '.join(own)}" if own else ""


COLUMNS: dict[str, Callable[[Result], float]] = {
    "test error [%]": lambda r: 100 - _compressed(r).test_top1_percent,
    "reference error [%]": lambda r: 100 - _reference(r).test_top1_percent,
    "parameters": lambda r: _compressed(r).num_params,
    "params ratio": lambda r: _reference(r).num_params / _compressed(r).num_params,
    "MACs": lambda r: _compressed(r).macs,
    "MACs ratio": lambda r: _reference(r).macs / _compressed(r).macs,
    "speed-up, batch 1": lambda r: _speed_up(r, 0),
    "speed-up, large batch": lambda r: _speed_up(r, -1),
    "epochs": lambda r: _compressed(r).epochs,
}


def comparison(results: Iterable[Result]) -> list[list[str]]:
    """Header and rows: one a variant, mean ± half-width of the 95 % interval over its seeds; failures are shown."""
    table = [["experiment", "n", *COLUMNS, "status"]]
    for variant in variants(results):
        ok = [r for r in variant.results if r.is_ok]
        failed = [r.status.split(":")[0] for r in variant.results if not r.is_ok]
        cells = [_cell([column(r) for r in ok]) for column in COLUMNS.values()] if ok else ["–"] * len(COLUMNS)
        status = ", ".join(f"{failed.count(s)} {s}" for s in dict.fromkeys(failed)) or "ok"
        table.append([variant.name, str(len(ok)), *cells, status])
    return table


def print_comparison(results: Iterable[Result]) -> None:
    """Print the comparison of a sweep in the terminal."""
    header, *rows = comparison(results)
    table = Table(title="mean ± half of the 95 % interval over seeds", title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, its first row as the header."""
    header, *rows = table
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: list[float]) -> str:
    average = mean(values)
    digits = 0 if max(abs(v) for v in values) >= 1000 else 2
    text = f"{average.value:,.{digits}f}"
    if math.isnan(average.half_width) or average.half_width == 0:
        return text
    return f"{text} ± {average.half_width:,.{digits}f}"


def _speed_up(result: Result, index: int) -> float:
    sizes = sorted(_compressed(result).latency_ms, key=int)
    return _reference(result).latency_ms[sizes[index]] / _compressed(result).latency_ms[sizes[index]]


def _compressed(result: Result) -> Measure:
    assert result.compressed is not None, "only rows with status ok are averaged"
    return result.compressed


def _reference(result: Result) -> Measure:
    assert result.reference is not None, "only rows with status ok are averaged"
    return result.reference


def as_plain(rows: Iterable[Result]) -> list[dict[str, Any]]:
    """Rows as plain dictionaries, for writing elsewhere."""
    import dataclasses

    return [dataclasses.asdict(row) for row in rows]
