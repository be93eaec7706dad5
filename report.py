"""Make the comparison table of all results below the given folders, as Markdown.

python report.py results > table.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evaluation.result import Result, read_result
from evaluation.table import comparison, markdown


def main() -> None:
    """Read every result.json below the folders and print one row a variant; exits with 1 if there is none."""
    parser = argparse.ArgumentParser(description="Print the comparison table of all results below the folders.")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("results")], help="default: results")
    results = read_all(parser.parse_args().folders)
    if not results:
        sys.exit("error: no readable result.json below the folders; run `python run.py` first")
    print(markdown(comparison(results)), end="")


def read_all(folders: list[Path]) -> list[Result]:
    """All readable rows, in a fixed order; unreadable files are named on standard error and left out."""
    results = []
    for path in sorted(path for folder in folders for path in folder.rglob("result.json")):
        try:
            results.append(read_result(path))
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
    return sorted(results, key=lambda r: (*r.choices.values(), r.overrides, r.seed))


if __name__ == "__main__":
    main()
