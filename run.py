"""Run one point, or with -m a sweep, of dataset × network × method.

python run.py                                                the default: digits, a small network, lc_svd
python run.py dataset=mnist network=lenet300 method=lc_cur rank.weight=0.3
python run.py -m method=svd,lc_svd,lc_cur seed=0,1,2         all combinations
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from orchestration.config import resolvers
from orchestration.config.departures import note_of
from orchestration.config.error_messages import exit_on_user_error
from orchestration.config.overrides import normalize_overrides
from orchestration.config.point import Point
from orchestration.errors import RunsElsewhere
from orchestration.store.claim import remove_dead_lock, taken
from orchestration.store.status import read_status
from orchestration.sweep.plan import make_plan, print_plan
from orchestration.sweep.preflight import require_checked
from runtime.console import say
from runtime.file_lock import DEAD_AFTER_SECONDS
from runtime.output import keep_output
from runtime.signals import Interrupted

if TYPE_CHECKING:
    from evaluation.result import Result

WHERE_IT_IS_SAID = "the run goes on, and run.log beside each row has what it says"

resolvers.register()
# The memory profiler speaks of allocations that it did not see; both are read when torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(config: DictConfig) -> str:
    """Check the composed configuration, run it and print its row; return the status, which a launcher passes on."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        point = Point.from_hydra(config, hydra_config)
        # Our sweepers launch nothing then; a plan never trains, whoever launches it.
        return "planned" if point.config["plan"] else _status_in_launcher(point)
    for group, usual in (("launcher", "basic"), ("hydra/sweeper", "plan")):
        if (option := hydra_config.runtime.choices[group]) != usual:
            sys.exit(f"error: {group}={option}: it is for the points of a sweep; put -m before them")
    with exit_on_user_error():  # here and not in `main` alone: Hydra would print the overrides before the reason
        point = Point.from_hydra(config, hydra_config)
        if (note := note_of(point)) is not None:
            say(note)
        if point.config["plan"]:
            status = read_status(point)
            require_checked([point] if status.is_to_run else [], is_here=True)
            print_plan(make_plan([point], [status]))
            return "planned"
        result = _row_of(point)
    if not result.is_ok:
        sys.exit(f"error: {result.status}  ({point.directory})")
    from orchestration.sweep.best import print_best
    from reporting.print_result import print_result

    print_result(result, point.directory)
    print_best([point])
    return result.status


def _status_in_launcher(point: Point) -> str:
    """Run a point in a launcher's process and return how it ended.

    A crashed machine's lock looks alive until its heartbeat expires; launcher jobs retry once after that.
    """
    keep_output(WHERE_IT_IS_SAID)
    for seconds in (DEAD_AFTER_SECONDS, None):
        try:
            return _row_of(point).status
        except RunsElsewhere as error:
            if seconds is None:
                say(str(error))
                break
            time.sleep(seconds)
    return "running elsewhere"


def _row_of(point: Point) -> Result:
    """Return the finished row of a point, or run it; raises `RunsElsewhere` if another process does."""
    status = read_status(point)
    if status.kind == "running elsewhere":
        raise RunsElsewhere(f"{point.label}: {status}")
    if status.kind == "done" and status.row is not None:
        remove_dead_lock(point)
        return taken(point, status.row)
    from orchestration.run.run_point import run_point  # torch and Lightning: only for what is to be run

    return run_point(point)


def main() -> None:
    """Run the command: a mistake of the user is one line and exit code 1; an interruption is exit code 129, 130
    or 143.
    """
    keep_output(WHERE_IT_IS_SAID)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # what it says, not a line of source
    sys.argv[1:] = normalize_overrides(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors over instead of printing them
    try:
        with exit_on_user_error():
            run()
    except (KeyboardInterrupt, Interrupted) as error:
        print(
            "interrupted; run the same command to resume what is not finished (with force=true: all points)",
            file=sys.stderr,
        )
        sys.exit(error.exit_code if isinstance(error, Interrupted) else 130)


if __name__ == "__main__":
    main()
