"""A checkpoint that is damaged, or that nothing can go on from, is set aside; the run ends with the right numbers."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from orchestration.run.run_point import run_point
from tests.lightning_modules.training.test_resume import FINE_TUNE, killed_in_fine_tuning


def with_zeros(data: bytes) -> bytes:
    """1 KiB of zeros among the weights: torch would load them."""
    middle = data.index(b"/data/0") + 1500
    return data[:middle] + bytes(1024) + data[middle + 1024 :]


@pytest.mark.usefixtures("share_references")
@pytest.mark.parametrize(
    "damage",
    [lambda d: b"", lambda d: b"garbage", lambda d: d[:-500], with_zeros],
    ids=["empty", "other", "cut", "zeros"],
)
def test_a_damaged_checkpoint_is_set_aside_and_not_used(make_point, monkeypatch, capsys, damage):
    point = killed_in_fine_tuning(make_point, monkeypatch, *FINE_TUNE)
    path = point.directory / "checkpoint.pt"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    result = run_point(point)
    said = capsys.readouterr().out.replace("\n", " ")
    assert result.is_ok and said.count("starting over: ") == 1 and "resuming from" not in said
    assert not path.exists()
    assert path.with_name("checkpoint.pt.unusable").read_bytes() == damaged


@pytest.mark.usefixtures("share_references")
@pytest.mark.parametrize("part", ["state_dict", "loops"])
def test_a_checkpoint_that_nothing_goes_on_from_is_set_aside_at_once(make_point, monkeypatch, capsys, tmp_path, part):
    """It is whole, and of other code: without this it would fail at every start, until somebody deletes it."""
    point = killed_in_fine_tuning(make_point, monkeypatch, *FINE_TUNE)
    path = point.directory / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {part: {}}, path)
    result = run_point(point)
    assert result.is_ok and result.compressed.epochs == 4
    said = capsys.readouterr().out.replace("\n", " ")
    assert said.count("starting over: ") == 1 and "nothing goes on from it: " in said
    fresh = run_point(dataclasses.replace(point, config=point.config | {"results_dir": str(tmp_path / "fresh")}))
    assert result.compressed.test_loss == fresh.compressed.test_loss


def test_a_failure_after_a_checkpoint_was_taken_up_is_not_its_fault(make_point, monkeypatch):
    """Hours of training would be thrown away with it."""
    point = killed_in_fine_tuning(make_point, monkeypatch, *FINE_TUNE)
    with monkeypatch.context() as patched:
        patched.setattr("orchestration.run.run_point.measure", broken)
        assert run_point(point).status.startswith("failed: RuntimeError: no clock")
    assert (point.directory / "checkpoint.pt").exists()
    assert run_point(point).is_ok


def broken(*args):
    raise RuntimeError("no clock")
