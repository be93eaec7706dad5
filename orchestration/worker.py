"""One of the processes that compute a point together: `python -m orchestration.worker <file>`, started by torchrun."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from torch import distributed

from lightning_modules.group import agreed, group
from orchestration import resolvers
from orchestration.assemble import assemble
from orchestration.compute import compute
from orchestration.job import run_here
from orchestration.several import join, last_words, read_point


def main() -> None:
    """Compute; the first process writes the row."""
    resolvers.register()
    point, lock = read_point(Path(sys.argv[1]))
    join(point.config["trainer"]["accelerator"])
    parts = assemble(point)
    if group().rank == 0:
        if not run_here(point, parts, lock).is_ok:
            sys.exit(1)  # the others may be waiting in the middle of something
    else:
        logging.getLogger("compression_bench").disabled = True
        with last_words():
            parts.data.setup()
            compute(point, parts, None)
    agreed(None)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
