"""Make a report of all results below the given folders: a page, tables, figures, the rows as one table.

python report.py results                                 writes report/: open report/index.html
python report.py results --watch                         again whenever a row is added, until Ctrl-C
python report.py results --print                         the comparison in the terminal
python report.py results --markdown                      … as Markdown
python report.py results --across share                  test errors, one column a budget (or: ranks, epsilon, …)
python report.py results --across share --latex --columns error,params,macs,latency --names names.yaml
                                                         the same for a paper
python report.py results --across share --against svd    differences from a method, seed by seed, with p-values
python report.py results --reported                      published rows (conf/experiment) against ours; --all-papers
python report.py results --wandb PROJECT                 the comparison as a W&B report, and the rows that it lacks
python report.py results --figure pareto.svg             test error against parameters, one dataset and network
python report.py --rebuild README.md                     the parts of a file that are made from rows
python report.py results --migrate                       rows of an earlier schema: today's ids, in their places
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.result import Measure
from orchestration.config.published import reconstructions, runs_of_all
from reporting.columns import WORDS
from reporting.differences import differences_across
from reporting.generated_markdown import rebuild
from reporting.markup import latex_float, markdown, markdown_escaped
from reporting.paper_table import caption, columns_of, read_names, renamed
from reporting.papers import NO_RUN, papers
from reporting.pivot import pivot
from reporting.rows import Rows, read_rows, state
from reporting.table import comparison
from reporting.tasks import by_task, plain_task
from reporting.terminal import print_comparison
from runtime.digest import digest_json
from runtime.messages import printable
from runtime.output import keep_output, lost_output

DEFAULT_COLUMN = "test error [%]"
SECONDS_BETWEEN_LOOKS = 2.0


def main() -> None:
    """Read every result.json below the folders and do what is asked; exits with 1 if there is none."""
    keep_output()
    parser = _parser()
    arguments = parser.parse_args()
    try:
        _require_sense(arguments, parser)
        if arguments.rebuild:
            for path in arguments.rebuild:
                print(f"{path}: {'rebuilt' if rebuild(path, _made(parser)) else 'up to date'}")
        elif arguments.watch:
            _watch(arguments)
        elif arguments.migrate:
            _migrate(arguments.folders)
        elif text := _asked(arguments, _rows(arguments.folders)):
            print(text, end="")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.flush()
    if (lost := lost_output()) is not None and not isinstance(lost, BrokenPipeError):  # a reader may have seen enough
        sys.exit(f"error: what was asked for could not be printed: {lost.strerror}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("results")], help="default: results")
    parser.add_argument("--out", type=Path, default=Path("report"), help="the folder to write; default: report")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="write the folder again whenever a row changes")
    how.add_argument("--print", action="store_true", help="print the comparison, as a sweep does at its end")
    how.add_argument("--markdown", action="store_true", help="print the comparison as Markdown")
    how.add_argument("--reported", action="store_true", help="print published rows against ours, as Markdown")
    how.add_argument("--across", metavar="SETTING", help="print one column a value of this setting: share, ranks, …")
    how.add_argument("--wandb", metavar="PROJECT", help="send rows that it lacks, the comparison and a report to W&B")
    how.add_argument("--figure", metavar="FILE", type=Path, help="draw one figure: .svg, .pdf or .png")
    how.add_argument("--migrate", action="store_true", help="give rows of an earlier schema today's ids")
    how.add_argument("--rebuild", metavar="FILE", type=Path, nargs="+", help="Markdown with parts made from rows")
    parser.add_argument("--entity", help="whose project --wandb is; default: your own")
    parser.add_argument("--networks", action="store_true", help="let --wandb send the compressed networks too")
    parser.add_argument("--against", metavar="METHOD", help="differences from this line of --across, p-values")
    parser.add_argument("--columns", metavar="WORDS", help=f"what --across shows, several of {', '.join(WORDS)}")
    parser.add_argument("--latex", action="store_true", help="print --across as LaTeX (booktabs), with a caption")
    parser.add_argument("--names", metavar="FILE", type=Path, help="YAML with display names of methods, for --across")
    parser.add_argument("--all-papers", action="store_true", help="tables of papers of which nothing was run, too")
    parser.add_argument("--column", default=DEFAULT_COLUMN, help="what --across shows; default: test error [%%]")
    return parser


def _require_sense(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise `ValueError` for an option that would be ignored, or an impossible value."""
    how = ("print", "markdown", "reported", "across", "wandb", "figure", "rebuild", "migrate")
    chosen = next((name for name in how if getattr(arguments, name) not in (None, False)), None)
    for name in ("across", "wandb"):
        if getattr(arguments, name) == "":
            raise ValueError(f"--{name}: expected a name, got an empty one")
    if chosen is not None and arguments.out != parser.get_default("out"):
        raise ValueError(f"--out is the folder of a whole report; leave it out with --{chosen}")
    if arguments.all_papers and chosen not in (None, "watch", "reported"):
        raise ValueError(f"--all-papers says which tables of papers there are; leave it out with --{chosen}")
    if arguments.column != DEFAULT_COLUMN and not arguments.across:
        raise ValueError("--column says what --across shows; give --across too")
    for name in ("against", "columns", "latex", "names"):
        if getattr(arguments, name) not in (None, False) and not arguments.across:
            raise ValueError(f"--{name} says how --across is shown; give --across too")
    if arguments.against and (arguments.columns or arguments.latex or arguments.names):
        raise ValueError("--against is a table of one --column in Markdown; leave out --columns, --latex and --names")
    if arguments.columns is not None and arguments.column != DEFAULT_COLUMN:
        raise ValueError("--column and --columns say the same; give one of them")
    if (arguments.entity or arguments.networks) and not arguments.wandb:
        raise ValueError("--entity and --networks say how to send to --wandb PROJECT; give --wandb too")
    if chosen == "rebuild" and arguments.folders != parser.get_default("folders"):
        raise ValueError("--rebuild: the parts of a file name their own folders; give none beside it")
    if chosen == "figure" and arguments.figure.suffix not in (".svg", ".pdf", ".png"):
        raise ValueError(f"--figure: expected a name that ends in .svg, .pdf or .png, got {arguments.figure}")


def _asked(arguments: argparse.Namespace, rows: Rows) -> str:
    """Do what the arguments ask for and return the text to print."""
    if not rows.results:
        raise ValueError("no readable result.json below the folders; run `python run.py` first")
    if arguments.reported:
        tables = papers(runs_of_all(rows.results), all_papers=arguments.all_papers).values()
        titled = [f"{markdown_escaped(table.title)}\n\n{markdown(table)}" for table in tables]
        return "\n".join(titled) or f"{NO_RUN}\n"
    if arguments.across:
        return _across(arguments, rows)
    if arguments.markdown:
        return markdown(comparison(rows.results, reconstructions=reconstructions()))
    if arguments.print:
        print_comparison(rows.results, reconstructions())
        return ""
    if arguments.wandb:
        return _send(arguments, rows)
    if arguments.figure:
        return _figure(arguments.figure, rows)
    return _write(arguments, rows)


def _across(arguments: argparse.Namespace, rows: Rows) -> str:
    """Return the table across a setting, as Markdown or for a paper."""
    if arguments.against is not None:
        return markdown(
            differences_across(rows.results, arguments.across, arguments.against, arguments.column, reconstructions())
        )
    columns = columns_of(arguments.columns) if arguments.columns is not None else [arguments.column]
    table = pivot(rows.results, arguments.across, columns, reconstructions())
    if arguments.names:
        table, unused = renamed(table, read_names(arguments.names), rows.results)
        if unused:
            print(printable(f"note: --names: no line is called {', '.join(unused)}"), file=sys.stderr)
    if not arguments.latex:
        return markdown(table)
    label = f"tab:{'+'.join(by_task(rows.results))}-{arguments.across}"
    return latex_float(table, caption(rows.results, arguments.across, columns, table), label)


def _write(arguments: argparse.Namespace, rows: Rows) -> str:
    from reporting.folder import write_folder

    folder, experiments = arguments.out, runs_of_all(rows.results)
    tables = papers(experiments, all_papers=arguments.all_papers)
    published = [experiment for experiment, _ in experiments]
    written = write_folder(folder, rows.results, published, tables, reconstructions(), rows.places)
    if not any(path.suffix == ".parquet" for path in written):
        print("note: no rows.parquet without pyarrow: pip install 'compression-bench[parquet]'", file=sys.stderr)
    return f"{len(rows.results)} rows in {len(written)} files; open {folder / 'index.html'}\n"


def _send(arguments: argparse.Namespace, rows: Rows) -> str:
    from reporting.wandb.report import publish

    table, project = comparison(rows.results, reconstructions=reconstructions()), arguments.wandb
    where = publish(project, rows.results, rows.places, table, entity=arguments.entity, networks=arguments.networks)
    return f"{where}\n"


def _figure(path: Path, rows: Rows) -> str:
    from reporting.figures import draw, save
    from reporting.pareto import GAINS

    tasks = by_task(rows.results)
    if len(tasks) > 1:
        raise ValueError(f"--figure: expected the rows of one dataset and network, got {', '.join(tasks)}")
    ((task, of),) = tasks.items()
    rows_of_papers = [e for e, _ in runs_of_all(of) if plain_task(e.choices) == plain_task(of[0].choices)]
    rows_of_ours = [(r.id, r.choices, r.status, [_known(m) for m in (r.reference, r.compressed)]) for r in of]
    about = digest_json([rows_of_ours, [(e.name, asdict(e.reported)) for e in rows_of_papers]])  # all that is drawn
    save(draw(of, next(iter(GAINS)), task, rows_of_papers, reconstructions()), path, f"rows {about}")
    return f"![{task}: test error against parameters]({path.as_posix()})\n"


def _known(measure: Measure | None) -> dict[str, Any]:
    """Return what a row has, so that a field which is added later makes no other figure."""
    return {key: value for key, value in asdict(measure).items() if value is not None} if measure else {}


def _watch(arguments: argparse.Namespace) -> None:
    """Write the folder whenever a row has changed; ends with Ctrl-C, or when nobody reads its lines any more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start background jobs with SIGINT ignored
    seen: object = None
    while True:
        if (now := state(arguments.folders)) != seen:
            seen = now
            rows = _rows(arguments.folders)
            said = _write(arguments, rows) if rows.results else "no result yet\n"
            print(f"{time.strftime('%H:%M:%S')}  {said}", end="", flush=True)
        if isinstance(lost_output(), BrokenPipeError):
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _migrate(folders: Sequence[Path]) -> None:
    """Migrate the rows below the folders; exits with 1 if some are left as they were."""
    from orchestration.store.migrate import migrate

    _require_folders(folders)
    num_left = 0
    for line in migrate(folders):
        print(printable(line), file=sys.stderr, flush=True)
        num_left += 1
    num_rows = len(state(folders))
    print(f"{num_rows - num_left} of {num_rows} rows have the ids of today")
    if num_left:
        sys.exit(1)


def _rows(folders: Sequence[Path]) -> Rows:
    """Return the rows below the folders; print notes about the files on standard error."""
    _require_folders(folders)
    rows = read_rows(folders)
    for note in rows.notes:
        print(printable(note), file=sys.stderr)
    return rows


def _require_folders(folders: Sequence[Path]) -> None:
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise ValueError(f"no such folder: {', '.join(missing)}")


def _made(parser: argparse.ArgumentParser) -> Callable[[list[str]], str]:
    """Return a function from a command of this file to the text that it prints, for generated Markdown."""

    def made(command: list[str]) -> str:
        arguments = parser.parse_args(command)
        if not (arguments.markdown or arguments.reported or arguments.across or arguments.figure):
            raise ValueError(
                f"report.py {' '.join(command)}: a part is made with --markdown, --across, --reported or --figure"
            )
        _require_sense(arguments, parser)
        _require_folders(arguments.folders)
        return _asked(arguments, read_rows(arguments.folders))

    return made


if __name__ == "__main__":
    main()
