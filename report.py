"""Make the comparison table of all results below the given folders, as Markdown.

python report.py results > table.md
python report.py results --across share        test errors, one column a budget (or: --across ranks, epsilon, …)
python report.py results --reported            published rows (conf/experiment) against ours
python report.py results --wandb PROJECT       the same as a report in Weights & Biases, and the rows that it lacks
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evaluation.reported import HEADER, reported_row
from evaluation.result import Result
from orchestration.reconstructions import reconstructions
from reporting.rows import read_rows
from reporting.table import comparison, markdown, pivot
from reporting.variants import FOOTNOTE, MARK

DEFAULT_COLUMN = "test error [%]"


def main() -> None:
    """Read every result.json below the folders and print one row a variant; exits with 1 if there is none."""
    parser = argparse.ArgumentParser(description="Print the comparison table of all results below the folders.")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("results")], help="default: results")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII alone
    parser.add_argument("--reported", action="store_true", help="published rows against ours, instead of all results")
    parser.add_argument(
        "--across", metavar="SETTING", help="one column a value of this setting: share, ranks, weight …"
    )
    parser.add_argument("--column", default=DEFAULT_COLUMN, help="what --across shows; default: test error [%%]")
    parser.add_argument("--wandb", metavar="PROJECT", help="send rows, comparison and a report to W&B as well")
    parser.add_argument("--entity", help="whose project --wandb is; default: your own")
    parser.add_argument("--networks", action="store_true", help="let --wandb send the compressed networks too")
    arguments = parser.parse_args()
    folders = arguments.folders
    if arguments.column != DEFAULT_COLUMN and not arguments.across:
        sys.exit("error: --column says what --across shows; give --across too")
    if (arguments.entity or arguments.networks) and not arguments.wandb:
        sys.exit("error: --entity and --networks say how to send to --wandb PROJECT; give --wandb too")
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        sys.exit(f"error: no such folder: {', '.join(missing)}")
    results = read_rows(folders)
    if not results:
        sys.exit("error: no readable result.json below the folders; run `python run.py` first")
    try:
        if arguments.reported:
            table = against_reported(results)
        elif arguments.across:
            table = pivot(results, arguments.across, arguments.column, reconstructions())
        else:
            table = comparison(results, reconstructions=reconstructions())
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(markdown(table), end="")
    if any(MARK in row[0] for row in table):
        print(f"\n{FOOTNOTE}")
    if arguments.wandb:
        from reporting.wandb_report import publish

        try:
            where = publish(
                arguments.wandb, results, folders, table, entity=arguments.entity, networks=arguments.networks
            )
        except ValueError as error:
            sys.exit(f"error: {error}")
        print(where, file=sys.stderr)


def against_reported(results: list[Result]) -> list[list[str]]:
    """One line a published row: what is reported, how it is known, what we found, and the verdict."""
    from orchestration.experiments import experiments, key, kind

    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(key(result.config, result.choices), []).append(result)
    lines = [
        reported_row(e.name, e.reported, *(found.get(e.keys.get(s, ""), []) for s in ("published", "short")))
        for e in experiments({kind(result.choices) for result in results})
    ]
    return [HEADER, *lines]


if __name__ == "__main__":
    main()
