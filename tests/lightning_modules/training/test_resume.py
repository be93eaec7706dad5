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

from datamodules.memory.digits import Digits
from datamodules.memory.in_memory import Images
from decompositions import load_network
from decompositions.search.c_step import RankSearch
from evaluation.result import read_result
from lightning_modules.training.checkpoint import Checkpoint, Position, origin
from lightning_modules.training.classifier import Classifier
from orchestration.run.run_point import run_point
from tests.conftest import ROOT

# A network that draws random numbers, momentum, decays, and several epochs a phase.
COMMON = (
    "network._target_=tests.conftest.dropout_mlp", "network.hidden=[24,16]", "checkpoint_seconds=0",
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
    "prune": ("method.share=0.3",),
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
    """All that a row says of the computation, the curve of the reference, and the network; not the times."""
    numbers = [
        {k: v for k, v in dataclasses.asdict(side).items() if k not in ("latency_ms", "peak_memory_mib", "seconds")}
        for side in (result.reference, result.compressed)
    ]
    state = load_network(folder / "network.pt").state_dict()
    (about,) = (folder.parents[3] / "references").rglob("*.json")
    curve = json.loads(about.read_text())["curve"]
    assert [entry["epoch"] for entry in curve] == list(range(1, result.reference.epochs + 1))
    assert curve[-1]["validation_top1_percent"] == result.reference.validation_top1_percent
    return json.dumps([numbers, result.layers, result.history, result.violation, result.rank_reason, curve]), state


def assert_equal(first, second) -> None:
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def places(method: str) -> list[tuple]:
    """Where to kill: in the middle of a C step, of an epoch, before and after a checkpoint is in place."""
    return [
        (RankSearch, "__call__", (1, 3) if method in ("lc_svd", "admm_tucker", "gradual") else (1,), False),
        (Classifier, "training_step", (30, 60, 150), False),
        (Checkpoint, "write", (2, 5, 8), True),
        (Checkpoint, "update", (1,), False),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_killed_anywhere_ends_alike(make_point, monkeypatch, method, tmp_path):
    overrides = [*COMMON, f"method={method}", *METHODS[method]]
    if "rank=latency" in overrides:  # measured: what a clock says does not repeat, so it is said here
        from decompositions.search import c_step

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
            for time in range(2 if name == "training_step" else 1):  # the run that goes on is killed too
                with monkeypatch.context() as patched:
                    killer(patched, owner, name, at + 7 * time, after)
                    try:
                        run_point(point)
                    except Killed:
                        killed_times += 1
                        assert not (point.directory / "result.json").exists()
            again = run_point(point)
            assert again.status == "ok", again.status
            assert_equal(expected, outcome(point.directory, again))
            assert not list(point.results_dir.rglob("*.ckpt")) and not list(point.results_dir.rglob("checkpoint.pt"))
    assert killed_times >= 6, "hardly any run was killed: the test tests nothing"


def test_a_file_that_is_written_now_and_then_is_enough(make_point, monkeypatch, tmp_path):
    """The usual case: most epochs and steps leave no checkpoint, and the run resumes from an earlier one."""
    overrides = [*COMMON, "method=lc_svd", *METHODS["lc_svd"]]
    whole_point = make_point(*overrides)
    expected = outcome(whole_point.directory, run_point(whole_point))
    for number, at in enumerate((80, 130, 170, 210)):
        point = make_point(*overrides, f"results_dir={tmp_path / str(number)}")
        with monkeypatch.context() as patched:
            calls: list[None] = []
            patched.setattr(Checkpoint, "is_due", lambda self, calls=calls: calls.append(None) or len(calls) % 4 == 0)
            killer(patched, Classifier, "training_step", at, after=False)
            with pytest.raises(Killed):
                run_point(point)
        assert_equal(expected, outcome(point.directory, run_point(point)))


def killed_in_fine_tuning(make_point, monkeypatch, *overrides):
    point = make_point("network.hidden=[16]", "method=svd", "rank.share=0.5", "checkpoint_seconds=0", *overrides)
    with monkeypatch.context() as patched:
        killer(patched, Classifier, "training_step", 2 * 23 + 10, after=False)
        with pytest.raises(Killed):
            run_point(point)
    assert (point.directory / "checkpoint.pt").exists()
    return point


FINE_TUNE = ("schedule.fine_tune.epochs=4", "schedule.batch_size=64")


def test_a_checkpoint_of_other_data_is_left_alone(make_point, monkeypatch, capsys):
    """The same folder with other pictures is the same point: the reference is trained anew, and so is the rest."""
    point = killed_in_fine_tuning(make_point, monkeypatch, *FINE_TUNE)
    real = Digits.load

    def shifted(self):
        train, validation, test = real(self)
        return Images(train.images.flip(-1), train.labels), validation, test

    with monkeypatch.context() as patched:
        patched.setattr(Digits, "load", shifted)
        result = run_point(point)
    said = capsys.readouterr().out
    assert result.is_ok and "cannot be used (it is of another reference)" in said.replace("\n", " ")
    assert result.compressed.epochs == 4


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_said_and_left(make_point, monkeypatch, capsys, damage):
    point = killed_in_fine_tuning(make_point, monkeypatch, *FINE_TUNE)
    path = point.directory / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-500] if damage is None else damage)
    result = run_point(point)
    assert result.is_ok and "starting over" in capsys.readouterr().out
    assert not path.exists()


def test_force_begins_anew_and_then_goes_on(make_point, monkeypatch, capsys):
    done = run_point(make_point("network.hidden=[16]", "method=svd", "rank.share=0.5", *FINE_TUNE))
    point = killed_in_fine_tuning(make_point, monkeypatch, "force=true", *FINE_TUNE)
    capsys.readouterr()
    result = run_point(point)
    assert "resuming from" in capsys.readouterr().out
    assert result.compressed.test_loss == done.compressed.test_loss
    assert result.started != done.started or result.seconds != done.seconds


def test_a_full_disk_stops_no_training(make_point, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runtime.atomic.os.replace", full)
    checkpoint = Checkpoint(make_point().results_dir / "checkpoint.pt", 0, origin(of="x"))
    checkpoint.update(Position({"a": torch.ones(2)}))
    assert "no checkpoint: " in capsys.readouterr().out


def test_the_largest_seed_trains(make_point):
    assert run_point(make_point("network.hidden=[8]", "method=reference", f"seed={2**31 - 1}")).status == "ok"


@pytest.mark.parametrize("call", ["decompositions.search.c_step.RankSearch.__call__", "torch.optim.SGD.step"])
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
        assert ("resuming from" in done.stdout) == kill
        (path,) = (tmp_path / folder).rglob("result.json")
        result = read_result(path)
        results.append(outcome(path.parent, result))
    assert_equal(*results)
