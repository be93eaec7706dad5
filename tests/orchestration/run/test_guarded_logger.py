"""A logger that breaks, hangs or has no server costs a line; rows are the same, and what is missing is sent later."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from pytorch_lightning.loggers import Logger

import orchestration.run.guarded_logger as guarded
import orchestration.run.run_point as run_module
from evaluation.result import read_result
from orchestration.run.run_point import compute, run_point
from orchestration.store.owned_files import ROW
from reporting.wandb.client import SERVICE, addresses
from reporting.wandb.login import require_address
from reporting.wandb.sync import send_rows
from runtime.process import children
from tests.commands import run_command
from tests.conftest import TINY
from tests.wandb_server import heard

SMALL = ("trainer=smoke", "method=reference", "network.hidden=[8]")
LIVE = (*SMALL, "logger=wandb_online", "trainer.log_every_n_steps=1")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded, "_unreachable", set())
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    monkeypatch.setenv("WANDB__GRAPHQL_RETRY_MAX", "1")
    monkeypatch.setattr(guarded, "GRACE_SECONDS", 3.0)
    with heard(tmp_path, monkeypatch) as server:
        yield server


def in_the_first_point(monkeypatch, do) -> None:
    """After its network is measured and before its row is written, once."""
    todo = [do]

    def compute_and_do(*arguments):
        done = compute(*arguments)
        while todo:
            todo.pop()()
        return done

    monkeypatch.setattr(run_module, "compute", compute_and_do)


def send_to_services(number: int) -> None:
    found = children(SERVICE)
    assert found
    for child in found:
        os.kill(child.pid, number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_stopped_client_costs_a_line_and_the_next_point_has_a_fresh_one(
    server, make_point, monkeypatch, capsys, number
):
    in_the_first_point(monkeypatch, lambda: send_to_services(number))
    points = [make_point(*LIVE, f"seed={seed}") for seed in (0, 1)]
    results = [run_point(point) for point in points]
    assert [result.status for result in results] == ["ok", "ok"]
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("the logger failed") == 1, said
    assert "`report.py --wandb` sends its row" in said
    assert len([child for child in children(SERVICE) if child.is_stopped]) == 0
    first, second = (server.runs[point.id] for point in points)
    assert "compressed" not in first.summary
    assert (second.exit_code, second.summary["status"]) == (0, "ok")
    assert send_rows("me", second.project, results, {}, networks=False) == 1, "the first"
    assert first.summary["status"] == "ok"


def test_a_server_that_answers_nothing_kills_the_client_and_no_point(server, make_point, capsys):
    """`{"data": null}`: wandb-core may panic."""
    server.is_empty = True
    for seed in (0, 1):
        point = make_point(*LIVE, f"seed={seed}")
        assert run_point(point).status == "ok"
        assert read_result(point.directory / ROW).is_ok
    assert 1 <= capsys.readouterr().out.count("`report.py --wandb`") <= 2
    assert server.runs == {}


def test_a_broken_server_is_asked_by_the_first_point_alone(server, make_point, capsys):
    server.fails = True
    numbers = []
    for seed in (0, 1):
        assert run_point(make_point(*LIVE, f"seed={seed}")).status == "ok"
        numbers.append(server.num_requests)
    assert numbers[0] == numbers[1] > 0
    assert " ".join(capsys.readouterr().out.split()).count("this run and those after it are written to disk only") == 1


def test_a_silent_server_is_waited_for_once(server, make_point, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    server.delay = 30.0
    numbers = []
    for seed in (0, 1):
        assert run_point(make_point(*LIVE, f"seed={seed}")).status == "ok"
        numbers.append(server.num_requests)
    assert numbers[0] == numbers[1] > 0
    assert " ".join(capsys.readouterr().out.split()).count("written to disk only") == 1
    server.delay = 0.0


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_BASE_URL", "localhost:8080", "WANDB_BASE_URL: expected the URL of a W&B server, got 'localhost:8080'"),
        ("WANDB_API_KEY", "", "no API key for W&B"),
        ("WANDB_PROJECT", "a/b", "W&B's project 'a/b': Invalid project name"),
        ("WANDB_MODE", "of", "WANDB_MODE: expected online, offline or disabled, got 'of'"),
    ],
)
def test_what_the_user_can_mend_is_refused_before_a_sweep(server, tmp_path, variable, value, said):
    env = {**os.environ, "HOME": str(tmp_path), variable: value}
    arguments = ("-m", *TINY[1:], *LIVE, "seed=0,1", "results_dir=results")
    done = run_command("run.py", *arguments, cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "refused before anything ran" in done.stderr
    assert not list(tmp_path.rglob(ROW))
    assert server.num_requests == 0


def test_an_address_in_a_file_of_settings_is_checked_too(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("[default]\nbase_url = nowhere\n")
    assert addresses() == [(str(tmp_path / "settings"), "nowhere")]
    with pytest.raises(ValueError, match="settings: expected the URL of a W&B server, got 'nowhere'"):
        require_address("project")


class Broken(Logger):
    """A logger of a user's; `how` says where it breaks."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if how == "making":
            raise ConnectionError("no database")

    name = "broken"
    version = 0

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        if self.how == "logging":
            raise KeyError("column")
        if self.how == "waiting":
            threading.Event().wait()
        if self.how == "leaving":
            raise SystemExit(3)

    def finalize(self, status):
        if self.how == "closing":
            raise OSError("disk")


@pytest.mark.parametrize("how", ["making", "logging", "waiting", "leaving", "closing"])
def test_any_logger_may_break_anywhere(make_point, monkeypatch, capsys, how):
    monkeypatch.setattr(guarded, "CALL_SECONDS", 0.2)
    point = make_point(*SMALL, "trainer.log_every_n_steps=1")
    point.config["logger"] = {"_target_": f"{__name__}.Broken", "_partial_": True, "how": how}
    assert run_point(point).status == "ok"
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("the logger failed") == 1, said
    assert "nothing more of this point is logged, its row has all" in said


def test_a_logger_of_lightning_gets_what_its_class_takes_and_is_closed(make_point):
    point = make_point(*SMALL, "trainer.log_every_n_steps=1")
    point.config["logger"] = {"_target_": "pytorch_lightning.loggers.CSVLogger", "_partial_": True}
    assert run_point(point).status == "ok"
    (path,) = point.directory.rglob("metrics.csv")
    assert "reference/train_loss" in path.read_text()
    assert f"reference-{point.id}" in str(path)
