"""Time a report of many rows: reading them, against parsing the same JSON, and the page that holds them.

    python -m benchmarks.reports [--rows 3000] [--rounds 3]

The rows are the committed ones, again and again, each under another id and as another experiment, in folders as a
sweep leaves them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.ratios import medians, report
from reporting.page import write_page
from reporting.rows import files, read_rows

MEASURED = Path(__file__).parent.parent / "measured"


def main() -> None:
    """Print the ratio, the seconds, and the size of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    texts = [path.read_text(encoding="utf-8") for path in files([MEASURED])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, text in enumerate(islice(cycle(texts), arguments.rows)):
            path = folder / f"{number:05}" / "result.json"
            path.parent.mkdir()
            row = json.loads(text)
            own = {"id": f"{number:012x}", "variant": f"{number // len(texts)}-{row['variant']}"}
            path.write_text(json.dumps(row | own), encoding="utf-8")
        work = {
            "ours": lambda: read_rows([folder]),
            "json": lambda: [json.loads(path.read_text(encoding="utf-8")) for path in files([folder])],
        }
        times = medians(work, arguments.rounds)
        report(f"{arguments.rows} rows, read and checked, against json.loads", times["ours"], times["json"], "no goal")
        page, began = folder / "index.html", time.perf_counter()
        write_page(page, read_rows([folder]).results)
        seconds, size = time.perf_counter() - began, page.stat().st_size / 1e6
    print(f"reading {times['ours']:.2f} s; the page {seconds:.1f} s, {size:.2f} MB")


if __name__ == "__main__":
    main()
