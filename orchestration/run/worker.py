"""One process of a point on several devices; torchrun starts `python -m orchestration.run.worker <file>`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from torch import distributed

from orchestration.config import resolvers
from orchestration.distributed.torchrun import join, read_claim, report_failure
from orchestration.run.build import build_components
from orchestration.run.run_point import compute, run_here
from runtime.distributed import broadcast, group
from runtime.output import keep_output


def main() -> None:
    """Compute the point together with the other processes; rank 0 writes the row."""
    keep_output()
    resolvers.register()
    own = read_claim(Path(sys.argv[1]))
    point = own.point
    join(point.config["trainer"]["accelerator"])
    components = build_components(point)
    if group().rank == 0:
        if not run_here(own, components).is_ok:
            sys.exit(1)  # the others may be waiting in the middle of something
    else:
        logging.getLogger("compression_bench").disabled = True
        with report_failure():
            components.data.setup()
            compute(point, components, None)
    broadcast(None)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
