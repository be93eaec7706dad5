"""Sweepers: those that are served, and the line for all others, with which nothing trains."""

from __future__ import annotations

import pytest

from tests.commands import run_command

OURS = "expected plan (a grid) or optuna (a search), which check points before they run\n"
BASIC = "hydra.sweeper._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "hydra/sweeper=basic", "plan=true", "seed=0,1"], f"error: hydra/sweeper=basic: {OURS}"),
        (["-m", "hydra/sweeper=ax", "seed=0,1"], f"error: hydra/sweeper=ax: {OURS}"),
        (["-m", BASIC, "seed=0,1"], f"error: hydra/sweeper=plan: {OURS}"),
        (
            ["hydra/sweeper=basic", "plan=true"],
            "error: hydra/sweeper=basic: it is for the points of a sweep; put -m before them\n",
        ),
    ],
)
def test_other_sweepers_are_refused_in_one_line(tmp_path, arguments, said):
    done = run_command("run.py", *arguments, f"results_dir={tmp_path / 'results'}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, said)
    assert done.stdout == ""
    assert not (tmp_path / "results").exists()


def test_a_plan_never_trains_whoever_launches_it(tmp_path):
    """Without the callback that refuses other sweepers."""
    results = tmp_path / "results"
    done = run_command(
        "run.py", "-m", "hydra/sweeper=basic", "~hydra.callbacks.sweepers", "plan=true", "seed=0,1", "logger=none",
        f"results_dir={results}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not results.exists()
