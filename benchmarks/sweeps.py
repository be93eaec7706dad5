"""Measure a sweep beside its points: the time to plan and resume many of them, and the memory that each leaves.

    python -m benchmarks.sweeps [--points 10000] [--sequential 500]

Real commands in processes of their own. Planning is `run.py -m … plan=true` on an empty folder. Resuming is the same
command without it, on a folder where every point is done: their rows are copies of one real row under each point's
identity. Sequential points are real ones, of one epoch and two batches a phase (trainer=smoke), in one process;
what each leaves is the slope of the resident memory over them, the first fifth left out. Peaks are of the command's own
process; a plan also starts one that loads torch and tries a point of each kind, as large as any that runs a point.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from evaluation.result import read_result, write_result
from orchestration.config import resolvers
from orchestration.store.owned_files import NETWORK, ROW
from orchestration.sweep.fast_compose import Composer

ROOT = Path(__file__).parent.parent
POINT = ("logger=none", "trainer=smoke", "method=reference", "network.hidden=[8]")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--sequential", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = f"results_dir={folder}/many"
        many = ("-m", *POINT, f"seed=range(0,{options.points})", results)
        _report(f"plan of {options.points} points", *_run(*many, "plan=true"))
        _finish(Path(folder), options.points, results)
        _report(f"resuming {options.points} points, all done", *_run(*many))
        found = _run("-m", *POINT, f"seed=range(0,{options.sequential})", f"results_dir={folder}/few")
        _report(f"{options.sequential} points in one process", *found)
        used = found[-1]
        used.pop()  # the peak
        slope = np.polyfit(range(len(used[len(used) // 5 :])), used[len(used) // 5 :], 1)[0]
        print(f"growth of the resident memory: {1024 * slope:.1f} KiB a point ({used[0]:.0f} to {used[-1]:.0f} MiB)")


# The memory of the process that runs points when each ends, and at last the peaks of that one and of its parent.
WATCHED = """
import atexit, sys
from pathlib import Path
sys.argv = ["run.py", *sys.argv[2:]]
log = open({log!r}, "a", buffering=1)
import orchestration.store.claim as claim
store = claim.store_row
def note(name):
    status = Path("/proc/self/status").read_text().splitlines()
    print(name, next(line.split()[1] for line in status if line.startswith(name)), file=log)
def watched(*arguments):
    note("VmRSS")
    return store(*arguments)
claim.store_row = watched
atexit.register(note, "VmHWM")
import run
run.main()
"""


def _run(*arguments: str) -> tuple[float, float, list[float]]:
    """Seconds, those of the processor, and MiB of a command: when each of its points ended, and the peak."""
    with tempfile.NamedTemporaryFile() as log:
        start = ["-c", WATCHED.format(log=log.name), "run.py"]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *start, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"error: {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
        lines = [line.split() for line in Path(log.name).read_text().splitlines()]
    used = [int(kib) / 1024 for name, kib in lines if name == "VmRSS"]
    used.append(max(int(kib) / 1024 for name, kib in lines if name == "VmHWM"))
    return seconds, usage.ru_utime + usage.ru_stime, used


def _finish(folder: Path, num_points: int, results: str) -> None:
    """One real row and network, put where each point of the sweep looks for its own."""
    _run(*POINT, f"results_dir={folder}/one")
    (path,) = (folder / "one").rglob(ROW)
    row = read_result(path)
    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        compose = Composer(loader, loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN))
        for seed in range(num_points):
            point = compose([*POINT, f"seed={seed}", results])
            own: dict[str, Any] = {"id": point.id, "variant": point.variant, "seed": seed, "config": point.identity}
            write_result(point.directory / ROW, dataclasses.replace(row, **own))
            os.link(path.with_name(NETWORK), point.directory / NETWORK)


def _report(what: str, seconds: float, processor_seconds: float, used: list[float]) -> None:
    print(f"{what}: {seconds:.1f} s ({processor_seconds:.1f} s of the processor), peak {used[-1]:.0f} MiB")


if __name__ == "__main__":
    main()
