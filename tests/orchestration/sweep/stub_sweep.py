"""The real command with points that only write a row: no torch, so that it can be killed many times.

    python tests/orchestration/sweep/stub_sweep.py <seed> <number of kills> <number at once> <arguments of run.py …>

Every start is a fork of one process that has imported everything. Each start but the last is killed at a random moment.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import types
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import run as command
from evaluation.result import Measure, Result, read_result
from orchestration.config.point import Point
from orchestration.store.claim import Claim, claim
from orchestration.store.owned_files import ROW
from orchestration.store.point_files import finished, new_row
from runtime.zip_records import records_digest

MEASURE = Measure(90.0, None, 0.5, 90.0, 10, 10, 40, {"1": 1.0}, {"1": 1.0}, 1, 1.0)


def run_point(point: Point) -> Result:
    def work(own: Claim) -> Result:
        note(point, "begins")
        assert finished(point) is None, "done twice"
        own.begin()
        if str(point.config["seed"]) == os.environ.get("STUB_IS_KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(point.config["seed"]) == os.environ.get("STUB_FAILS"):
            result = own.store(Result(**new_row(point, "stub"), status="failed: as told", seconds=0.0, environment={}))
            assert result is not None
            return result
        time.sleep(0.02)
        with zipfile.ZipFile(own.pending_network, "w") as file:
            file.writestr("weights", os.urandom(100_000))
        time.sleep(0.01)
        row = new_row(point, "stub") | {"reference": MEASURE, "compressed": MEASURE}
        row["network_digest"] = records_digest(own.pending_network)
        result = own.store(Result(**row, status="ok", seconds=0.0, environment={}))
        assert result is not None
        note(point, "ends")
        return result

    return claim(point, work)


def build_components(point: Point) -> None:
    """Die as a process does that builds a network larger than the memory."""
    if str(point.config["network"].get("hidden")) == os.environ.get("STUB_TOO_LARGE"):
        os.kill(os.getpid(), signal.SIGKILL)


def note(point: Point, what: str) -> None:
    with (point.results_dir / "journal").open("a", encoding="utf-8") as journal:
        journal.write(f"{point.id} {what}\n")


def stub() -> None:
    """Put modules without torch in the place of those that have it."""
    components = {
        "orchestration.run.run_point": {"run_point": run_point},
        "orchestration.run.build": {"build_components": build_components},
        "evaluation.counts": {"COUNTING": "none"},
        "evaluation.latency": {"PROTOCOL": "none"},
    }
    for name, content in components.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module


def start(arguments: list[str]) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        sys.argv = ["run.py", *arguments]
        command.main()
        code = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def folder_of(arguments: list[str]) -> str:
    (folder,) = (argument.partition("=")[2] for argument in arguments if argument.startswith("results_dir="))
    return folder


def journal_size(arguments: list[str]) -> int:
    path = Path(folder_of(arguments)) / "journal"
    return path.stat().st_size if path.exists() else 0


def main() -> None:
    seed, num_kills, num_at_once = (int(argument) for argument in sys.argv[1:4])
    arguments = sys.argv[4:]
    stub()
    draw = random.Random(seed)
    for _ in range(num_kills):
        size = journal_size(arguments)
        pids = [start(arguments) for _ in range(num_at_once)]
        if draw.random() < 0.2:  # while it plans
            time.sleep(draw.uniform(0, 0.5))
        else:
            while journal_size(arguments) == size and not has_ended(pids[0]):
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.15))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for path in Path(folder_of(arguments)).rglob(ROW):
            read_result(path)  # raises if it is not whole
    pids = [start(arguments) for _ in range(num_at_once)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    print("CODES", *codes)
    print("TORCH", "torch" in sys.modules)


if __name__ == "__main__":
    main()
