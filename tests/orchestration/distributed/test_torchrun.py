"""A point in several processes: the numbers of one, one row, and nothing left of it, whatever happens to a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch

from datamodules.batches import share_of
from evaluation.result import read_result
from orchestration.distributed.torchrun import _reason
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from tests.commands import Started, run_script
from tests.conftest import TINY

# 1,167 samples in batches of 64: the last one has 15, an uneven number for two processes.
POINT = (
    "num_threads=1",
    "network.hidden=[24,16]",
    "schedule.batch_size=64",
    "method=alternating_tucker",
    "metric=gram",
)
TWO = ("trainer.devices=2",)


def processes(folder) -> list[str]:
    """Torchrun's and its own, of points whose results are below `folder`: other tests may start some too."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "orchestration.run.worker" in line and str(folder) in line]


def workers_that_train(folder) -> list[int]:
    """Wait until both processes of the first point are in the training of its reference."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        started = [line for line in processes(folder) if "torch.distributed" not in line]
        if len(started) == 2 and list(folder.rglob("references/**/*.lock")):
            time.sleep(1)
            return sorted(int(line.split()[0]) for line in started)
        time.sleep(0.1)
    raise AssertionError("no two processes train")


@pytest.mark.slow
def test_two_processes_compute_what_one_does(make_point, capfd):
    alone = run_point(make_point(*POINT))
    point = make_point(*POINT, *TWO)
    together = run_point(point)
    assert alone.status == together.status == "ok", together.status
    assert processes(point.results_dir) == []
    said = capfd.readouterr().out
    assert said.count("reference trained: 2 epochs") == 2, "each process speaks, or none"
    curves = [
        json.loads(path.read_text())["curve"] for path in sorted((point.results_dir / "references").rglob("*.json"))
    ]
    assert len(curves) == 2
    for one, other in zip(*curves, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
        assert one["validation_top1_percent"] == pytest.approx(other["validation_top1_percent"], abs=0.6)
    for one, other in zip(alone.history, together.history, strict=True):
        assert one["ranks"] == other["ranks"]
        assert one["violation"] == pytest.approx(other["violation"], rel=1e-3)
    for side in ("reference", "compressed"):
        one, other = getattr(alone, side), getattr(together, side)
        assert one.test_loss == pytest.approx(other.test_loss, rel=1e-3)
        assert one.num_params == other.num_params
        assert one.epochs == other.epochs
    assert len(list(point.directory.rglob("result.json"))) == 1
    assert not (point.directory / "point.json").exists()
    assert not (point.directory / "processes.log").exists(), "nobody is told to look at it"
    assert run_point(point) == together, "taken from the disk"


def rank_of(pid: int) -> str:
    return dict(line.partition("=")[::2] for line in Path(f"/proc/{pid}/environ").read_text().split("\0"))["RANK"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "number", "said"),
    [
        ("0", signal.SIGKILL, "process 0 was killed by signal 9 (see "),
        ("1", signal.SIGKILL, "process 1 was killed by signal 9 (see "),
        ("torchrun", signal.SIGKILL, "torchrun was killed by signal 9 (see "),
        ("torchrun", signal.SIGTERM, "torchrun was told to end by signal 15 (see "),
    ],
)
def test_a_process_that_is_killed_fails_its_point_alone(make_point, who, number, said):
    point = make_point(*POINT, *TWO, "schedule.reference.epochs=100000")

    def kill() -> None:
        pids = {rank_of(pid): pid for pid in workers_that_train(point.results_dir)}
        (pids["torchrun"],) = (
            int(line.split()[0]) for line in processes(point.results_dir) if "torch.distributed" in line
        )
        os.kill(pids[who], number)

    thread = threading.Thread(target=kill)
    thread.start()
    result = run_point(point)
    thread.join()
    assert result.status.startswith(f"failed: {said}"), result.status
    assert read_result(point.directory / "result.json").status == result.status
    deadline = time.monotonic() + 60  # without torchrun they notice it themselves
    while processes(point.results_dir) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(point.results_dir) == []


@pytest.mark.slow
def test_nothing_outlives_the_command(tmp_path):
    """Killed, it takes its processes along, so that the next start is alone; told to end, it says so in the row."""
    arguments = [*TINY, *POINT, *TWO, "schedule.reference.epochs=100000", f"results_dir={tmp_path / 'results'}"]
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        with Started(run_script, "run.py", arguments, cwd=tmp_path) as started:
            workers_that_train(tmp_path)
            started.send_signal(number)
            done = started.wait()
        out = done.stdout + done.stderr
        assert done.returncode == code, out
        deadline = time.monotonic() + 20 * (number == signal.SIGKILL)
        while (left := processes(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
    assert "was killed" in out, "the second start says so of the first"
    (path,) = tmp_path.rglob("result.json")
    assert read_result(path).status == "interrupted: SIGTERM"
    assert not list(tmp_path.rglob("digits/**/.lock")) + list(tmp_path.rglob("point.json"))


def test_batches_are_shared_evenly_or_refused(make_point):
    from orchestration.run.build import build_components

    with pytest.raises(ConfigError, match=r"schedule.batch_size: expected a multiple of the 3 trainer.devices, got 64"):
        build_components(make_point("trainer.devices=3", "schedule.batch_size=64"))


@pytest.mark.parametrize("num", [1, 2, 3, 7, 15, 64])
def test_parts_of_a_batch(num):
    index = torch.arange(num) + 5
    components = [share_of(index, slice(rank, None, 3), training=False) for rank in range(3)]
    assert sorted(torch.cat(components).tolist()) == index.tolist()
    components = [share_of(index, slice(rank, None, 3), training=True) for rank in range(3)]
    assert min(map(len, components)) > 0
    if num < 3:
        assert all(part.tolist() == index.tolist() for part in components)
    assert torch.equal(share_of(index, slice(None), training=True), index)


NETWORK = """
import torch
from torch import distributed, nn

class Net(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        trains = self.training and torch.is_grad_enabled()  # and is not just tried
        if trains and distributed.is_initialized() and distributed.get_rank() in {ranks}:
            raise MemoryError("there is no more")
        return self.fc(x.flatten(1))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "status"),
    [("{1}", "failed: process 1: MemoryError: there is no more (see "), ("{0, 1}", "failed: MemoryError: there is no")],
)
def test_the_reason_is_that_of_the_process_that_had_it(make_point, tmp_path, monkeypatch, ranks, status):
    """Not what the first one says of a connection that it lost."""
    (tmp_path / "failing_network.py").write_text(NETWORK.replace("{ranks}", ranks))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    point = make_point(
        "num_threads=1", "method=reference", "network=custom", "network.target=failing_network.Net", *TWO
    )
    result = run_point(point)
    assert result.status.startswith(status)
    assert read_result(point.directory / "result.json").status == result.status


LOST = "error: process 1: RuntimeError: Connection closed by peer\n"
SUMMARY = "Root Cause (first observed failure):\n  rank      : 0 (local_rank: 0)\n  exitcode  : {} (pid: 7)\n"


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("", -9, "torchrun was killed by signal 9"),
        (f"{LOST}torch.SignalException: Process 7 got signal: 15\n", 1, "torchrun was told to end by signal 15"),
        (LOST + SUMMARY.format(-9), 1, "process 0 was killed by signal 9"),
        (LOST + SUMMARY.format(1), 1, "process 1: RuntimeError: Connection closed by peer"),
        (SUMMARY.format(3), 1, "process 0 ended with 3"),
        ("no such module\n", 2, "the processes did not start: torchrun ended with 2"),
    ],
)
def test_the_cause_is_what_ended_first(log, code, said):
    assert _reason(log, code) == said
