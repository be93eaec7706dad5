"""Ctrl-C and SIGTERM end a run after a batch; the next start resumes there and ends with the same bits."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from evaluation.result import read_result
from lightning_modules.training.classifier import Classifier
from orchestration.run.run_point import run_point
from orchestration.store import claim
from orchestration.store.status import read_status
from runtime import signals
from runtime.signals import Interrupted
from tests.lightning_modules.training.test_resume import COMMON, METHODS, assert_equal, outcome


def signalling(monkeypatch, numbers: dict[int, int]) -> list[None]:
    """Send this process a signal in these training steps, counted over all runs."""
    real, calls = Classifier.training_step, []

    def wrapper(*args, **kwargs):
        calls.append(None)
        if len(calls) in numbers:
            os.kill(os.getpid(), numbers[len(calls)])
        return real(*args, **kwargs)

    monkeypatch.setattr(Classifier, "training_step", wrapper)
    return calls


# In the reference (23 batches an epoch, 3 epochs), at the last batch of an epoch, and all over the method.
PLACES = {5: signal.SIGINT, 23: signal.SIGTERM, 24: signal.SIGINT, 60: signal.SIGTERM, 69: signal.SIGINT} | {
    step: (signal.SIGINT, signal.SIGTERM)[step % 2] for step in range(80, 400, 53)
}


@pytest.mark.slow  # in all
@pytest.mark.parametrize("method", ["lc_svd", "alternating_tucker", "gradual", "scratch", "prune"])
def test_interrupted_anywhere_no_batch_is_lost_or_done_twice(make_point, monkeypatch, method, tmp_path):
    overrides = [*COMMON, f"method={method}", *METHODS[method], "checkpoint_seconds=1e9"]
    whole_point = make_point(*overrides)
    with monkeypatch.context() as patched:
        calls = signalling(patched, {})
        expected = outcome(whole_point.directory, run_point(whole_point))
        num_steps = len(calls)
    point = make_point(*overrides, f"results_dir={tmp_path / 'again'}")
    calls = signalling(monkeypatch, PLACES)
    num_interruptions = 0
    result = None
    while result is None:  # its status stays "to be checked": its network is built by code of the tests
        try:
            result = run_point(point)
        except Interrupted as error:
            num_interruptions += 1
            assert error.exit_code in (130, 143)
            assert not (point.directory / ".lock").exists()
            if not read_status(point).row:
                assert read_result(point.directory / "result.json").status.startswith("interrupted: ")
    assert result.is_ok, result.status
    assert num_interruptions == sum(step <= num_steps for step in PLACES)
    assert len(calls) == num_steps
    assert_equal(expected, outcome(point.directory, read_result(point.directory / "result.json")))


def test_accumulated_gradients_are_not_cut(make_point, monkeypatch, tmp_path):
    overrides = [*COMMON, "method=reference", "trainer.accumulate=4", "checkpoint_seconds=1e9"]
    whole_point = make_point(*overrides)
    expected = outcome(whole_point.directory, run_point(whole_point))
    point = make_point(*overrides, f"results_dir={tmp_path / 'again'}")
    for at, last in ((2, 4), (9, 12), (5, 7)):  # steps are made after 4, 8, … and the last of 23 batches
        with monkeypatch.context() as patched, pytest.raises(Interrupted):
            calls = signalling(patched, {at: signal.SIGTERM})
            run_point(point)
        assert len(calls) == last
    assert_equal(expected, outcome(point.directory, run_point(point)))


def test_the_second_signal_ends_at_once(make_point, monkeypatch):
    point = make_point(*COMMON, "method=reference", "checkpoint_seconds=1e9")
    monkeypatch.setattr(signals, "REPEATED_SECONDS", 0)
    real = Classifier.training_step

    def twice(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(Classifier, "training_step", twice)
    with pytest.raises(Interrupted):
        run_point(point)
    assert read_status(point).kind == "interrupted"
    monkeypatch.setattr(Classifier, "training_step", real)
    assert run_point(point).is_ok


def test_a_signal_after_the_last_batch_is_raised_with_the_row_on_disk(make_point, monkeypatch):
    import orchestration.run.run_point as run_module

    real = run_module.save_network

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        real(*args)

    monkeypatch.setattr(run_module, "save_network", interrupted)
    point = make_point("network.hidden=[8]", "method=reference")
    with pytest.raises(Interrupted) as caught:
        run_point(point)
    assert caught.value.exit_code == 143
    assert read_status(point).kind == "done"


def test_a_launchers_notice_interrupts_and_is_forwarded(make_point, monkeypatch):
    """Slurm's notice: a checkpoint after the batch and a row, then the launcher's own handler."""
    point = make_point(*COMMON, "method=reference", "checkpoint_seconds=1e9")
    row, forwarded = point.directory / "result.json", []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: forwarded.append(read_result(row).status))
    try:
        with monkeypatch.context() as patched:
            signalling(patched, {5: signal.SIGUSR2})
            with pytest.raises(Interrupted, match="SIGUSR2"):
                run_point(point)
        assert forwarded == ["interrupted: SIGUSR2; the same command goes on"]
        assert list(point.results_dir.rglob("references/**/*.ckpt"))
        assert run_point(point).is_ok
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_an_interruption_is_raised_also_where_no_row_can_be_written(make_point, monkeypatch):
    """Else the next point of the sweep would begin."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    point = make_point(*COMMON, "method=reference")
    signalling(monkeypatch, {5: signal.SIGTERM})
    monkeypatch.setattr(claim, "store_row", full)
    with pytest.raises(Interrupted, match="SIGTERM"):
        run_point(point)
