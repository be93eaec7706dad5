"""Run a point on several devices, in a group of processes that torchrun starts and that ends with the point.

Lightning's own way starts the command line again in each process, sweep and all: its ranks then run through different
points and average their gradients. Here the processes get one point, in a file, and write one row.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from orchestration.config.cluster import Node
from orchestration.config.point import Point
from orchestration.paths import python_path
from orchestration.store.claim import Claim
from orchestration.store.owned_files import LOCK
from runtime.console import console
from runtime.file_lock import Lock
from runtime.messages import one_line
from runtime.process import ProcessId

# Another process may train the reference that all wait for; a process that dies ends the group at once.
PATIENCE = timedelta(days=7)
GRACE_SECONDS = 60  # torchrun gives its processes 30
WATCH_SECONDS = 0.5
PARTING_SECONDS = 5  # wait, so that rank 0 can write its row before torchrun kills the group
ASKED = re.compile(r"SignalException: Process \d+ got signal: (\d+)")
MESSAGE = re.compile(r"^error: (process \d+: .*)$", re.MULTILINE)


def run_processes(point: Point, num: int, node: Node, own: Claim | None = None) -> str | None:
    """Run `num` processes of `point` on this node; return None, or in one line why they ended badly.

    `own` is the claim on the point, which node 0 has. What they write to standard error goes to `processes.log`.
    """
    node_suffix = f".{node.rank}" if node.rank else ""
    task_file, log = point.directory / f"point{node_suffix}.json", point.directory / f"processes{node_suffix}.log"
    owner = ProcessId.this_process() if own is None else own.lock.owner
    keeps_row = own is not None and own.keeps_row
    payload = {"point": dataclasses.asdict(point), "owner": dataclasses.asdict(owner), "keeps_row": keeps_row}
    task_file.write_text(json.dumps(payload), encoding="utf-8")
    threads = point.config["num_threads"] or max(1, torch.get_num_threads() // num)  # a launcher says how many
    command = [
        *(sys.executable, "-m", "torch.distributed.run", *node.torchrun(point.id), f"--nproc-per-node={num}"),
        *("-m", "orchestration.run.worker", str(task_file.absolute())),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": python_path()}
    code = None
    with log.open("w", encoding="utf-8") as errors:
        # In a session of its own: torchrun ends its processes at a SIGHUP that this one is told to ignore.
        process = subprocess.Popen(command, stderr=errors, env=environment, start_new_session=True)
        try:
            code = process.wait()
        finally:
            _end(process)
            task_file.unlink(missing_ok=True)
            if not code:  # nobody is told to look at it
                log.unlink(missing_ok=True)
    return None if code == 0 else f"{_reason(log.read_text(encoding='utf-8', errors='replace'), code)} (see {log})"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End torchrun if it runs. It passes SIGTERM on; if it is killed instead, its processes notice that themselves."""
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when a second signal ends the waiting
        process.kill()
        process.wait()


def _reason(log: str, code: int) -> str:
    """Return which process ended first and how, from what torchrun and its processes wrote and torchrun's exit code.

    A process that was killed says nothing, and the others then say that they lost it.
    """
    if code < 0:
        return f"torchrun was killed by signal {-code}"
    if asked := ASKED.search(log):
        return f"torchrun was told to end by signal {asked[1]}"
    _, _, summary = log.rpartition("Root Cause")
    rank = re.search(r"rank\s*: (\d+)", summary)
    exit_code = re.search(r"exitcode\s*: (-?\d+)", summary)
    if rank is not None and exit_code is not None and int(exit_code[1]) < 0:
        return f"process {rank[1]} was killed by signal {-int(exit_code[1])}"
    if found := MESSAGE.search(log):
        return found[1]
    if rank is not None and exit_code is not None:
        return f"process {rank[1]} ended with {exit_code[1]}"
    return f"the processes did not start: torchrun ended with {code}"


def read_claim(task_file: Path) -> Claim:
    """Return the claim on the point that `run_processes` wrote down, and end this process with the one that did.

    The process that started this one holds the lock of the point: without it another may begin.
    """
    stored = json.loads(task_file.read_text(encoding="utf-8"))
    owner = ProcessId(**stored["owner"])
    threading.Thread(target=_watch, args=(owner, os.getppid()), daemon=True).start()
    nested = {place: tuple(choice) for place, choice in stored["point"]["nested_choices"].items()}
    lists = {"overrides": tuple(stored["point"]["overrides"]), "nested_choices": nested}
    point = Point(**stored["point"] | lists)
    return Claim(point, Lock(point.directory / LOCK, owner), stored["keeps_row"])


def _watch(owner: ProcessId, torchrun: int) -> None:
    """End this process with those that started it: torchrun puts it into a session that their signals do not reach."""
    while owner.is_alive and os.getppid() == torchrun:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


@contextmanager
def report_failure() -> Iterator[None]:
    """Report what the block raises in a process other than rank 0, and exit.

    It waits first, so that rank 0 can write its row before torchrun kills the group.
    """
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {one_line(error)}"
        print(f"error: process {distributed.get_rank()}: {message}", file=sys.stderr, flush=True)
        time.sleep(PARTING_SECONDS)
        sys.exit(1)


def join(accelerator: str) -> None:
    """Join the process group of a point, on the CPU or on this process's GPU; only rank 0 prints."""
    cuda = accelerator == "gpu"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    console.quiet = distributed.get_rank() > 0
