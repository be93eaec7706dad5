"""Compare published rows with ours, in one table a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from evaluation.reported import Reported, mean_top1, sizes, verdict
from evaluation.result import Result
from reporting.table import Cell, Table

HEADER = [
    "row",
    "reported top-1 [%]",
    "known from",
    "ours [%]",
    "ours, shortened schedule [%]",
    "size",
    "verdict",
    "command",
]
NO_RUN = "No row is a run of a published row (conf/experiment); --all-papers lists what there is."


class Published(Protocol):
    """One row of a published table; `orchestration.config.published` reads them from `conf/experiment`."""

    @property
    def name(self) -> str: ...
    @property
    def reported(self) -> Reported: ...
    @property
    def choices(self) -> Mapping[str, str]: ...


# Our runs of a published row: "published" ones decide, "short" ones are shown, "other" ones left its settings.
Runs = Mapping[str, Sequence[Result]]


def papers(experiments: Iterable[tuple[Published, Runs]], *, all_papers: bool = False) -> dict[str, Table]:
    """Return one table a paper of which we have a run, or of `all_papers`, by the name of its folder."""
    experiments = list(experiments)
    run = {_paper(experiment) for experiment, runs in experiments if any(runs.values())}
    tables: dict[str, Table] = {}
    for experiment, runs in experiments:
        paper = _paper(experiment)
        if not all_papers and paper not in run:
            continue
        title = f"{paper}: {experiment.reported.source}"
        table = tables.setdefault(paper, Table(title, HEADER, []))
        table.rows.append([Cell(text) for text in reported_row(experiment, runs)])
    return tables


def _paper(experiment: Published) -> str:
    return experiment.name.partition("/")[0]


def reported_row(experiment: Published, runs: Runs) -> list[str]:
    """Return the cells of `HEADER` for one published row; rows of a shortened schedule decide nothing."""
    reported = experiment.reported
    published, short, other = (runs.get(kind, ()) for kind in ("published", "short", "other"))
    left = f"; {len(other)} with other settings" if other else ""
    size = [f"{of}: {_shown(ours)}, reported {_shown(theirs)}" for of, theirs, ours in sizes(reported, published)]
    return [
        f"{experiment.name} (reconstruction)" if reported.reconstruction else experiment.name,
        _accuracy(reported),
        reported.provenance,
        _top1(published),
        _top1(short),
        "; ".join(size),
        verdict(reported, published, short) + left,
        f"python run.py -m experiment={experiment.name} seed=0,1,2",
    ]


def _accuracy(reported: Reported) -> str:
    if reported.top1_percent is None:
        return "–"
    top5 = "" if reported.top5_percent is None else f" (top-5 {reported.top5_percent:g})"
    return f"{reported.top1_percent:g}{top5}"


def _shown(number: float) -> str:
    return "–" if number != number else f"{number:.3g}"


def _top1(results: Sequence[Result]) -> str:
    if not (num_ok := sum(result.is_ok for result in results)):
        return f"– ({len(results)} failed)" if results else "–"
    average = mean_top1(results)
    spread = f" ± {average.half_width:.2f}" if average.half_width > 0 else ""
    failed = f", {len(results) - num_ok} failed" if num_ok < len(results) else ""
    top5 = [r.compressed.test_top5_percent for r in results if r.is_ok and r.compressed]
    known = [value for value in top5 if value is not None]
    also = f", top-5 {sum(known) / len(known):.2f}" if known else ""
    return f"{average.value:.2f}{spread} (n={num_ok}{failed}{also})"
