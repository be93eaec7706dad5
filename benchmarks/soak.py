"""Disturb sweeps of real points at random moments, type them again; count what is lost, doubled, different, left over.

    python -m benchmarks.soak [--minutes 10] [--seed 0] [--sweeps 3] [--only killed stopped …]

One sweep runs undisturbed; its rows are the truth. Then, in a new folder of results, several sweeps of the same points
start at once and are disturbed: killed (parent, a child, the whole session), told to end, stopped for seconds, their
output closed, their files kept from growing, their W&B server not there, bytes of a checkpoint, row or network changed.
At the end of each round the sweep is typed once more, undisturbed; it must end with 0 and with all rows. The draws
follow `--seed`, the moments also the machine's load. The exit code is 1 if anything but 0 was counted.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from evaluation.result import Result, read_result
from orchestration.store.owned_files import CONFIG, LEFT_OVER, LOCK, NETWORK, ROW

ROOT = Path(__file__).parent.parent
POINTS = (
    *("-m", "method=svd,lc_svd", "seed=0,1,2", "network.hidden=[24]", "num_threads=1", "checkpoint_seconds=0"),
    *("schedule.reference.epochs=4", "schedule.penalty.num_steps=3", "schedule.l_step.epochs=1"),
    "schedule.fine_tune.epochs=2",
)
NUM_POINTS = 6
NO_SERVER = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
LARGEST_FILE = 4096  # bytes, where files are kept from growing


class Sweep:
    """One start of the command, in a session of its own, disturbed in the way `way` while it runs."""

    def __init__(self, folder: Path, way: str, draw: random.Random) -> None:
        self.way = way
        self.folder = folder
        self.draw = draw
        logger = "wandb_online" if way == "no server" else "none"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "run.py", *POINTS, f"results_dir={folder}", f"logger={logger}"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if way == "output lost" else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment | (NO_SERVER if way == "no server" else {}),
            start_new_session=True,
            preexec_fn=_keep_files_small if way == "files kept small" else None,
        )

    def wait_for_rows(self, number: int) -> None:
        """Wait until it has begun, and its folder has so many rows, or until it has ended."""
        while self.process.poll() is None and not (self.folder.exists() and len(_rows(self.folder)) >= number):
            time.sleep(0.1)

    def disturb(self) -> None:
        """Do once what this start's way says; a process that has ended is left alone."""
        with suppress(ProcessLookupError, PermissionError):
            WAYS[self.way](self)

    def end(self) -> None:
        """Kill whatever of it still runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _processes(self) -> list[int]:
        """Return the pids of its session, in order."""
        listed = subprocess.run(["ps", "-Ao", "pid=,sid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        return sorted(pid for pid, session in pairs if session == self.process.pid)

    def kill_all(self) -> None:
        """Kill the whole session at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def kill_one(self) -> None:
        """Kill one of its processes but the first."""
        if others := self._processes()[1:]:
            os.kill(self.draw.choice(others), signal.SIGKILL)

    def stop_one(self) -> None:
        """Let one of its processes stand still for up to four seconds."""
        if found := self._processes():
            pid = self.draw.choice(found)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.draw.uniform(0.5, 4))
            os.kill(pid, signal.SIGCONT)

    def change_bytes(self) -> None:
        """Overwrite 64 bytes somewhere in a file below the folder of results."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.suffix in (".pt", ".json"))
        if found:
            with suppress(FileNotFoundError), self.draw.choice(found).open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(self.draw.randrange(max(size - 64, 1)))
                file.write(self.draw.randbytes(64))

    def close_output(self) -> None:
        """Close the pipe that its lines go into."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def send(self, name: signal.Signals) -> None:
        """Send a signal to its first process, as a scheduler or a terminal does."""
        os.kill(self.process.pid, name)


WAYS: dict[str, Callable[[Sweep], None]] = {
    "killed": lambda sweep: sweep.send(signal.SIGKILL),
    "all killed": Sweep.kill_all,
    "child killed": Sweep.kill_one,
    "told to end": lambda sweep: sweep.send(signal.SIGTERM),
    "interrupted": lambda sweep: sweep.send(signal.SIGINT),
    "hung up": lambda sweep: sweep.send(signal.SIGHUP),
    "stopped": Sweep.stop_one,
    "bytes changed": Sweep.change_bytes,
    "output lost": Sweep.close_output,
    "files kept small": lambda sweep: None,
    "no server": lambda sweep: None,
}


def main() -> None:
    """Soak, print what each round did, and the four sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweeps", type=int, default=3, help="how many start at once, at most")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=[*WAYS], help="ways of disturbing")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    sums: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        truth = _undisturbed(Path(name) / "truth", sums)
        if len(truth) != NUM_POINTS:
            sys.exit(f"error: the undisturbed sweep has {len(truth)} rows that are ok, expected {NUM_POINTS}")
        end = time.monotonic() + 60 * options.minutes
        number = 0
        while time.monotonic() < end:
            number += 1
            ways = [draw.choice(options.only) for _ in range(draw.randint(1, options.sweeps))]
            print(f"round {number}: {', '.join(ways)}", flush=True)
            sums.update(_round(Path(name) / str(number), ways, truth, draw))
    print(f"{number} rounds, {sums['starts']} disturbed starts, {sums['finished']} rows finished before the last")
    wrong = {kind: sums[kind] for kind in ("lost", "doubled", "different", "left over")}
    print(*(f"{kind}: {count}" for kind, count in wrong.items()), sep="\n")
    sys.exit(int(any(wrong.values())))


def _round(folder: Path, ways: list[str], truth: dict[str, Result], draw: random.Random) -> Counter[str]:
    """Disturb sweeps on `folder` in `ways`, finish undisturbed, and count against `truth`."""
    found: Counter[str] = Counter(starts=len(ways))
    sweeps = [Sweep(folder, way, draw) for way in ways]
    for sweep in draw.sample(sweeps, len(sweeps)):
        sweep.wait_for_rows(draw.randrange(NUM_POINTS - 1))
        time.sleep(draw.uniform(0, 3))
        sweep.disturb()
    time.sleep(draw.uniform(0, 5))
    for sweep in sweeps:
        sweep.end()
    before = _rows(folder)
    found["finished"] = len(before)
    rows = _undisturbed(folder, found)
    found["lost"] += len(truth.keys() - rows.keys())
    if "bytes changed" not in ways:  # a row whose network was changed is computed again, as it must be
        found["doubled"] += sum(rows[i].started != before[i].started for i in before.keys() & rows.keys())
    for i in rows.keys() & truth.keys():
        if _numbers(rows[i]) != _numbers(truth[i]):
            print(f"  different: {rows[i].id}\n    {_numbers(truth[i])}\n    {_numbers(rows[i])}")
            found["different"] += 1
    for path in folder.rglob("*"):
        if path.name == LOCK or (LEFT_OVER.fullmatch(path.name) and path.name not in (ROW, NETWORK, CONFIG)):
            print(f"  left over: {path.relative_to(folder)}")
            found["left over"] += 1
    for pid in _holding(folder):
        print(f"  still runs: {pid}")
        found["left over"] += 1
    return found


def _undisturbed(folder: Path, found: Counter[str]) -> dict[str, Result]:
    """Run the sweep to its end; return its rows by id, and count as lost an end that is not 0."""
    command = [sys.executable, "run.py", *POINTS, f"results_dir={folder}", "logger=none"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"  ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found["lost"] += 1
    return _rows(folder)


def _rows(folder: Path) -> dict[str, Result]:
    """Return the rows that are ok, by id; what cannot be read is none."""
    rows = {}
    for path in folder.rglob(ROW):
        with suppress(ValueError, OSError):
            row = read_result(path)
            if row.is_ok:
                rows[row.id] = row
    return rows


def _numbers(row: Result) -> tuple[object, ...]:
    """Return what a disturbance must not change."""
    measures = (row.reference, row.compressed)
    accuracies = tuple(m and (m.test_top1_percent, m.test_loss, m.num_params) for m in measures)
    return (*accuracies, tuple((name, str(layer["rank"])) for name, layer in row.layers.items()))


def _holding(folder: Path) -> list[int]:
    """Return the processes that have `folder` in their command."""
    listed = subprocess.run(["ps", "-Awwo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if f"results_dir={folder} " in f"{line} "]


def _keep_files_small() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing raises instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


if __name__ == "__main__":
    main()
