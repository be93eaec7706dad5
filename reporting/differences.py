"""Tabulate how methods differ from one of them, seed by seed; what differs by chance is a tie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evaluation.result import Result
from evaluation.significance import ALPHA, Paired, holm, paired
from evaluation.statistics import mean
from reporting.columns import COLUMNS
from reporting.pivot import NONE, by_value, values_of
from reporting.table import ONE_SEED, Cell, Table, decimals, measured
from reporting.tasks import by_task, only_task
from reporting.variants import Options, Variant, unmarked, variants

ERROR = "test error [%]"
# Settings of two methods are compared on the page where one of these sizes is as near as this.
NEAR = 1.25
SIZES = ("params ratio", "nonzero ratio", "bytes ratio", "MACs ratio")
BASE = "="  # the cell of what the others are compared with


def differences_across(
    results: Iterable[Result], across: str, baseline: str, column: str = ERROR, reconstructions: Options = ()
) -> Table:
    """Return the differences of each method from `baseline`, a line, at each value of the setting `across`.

    A baseline without that setting, such as the reference, is compared with at each value. p-values are corrected over
    the methods at a value. Raises `ValueError` for a line that is not there, for a column that has no difference, and
    for rows of several tasks.
    """
    of = COLUMNS.get(column)
    if of is None or of.better is None or of.is_measured_ratio:
        raise ValueError(f"--against: expected a column of which one way is better, and no speed-up, got {column}")
    results = list(results)
    if len(tasks := by_task(results)) > 1:
        raise ValueError(f"--against: expected the rows of one dataset and network, got {', '.join(tasks)}")
    lines = by_value(results, across, reconstructions)
    plain = {unmarked(name): name for name in lines}
    if baseline not in plain:
        raise ValueError(f"--against: expected a line of the table, {', '.join(plain)}; got {baseline}")
    values = [at for at in values_of(lines) if at != NONE]
    found: dict[str, dict[str, Cell]] = {name: {} for name in lines if set(lines[name]) != {NONE}}
    for at in values:
        names = [name for name in found if at in lines[name]]
        of_base = lines[plain[baseline]]
        base = of_base.get(at, of_base.get(NONE, []))
        for name, made in zip(names, compared(column, base, [lines[name][at] for name in names]), strict=True):
            found[name][at] = Cell(BASE) if name == plain[baseline] else made
    rows = [[Cell(name), *(cells.get(at, Cell("")) for at in values)] for name, cells in found.items()]
    title = f"difference of {column} from {baseline} across {across}; p-values of pairs of seeds, corrected by Holm"
    return Table(title, [f"{column} less that of {baseline}, {across} =", *values], rows)


def differences_from_best(results: Iterable[Result], reconstructions: Options = ()) -> Table | None:
    """Return the differences in test error of all variants from the one that is best on the validation part.

    None where there are not two compressed networks to compare. p-values are corrected over all variants.
    """
    results = list(results)
    task = only_task(results)
    compressed = [result for result in results if result.choices["method"] != "reference"]
    found = variants(compressed, reconstructions=reconstructions)
    scores = {index: _validation(variant.results) for index, variant in enumerate(found)}
    scores = {index: score for index, score in scores.items() if not math.isnan(score)}
    if len(scores) < 2:
        return None
    best = max(scores, key=scores.__getitem__)
    cells = compared(ERROR, found[best].results, [variant.results for variant in found])
    cells[best] = Cell(BASE)
    names = [variant.name.removeprefix(f"{task}/") for variant in found]
    title = f"{task or 'comparison'}: differences from {names[best]}, the best on the validation part"
    rows = [[Cell(name), made] for name, made in zip(names, cells, strict=True)]
    return Table(title, ["method", f"{ERROR} less that of {names[best]}"], rows)


def differences_near(found: Sequence[Variant]) -> dict[int, dict[int, str]]:
    """Return, for each variant by its place, how its test error differs from those of like size, by theirs.

    Of like size are compressed networks of one task within `NEAR` in one of `SIZES`. p-values are corrected over
    them; variants that share fewer than two seeds have none and are left out.
    """
    sizes = [_sizes(variant) for variant in found]
    errors = [_by_seed(ERROR, variant.results) for variant in found]
    by_task: dict[str, list[int]] = {}
    for place, variant in enumerate(found):
        if variant.results[0].choices["method"] != "reference" and len(errors[place]) > 1:
            by_task.setdefault(variant.task, []).append(place)
    told: dict[int, dict[int, str]] = {}
    for places in by_task.values():
        for one in places:
            like = [two for two in places if two != one and _is_near(sizes[one], sizes[two])]
            pairs = {
                two: pair for two in like if (pair := paired(errors[one], errors[two])) and pair.difference.num > 1
            }
            corrected = holm([pair.p_value for pair in pairs.values()])
            cells = {two: _cell(ERROR, pair, p) for (two, pair), p in zip(pairs.items(), corrected, strict=True)}
            if cells:
                told[one] = {two: made.text for two, made in cells.items()}
    return told


def _sizes(variant: Variant) -> list[float]:
    pairs = measured(variant.results)
    return [COLUMNS[name].mean([COLUMNS[name](r, c) for r, c in pairs]).value if pairs else math.nan for name in SIZES]


def _is_near(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return any(a > 0 and b > 0 and max(a, b) <= NEAR * min(a, b) < math.inf for a, b in zip(ours, theirs, strict=True))


def compared(column: str, base: Sequence[Result], others: Sequence[Sequence[Result]]) -> list[Cell]:
    """Return a cell for each of the `others`: its difference from `base`, or that it is a tie."""
    pairs = [None if of is base else paired(_by_seed(column, of), _by_seed(column, base)) for of in others]
    corrected = holm([math.nan if pair is None else pair.p_value for pair in pairs])
    return [_cell(column, pair, p) for pair, p in zip(pairs, corrected, strict=True)]


def _cell(column: str, pair: Paired | None, p: float) -> Cell:
    if pair is None:
        return Cell("–")
    mean = pair.difference
    digits = decimals(column, abs(mean.value))
    if math.isnan(p):
        return Cell(f"{mean.value:+,.{digits}f}{ONE_SEED if mean.num == 1 else ''}", mean)
    text = f"{mean.value:+,.{digits}f} ± {mean.half_width:,.{digits}f}"
    said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    if p >= ALPHA:
        return Cell(f"tie ({text}, {said})", mean)
    return Cell(f"{text} ({said})", mean, is_best=(mean.value > 0) == (COLUMNS[column].better == "more"))


def _by_seed(column: str, results: Sequence[Result]) -> dict[int, float]:
    found = {r.seed: COLUMNS[column](*pair) for r in results for pair in measured([r])}
    return {seed: value for seed, value in found.items() if not math.isnan(value)}


def _validation(results: Sequence[Result]) -> float:
    values = [compressed.validation_top1_percent for _, compressed in measured(results)]
    return mean(values).value if values else math.nan
