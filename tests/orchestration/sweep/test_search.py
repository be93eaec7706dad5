"""A search: what it tells its chooser, that rows on disk are its study, and Optuna in it, really run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from evaluation.result import write_result
from orchestration.config import resolvers
from orchestration.store.owned_files import NETWORK, ROW
from orchestration.sweep.fast_compose import Composer
from orchestration.sweep.search import Search
from orchestration.sweep.sweep import Sweep
from tests.commands import run_command
from tests.conftest import ROOT, TINY
from tests.made_rows import measure, result

needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="pip install 'compression-bench[optuna]'")
FAST = (*TINY, "network.hidden=[8]", "latency_batch_size=2", "method=svd", "rank=budget")


class Halving:
    """Asks for half the share of the last trial that had an objective."""

    def __init__(self) -> None:
        self.share = 0.8
        self.told: list[tuple[float, list[float] | None]] = []

    @property
    def is_over(self) -> bool:
        return self.share < 0.2

    def ask(self):
        return self.share, [f"rank.share={self.share}"]

    def tell(self, trial, values):
        self.told.append((trial, values))
        if values is not None:
            self.share = trial / 2


class Runner:
    """Runs nothing: a row's validation error is a hundred times its share; those in `fails` leave a failed one."""

    is_in_process = is_here = True

    def __init__(self, fails=()) -> None:
        self.fails = set(fails)
        self.ran: list[float] = []
        self.ended: dict[str, str | None] = {}

    def run(self, points):
        for point in points:
            share = point.config["rank"]["share"]
            self.ran.append(share)
            point.directory.mkdir(parents=True)
            status = "failed: as told" if share in self.fails else "ok"
            own = {"id": point.id, "variant": point.variant, "seed": point.config["seed"], "reference": measure()}
            row = result(**own, status=status, compressed=measure(validation_top1_percent=100 - 100 * share))
            write_result(point.directory / ROW, row)
            (point.directory / NETWORK).write_bytes(b"PK\5\6" + bytes(18))
            self.ended[point.id] = None if status == "ok" else status


@pytest.fixture
def search(tmp_path):
    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()

        def make(runner, num_trials=2, num_at_once=1, *fixed):
            base = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
            sweep = Sweep(None, base)
            sweep.runner = runner
            fixed = ["method=svd", "rank=budget", f"results_dir={tmp_path}", *fixed]
            return Search(sweep, Composer(loader, base), Halving(), fixed, num_trials, num_at_once)

        yield make


def told(search, **options):
    search.run(**{"fail_fast": False} | options)
    return [(share, values and pytest.approx(values)) for share, values in search.chooser.told]


def test_the_same_search_trains_nothing_twice_and_goes_on(search, capsys):
    first, again = Runner(), Runner()
    assert told(search(first)) == [(0.8, [80]), (0.4, [40])]
    assert first.ran == [0.8, 0.4]
    assert told(search(again, num_trials=3)) == [(0.8, [80]), (0.4, [40]), (0.2, [20])]
    assert again.ran == [0.2]
    assert "trial 3 of 3: error 20: rank.share=0.2 (" in capsys.readouterr().out


def test_of_equal_points_one_is_run_and_each_trial_is_told(search):
    runner = Runner()
    assert told(search(runner, 4, 2)) == [(0.8, [80]), (0.8, [80]), (0.4, [40]), (0.4, [40])]
    assert runner.ran == [0.8, 0.4]


def test_what_is_over_asks_no_more(search):
    assert [share for share, _ in told(search(Runner(), num_trials=99))] == [0.8, 0.4, 0.2]


@pytest.mark.parametrize(("fail_fast", "num_trials"), [(True, 1), (False, 3)])
def test_a_failure_has_no_objective(search, fail_fast, num_trials):
    found = told(search(Runner(fails=[0.8]), num_trials=3), fail_fast=fail_fast)
    assert found == [(0.8, None)] * num_trials


def test_the_objective_is_that_of_the_configuration(search):
    found = told(search(Runner(), 1, 1, "objective=error_versus_size"))
    assert found == [(0.8, [80, 100])]


def test_a_plan_runs_nothing_and_follows_the_rows(search, capsys, monkeypatch):
    monkeypatch.setattr("orchestration.sweep.sweep.require_checked", lambda *_, **__: None)
    told(search(Runner()))
    runner = Runner()
    planned = search(runner, num_trials=5)
    planned.plan()
    assert runner.ran == []
    assert [share for share, _ in planned.chooser.told] == [0.8, 0.4]
    said = capsys.readouterr().out
    assert "points: 3, 2 done, 1 new" in said
    assert "trials: 5, 2 done, 2 to be chosen by the outcome of those before" in said


def run_search(folder: Path, *arguments: str, sweeper=("hydra/sweeper=optuna",)):
    return run_command("run.py", "-m", *sweeper, *FAST, f"results_dir={folder / 'results'}", *arguments, cwd=folder)


def rows(folder: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in folder.rglob(ROW)]
    return {row["id"]: row for row in found}


@needs_optuna
@pytest.mark.slow
def test_a_study_of_optuna_goes_on_from_its_rows(tmp_path):
    space = ("rank.share=interval(0.2,0.6)", "seed=0,1", "objective=error_and_size", "hydra.sweeper.n_jobs=2")
    done = run_search(tmp_path, *space, "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stdout + done.stderr
    first = rows(tmp_path)
    assert len(first) == 2
    for row in first.values():
        error = 100 - row["compressed"]["validation_top1_percent"]
        size = 100 * row["compressed"]["num_params"] / row["reference"]["num_params"]
        assert f": penalised {error + 0.1 * size:.6g}: rank.share={row['config']['rank']['share']}" in done.stdout
    assert done.stdout.count("best: penalised ") == 1
    assert done.stderr == ""
    (tmp_path / "results" / "digits").rename(tmp_path / "results" / "kept")
    planned = run_search(tmp_path, *space, "hydra.sweeper.n_trials=3", "plan=true")
    assert planned.returncode == 0, planned.stderr
    assert "points: 2, 2 new" in planned.stdout, "the same two are chosen"
    assert all(id in planned.stdout for id in first)
    (tmp_path / "results" / "kept").rename(tmp_path / "results" / "digits")
    done = run_search(tmp_path, *space, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stdout + done.stderr
    second = rows(tmp_path)
    assert len(second) == 3
    assert {id: second[id]["started"] for id in first} == {id: first[id]["started"] for id in first}


@needs_optuna
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rank.share=0.2"], "error: hydra/sweeper=optuna: nothing to search; give several values, or interval("),
        (["rank.share=0.2,0.3", "hydra.sweeper.n_trials=0"], "error: hydra.sweeper.n_trials: expected int >= 1, got 0"),
        (["rank.share=0.2,0.3", "num_threads=1,2"], "error: num_threads: cannot be searched: it does not change"),
        (["rank.share=0.2,0.3", "hydra.sweeper.sampler=tpe"], "error: hydra.sweeper.sampler: "),
        (["rank.share=0.2,0.3", "hydra.sweeper.sampler._target_=builtins.dict"], "error: hydra.sweeper.sampler: exp"),
        (["rank.shar=0.2,0.3"], "error: rank.shar: unknown key; did you mean 'share'?"),
        (["rank.share=interval(-1,0)"], "error: rank.share: expected "),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(tmp_path, arguments, said):
    done = run_search(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@needs_optuna
def test_samplers_that_know_their_end_and_spaces_of_all_kinds():
    from hydra_plugins.optuna_sweeper import _Study
    from orchestration.sweep.axes import Choices, Interval

    axes = {"method": Choices(("svd", "lc_svd")), "seed": Choices(("1", "2", "3"), are_ordered=True)}
    study = _Study({"_target_": "optuna.samplers.BruteForceSampler", "seed": 0}, axes, 1)
    tried = set()
    while not study.is_over:
        trial, overrides = study.ask()
        tried.add(tuple(overrides))
        study.tell(trial, [1.0])
    assert len(tried) == 6 and ("method=svd", "seed=3") in tried
    numbers = {"a": Interval(1, 64, is_integer=True, is_log=True), "b": Interval(0.5, 1.0, False, False)}
    study = _Study({"_target_": "optuna.samplers.TPESampler", "seed": 0}, numbers, 2)
    for _ in range(20):
        trial, (a, b) = study.ask()
        assert 1 <= int(a.removeprefix("a=")) <= 64 and 0.5 <= float(b.removeprefix("b=")) <= 1.0
        study.tell(trial, None)


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['optuna'] = None\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [
        sys.executable,
        "run.py",
        "-m",
        "hydra/sweeper=optuna",
        "seed=0,1",
        f"results_dir={tmp_path / 'results'}",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (
        1, "error: hydra/sweeper=optuna: it is not installed; pip install 'compression-bench[optuna]'\n",
    )  # fmt: skip
