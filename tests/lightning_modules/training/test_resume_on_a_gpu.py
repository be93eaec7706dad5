"""On a GPU too a run that is stopped inside an epoch resumes and ends with the bits of one that was never stopped."""

from __future__ import annotations

import signal

from orchestration.run.run_point import run_point
from runtime.signals import Interrupted
from tests.lightning_modules.training.test_interruption import signalling
from tests.lightning_modules.training.test_resume import assert_equal, outcome
from tests.pretend_gpu import pretend_gpu

# Dropout draws from the random numbers of the device; the momentum, the multipliers and the loss so far are on it.
POINT = (
    "network._target_=tests.conftest.dropout_mlp", "network.hidden=[12]", "schedule.batch_size=256", "trainer=gpu",
    "rank.weight=0.3", "schedule.keep_momentum=true", "checkpoint_seconds=1e9",
)  # fmt: skip
# There are five batches an epoch: two epochs of the reference, two L steps of one epoch, one of fine-tuning.
PLACES = {3: signal.SIGTERM, 12: signal.SIGINT, 23: signal.SIGTERM}


def test_interrupted_inside_epochs_no_draw_and_no_batch_is_lost(make_point, monkeypatch, tmp_path):
    with pretend_gpu():
        whole = make_point(*POINT)
        with monkeypatch.context() as patched:
            num_steps = signalling(patched, {})
            expected = outcome(whole.directory, run_point(whole))
        point = make_point(*POINT, f"results_dir={tmp_path / 'again'}")
        calls, result, num_interruptions = signalling(monkeypatch, PLACES), None, 0
        while result is None:
            try:
                result = run_point(point)
            except Interrupted:
                num_interruptions += 1
    assert result.is_ok, result.status
    assert num_interruptions == len(PLACES)
    assert len(calls) == len(num_steps) == 25
    assert_equal(expected, outcome(point.directory, result))
    assert result.environment["device_type"] == "cuda"
