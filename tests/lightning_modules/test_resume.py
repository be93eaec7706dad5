"""A run that is killed, wherever, goes on and ends with the numbers of one that was never stopped: bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from decompositions import load_network
from decompositions.c_step import RankSearch
from evaluation.result import read_result
from lightning_modules.checkpoint import Checkpoint
from lightning_modules.classifier import Classifier
from orchestration.job import run_point

# A network that draws random numbers, momentum, decays, and several epochs a phase.
COMMON = (
    "network._target_=conftest.dropout_mlp", "network.hidden=[24,16]", "checkpoint_seconds=0",
    "schedule.reference.epochs=3", "schedule.l_step.epochs=2", "schedule.fine_tune.epochs=4",
    "schedule.from_scratch.epochs=3", "schedule.penalty.num_steps=3",
)  # fmt: skip
METHODS = {
    "lc_svd": ("rank.weight=0.3",),
    "lc_cur": ("rank.weight=0.3", "method.multipliers=false"),
    "admm_tucker": ("rank.share=0.5", "schedule.distillation.weight=0.5"),
    "alternating_tucker": ("rank.epsilon=5.0",),
    "direct": ("rank=latency", "rank.num_ranks=3", "rank.share=0.95"),
    "gradual": ("rank.share=0.5",),
    "scratch": ("decomposition=ntt", "decomposition.norm=batch", "rank.share=0.6"),
}


class Killed(BaseException):
    """Nothing in the suite catches this: what is on disk is what a killed process leaves."""


def killer(monkeypatch, owner, name: str, at: int, after: bool):
    """Make the call number `at` of `owner.name` the last thing that the process does."""
    real, calls = getattr(owner, name), []

    def wrapper(*args, **kwargs):
        calls.append(None)
        if len(calls) == at and not after:
            raise Killed
        result = real(*args, **kwargs)
        if len(calls) == at:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def outcome(folder, result) -> tuple:
    """All that a row says of the computation, and the network; not the times."""
    numbers = [
        {k: v for k, v in dataclasses.asdict(side).items() if k not in ("latency_ms", "peak_memory_mib", "seconds")}
        for side in (result.reference, result.compressed)
    ]
    state = load_network(folder / "network.pt").state_dict()
    return json.dumps([numbers, result.layers, result.history, result.violation, result.rank_reason]), state


def assert_equal(first, second) -> None:
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def places(method: str) -> list[tuple]:
    """Where to kill: in the middle of a C step, of an epoch, before and after a checkpoint is in place."""
    return [
        (RankSearch, "__call__", (1, 3) if method in ("lc_svd", "admm_tucker", "gradual") else (1,), False),
        (Classifier, "training_step", (1, 60, 150), False),
        (Checkpoint, "write", (2, 5, 8), True),
        (Checkpoint, "note", (1,), False),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_killed_anywhere_ends_alike(make_point, monkeypatch, method, tmp_path):
    overrides = [*COMMON, f"method={method}", *METHODS[method]]
    if "rank=latency" in overrides:  # measured: what a clock says does not repeat, so it is said here
        from decompositions import c_step

        times = iter(range(10_000))
        monkeypatch.setattr(c_step, "layer_latency_ms", lambda f, s, ranks, b: [5.0 - next(times) % 3 for _ in ranks])
    whole_point = make_point(*overrides, tiny=True)
    whole = run_point(whole_point)
    assert whole.status == "ok", whole.status
    expected = outcome(whole_point.directory, whole)
    killed_times = 0
    for owner, name, numbers, after in places(method):
        for at in numbers:
            point = make_point(*overrides, f"results_dir={tmp_path / f'{owner.__name__}{name}{at}'}")
            with monkeypatch.context() as patched:
                killer(patched, owner, name, at, after)
                try:
                    run_point(point)
                except Killed:
                    killed_times += 1
                    assert not (point.directory / "result.json").exists()
            again = run_point(point)
            assert again.status == "ok", again.status
            assert_equal(expected, outcome(point.directory, again))
            assert not list(point.results_dir.rglob("*.ckpt")) and not list(point.results_dir.rglob("checkpoint.pt"))
    assert killed_times >= 5, "hardly any run was killed: the test tests nothing"


@pytest.mark.parametrize("call", ["decompositions.c_step.RankSearch.__call__", "torch.optim.SGD.step"])
def test_kill_minus_nine_and_the_same_command(tmp_path, call):
    """A real process, really killed: in a C step, and in the middle of an epoch of an L step."""
    module, owner, name = call.rsplit(".", 2)
    at = {"RankSearch": 3, "SGD": 150}[owner]
    code = (
        f"import importlib, os, signal, sys; owner = getattr(importlib.import_module({module!r}), {owner!r})\n"
        f"real, calls = owner.{name}, []\n"
        "def wrapper(*args, **kwargs):\n"
        "    calls.append(None)\n"
        f"    if len(calls) == {at}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*args, **kwargs)\n"
        f"owner.{name} = wrapper\n"
        "sys.argv = ['run.py', *sys.argv[1:]]\n"
        "import run; run.main()\n"
    )
    results = []
    for folder, kill in (("whole", False), ("killed", True)):
        command = [*COMMON, "network._target_=networks.mlp.mlp", "rank.weight=0.3", "logger=none"]
        command += [f"results_dir={tmp_path / folder}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if kill:
            done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, env=environment, timeout=120)
            assert done.returncode == -signal.SIGKILL
            assert not list((tmp_path / folder).rglob("result.json"))
        done = subprocess.run(
            [sys.executable, "run.py", *command], cwd=ROOT, env=environment, timeout=120, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert ("goes on from" in done.stdout) == kill
        (path,) = (tmp_path / folder).rglob("result.json")
        result = read_result(path)
        results.append(outcome(path.parent, result))
    assert_equal(*results)
