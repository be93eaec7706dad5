"""A run that is killed, wherever, resumes and ends with the bits of one that was never stopped."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

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
from tests.commands import Started, run_script

# A network that draws random numbers, momentum, decays, and several epochs a phase.
COMMON = (
    "network._target_=tests.conftest.dropout_mlp", "network.hidden=[24,16]", "checkpoint_seconds=0",
    "schedule.reference.epochs=3", "schedule.l_step.epochs=2", "schedule.fine_tune.epochs=4",
    "schedule.from_scratch.epochs=3", "schedule.penalty.num_steps=3",
)  # fmt: skip
METHODS = {
    "lc_svd": ("rank.weight=0.3", "metric=covariance"),
    "lc_cur": ("rank.weight=0.3", "method.multipliers=false", "metric=gram", "method.measure_metric=once"),
    "admm_svd": ("rank.share=0.5", "schedule.keep_momentum=true", "decay@schedule.decay_over_l_steps=steps"),
    "admm_tucker": ("rank.share=0.5", "schedule.distillation.weight=0.5"),
    "alternating_tucker": ("rank.epsilon=5.0",),
    "direct": ("rank=latency", "rank.num_ranks=3", "rank.share=0.95"),
    "gradual": ("rank.share=0.5", "metric=kfac"),
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


CLOCKS = ("latency_ms", "latency_quartiles_ms", "peak_memory_mib", "seconds")


def outcome(folder, result) -> tuple:
    """All that a row says of the computation, the curve of the reference, and the network; not the times."""
    numbers = [
        {name: value for name, value in dataclasses.asdict(side).items() if name not in CLOCKS}
        for side in (result.reference, result.compressed)
    ]
    state = load_network(folder / "network.pt", trust=["tests"]).state_dict()
    (about,) = (folder.parents[3] / "references").rglob("*.json")
    curve = json.loads(about.read_text())["curve"]
    assert [entry["epoch"] for entry in curve] == list(range(1, result.reference.epochs + 1))
    assert curve[-1]["validation_top1_percent"] == result.reference.validation_top1_percent
    return json.dumps([numbers, result.layers, result.history, result.violation, result.rank_reason, curve]), state


def assert_equal(first, second) -> None:
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def elsewhere(point, results, references=None):
    """The same point with its results in another folder, where its reference is trained already if it is given."""
    if references is not None:
        results.mkdir()
        (results / "references").symlink_to(references, target_is_directory=True)
    return dataclasses.replace(point, config=point.config | {"results_dir": str(results)})


def num_kills(monkeypatch, whole_point, expected, places, folder, references=None) -> int:
    """Run a point once for each place to kill it, and again until it is done; compare its end; count the kills."""
    num = 0
    for owner, name, numbers, after in places:
        for at in numbers:
            point = elsewhere(whole_point, folder / f"{owner.__name__}{name}{at}", references)
            for time in range(2 if name == "training_step" else 1):  # the resumed run is killed too
                with monkeypatch.context() as patched:
                    killer(patched, owner, name, at + 7 * time, after)
                    try:
                        run_point(point)
                    except Killed:
                        num += 1
                        assert not (point.directory / "result.json").exists()
            again = run_point(point)
            assert again.status == "ok", again.status
            assert_equal(expected, outcome(point.directory, again))
            files = [*point.results_dir.rglob("*"), *(point.results_dir / "references").rglob("*")]
            assert not [file for file in files if file.suffix == ".ckpt" or file.name == "checkpoint.pt"]
    return num


def test_killed_in_the_training_of_the_reference_ends_alike(make_point, monkeypatch, tmp_path):
    """It is the same for all methods: 69 steps, 3 checkpoints."""
    point = make_point(*COMMON, "method=lc_svd", *METHODS["lc_svd"])
    expected = outcome(point.directory, run_point(point))
    places = [(Classifier, "training_step", (30, 60), False), (Checkpoint, "write", (2,), True)]
    assert num_kills(monkeypatch, point, expected, places, tmp_path) == 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("share_references")
def test_killed_anywhere_ends_alike(make_point, monkeypatch, method, tmp_path, trained_references):
    overrides = [*COMMON, f"method={method}", *METHODS[method]]
    if "rank=latency" in overrides:  # measured: what a clock says does not repeat, so it is said here
        from decompositions.search import c_step

        times = iter(range(10_000))
        monkeypatch.setattr(c_step, "layer_latency_ms", lambda f, s, ranks, b: [5.0 - next(times) % 3 for _ in ranks])
    point = make_point(*overrides)
    whole = run_point(point)
    assert whole.status == "ok", whole.status
    # In the middle of a C step, of an epoch, before and after a checkpoint is in place.
    places = [
        (RankSearch, "__call__", (1, 3) if method in ("lc_svd", "admm_tucker", "gradual") else (1,), False),
        (Classifier, "training_step", (15, 60), False),
        (Checkpoint, "write", (2, 5), True),
        (Checkpoint, "update", (1,), False),
    ]
    num = num_kills(monkeypatch, point, outcome(point.directory, whole), places, tmp_path, trained_references)
    assert num >= 4, "hardly any run was killed: the test tests nothing"


@pytest.mark.usefixtures("share_references")
def test_a_file_that_is_written_now_and_then_is_enough(make_point, monkeypatch, tmp_path, trained_references):
    """The usual case: most epochs and steps leave no checkpoint, and the run resumes from an earlier one."""
    overrides = [*COMMON, "method=lc_svd", *METHODS["lc_svd"]]
    whole_point = make_point(*overrides)
    expected = outcome(whole_point.directory, run_point(whole_point))
    for number, at in enumerate((11, 61, 101, 141)):
        point = elsewhere(whole_point, tmp_path / str(number), trained_references)
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
        killer(patched, Classifier, "training_step", 2 * 23 + 30, after=False)  # with the reference; or alone
        with pytest.raises(Killed):
            run_point(point)
    assert (point.directory / "checkpoint.pt").exists()
    return point


FINE_TUNE = ("schedule.fine_tune.epochs=4", "schedule.batch_size=64")


def test_a_checkpoint_of_other_data_is_not_used(make_point, monkeypatch, capsys):
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


def test_force_starts_over_and_then_resumes(make_point, monkeypatch, capsys):
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


def run_killed(command: list[str], place: tuple[type, str, int] | None) -> None:
    """Run the command; kill it at a call of a method, `(class, method, how many calls)`."""
    if place is not None:
        owner, name, at = place
        real, calls = getattr(owner, name), []

        def wrapper(*args, **kwargs):
            calls.append(None)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(owner, name, wrapper)
    run_script("run.py", command)


def test_kill_minus_nine_and_the_same_command(make_point, tmp_path):
    """Real processes, really killed: one in a C step, the next in the middle of an epoch of an L step."""
    command = [*COMMON, "network._target_=networks.mlp.mlp", "rank.weight=0.3", "logger=none"]
    point = make_point(*command, tiny=False)
    expected = outcome(point.directory, run_point(point))
    command += [f"results_dir={tmp_path / 'killed'}"]
    for number, place in enumerate(((RankSearch, "__call__", 3), (torch.optim.SGD, "step", 30), None)):
        with Started(run_killed, command, place) as started:
            done = started.wait()
        assert ("resuming from" in done.stdout) == (number > 0)
        if number < 2:
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert not list((tmp_path / "killed").rglob("result.json"))
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "killed").rglob("result.json")
    assert_equal(expected, outcome(path.parent, read_result(path)))
