"""Print one row in the terminal: all measures of the reference and the compressed network."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.name import experiment_name
from evaluation.result import Measure, Result
from reporting.terminal import shown
from runtime.messages import printable


def print_result(result: Result, directory: Path) -> None:
    """Print a row that is ok: both networks side by side, their relation, the rank of every layer, its `directory`."""
    console = Console(soft_wrap=True, highlight=False)
    assert result.reference is not None and result.compressed is not None, "a row that is ok has both"
    table = Table(title=shown(f"{experiment_name(result.choices)}, seed {result.seed}"), title_justify="left")
    table.add_column("")
    for column in ("reference", "compressed", ""):
        table.add_column(column, justify="right")
    for row in comparison_rows(result.reference, result.compressed):
        table.add_row(*map(escape, row))  # rich reads [ms] as markup
    console.print(table)
    for name, layer in result.layers.items():
        form = layer.get("form") or ("dense" if layer["rank"] is None else f"rank {layer['rank']}")
        reason = f" ({layer['reason']})" if layer["reason"] else ""
        console.print(printable(f"  {name}: {form}{reason}"), markup=False)
    if result.rank_reason:
        console.print(printable(f"  {result.rank_reason}"), markup=False)
    console.print(f"results in {directory}", markup=False)


def comparison_rows(reference: Measure, compressed: Measure) -> list[tuple[str, str, str, str]]:
    """Return name, reference, compressed and their relation, for every measure."""
    r, c = reference, compressed
    rows = [
        _points("test top-1 [%]", r.test_top1_percent, c.test_top1_percent),
        *_untuned(c),
        _points("validation top-1 [%]", r.validation_top1_percent, c.validation_top1_percent),
        _size("parameters", r.num_params, c.num_params),
        *([] if r.num_nonzero is None or c.num_nonzero is None else [_nonzero(r.num_nonzero, c.num_nonzero)]),
        _size("MACs", r.macs, c.macs),
        _size("bytes of the state file", r.num_bytes, c.num_bytes),
    ]
    for size, before in r.latency_ms.items():
        after = c.latency_ms[size]
        relation = f"{before / after:.2f}× faster" if before >= after else f"{after / before:.2f}× slower"
        rows.append((f"latency, batch {size} [ms]", f"{before:.4f}", f"{after:.4f}", relation))
    for size, before in r.peak_memory_mib.items():
        rows.append(_size(f"peak memory, batch {size} [MiB]", before, c.peak_memory_mib[size]))
    rows.append(("epochs spent", str(r.epochs), f"+ {c.epochs}", ""))
    rows.append(("seconds spent", f"{r.seconds:.1f}", f"+ {c.seconds:.1f}", ""))
    return rows


def _untuned(compressed: Measure) -> list[tuple[str, str, str, str]]:
    value = compressed.untuned_test_top1_percent
    return [] if value is None else [("test top-1 before fine-tuning [%]", "", f"{value:.2f}", "")]


def _points(name: str, before: float, after: float) -> tuple[str, str, str, str]:
    return name, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f} points"


def _nonzero(before: int, after: int) -> tuple[str, str, str, str]:
    """Say fewer, not smaller: a zero takes its place in the file."""
    name, shown_before, shown_after, relation = _size("nonzero parameters", before, after)
    return name, shown_before, shown_after, relation.replace("smaller", "fewer").replace("larger", "more")


def _size(name: str, before: int | float, after: int | float) -> tuple[str, str, str, str]:
    def shown(value: int | float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"

    if not before or not after:
        return name, shown(before), shown(after), ""
    relation = f"{before / after:.2f}× smaller" if before >= after else f"{after / before:.2f}× larger"
    return name, shown(before), shown(after), relation
