"""How many CPUs this process may keep busy: those reserved for its point, or all that it may run on."""

from __future__ import annotations

import os
from collections.abc import Mapping

# What our launchers have reserved for the point, and Slurm for the task: Ray binds no worker to its CPUs, and Slurm
# only where it is set up so.
RESERVED = "COMPRESSION_BENCH_CPUS"
OF_SLURM = "SLURM_CPUS_PER_TASK"


def num_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Count the cores for this process; processes that train together on a machine share its cores evenly.

    >>> num_cores({"COMPRESSION_BENCH_CPUS": "1"})
    1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in (RESERVED, OF_SLURM):
        if environment.get(name, "").isdecimal():
            cores = min(cores, int(environment[name]))
    return max(1, cores // int(environment.get("LOCAL_WORLD_SIZE", 1)))  # torchrun says how many there are
