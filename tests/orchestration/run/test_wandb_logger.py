"""Weights & Biases, really run: offline on disk, and live against a server on loopback; what each point's run holds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb

import orchestration.run.run_point as run_module
from evaluation.result import read_result
from orchestration.errors import ConfigError, NotHere
from orchestration.run.guarded_logger import start_logger
from orchestration.run.run_point import compute, run_point
from orchestration.store.owned_files import ROW
from orchestration.store.point_files import LOGGED
from reporting.wandb import names
from reporting.wandb.sync import send_rows
from tests.commands import Started, run_command, run_script
from tests.conftest import TINY
from tests.wandb_server import heard

FAST = "network.hidden=[20]"
LIVE = (FAST, "method=svd", "rank=fixed", "rank.ranks=3", "logger=wandb_online")


@pytest.fixture
def server(tmp_path, monkeypatch):
    with heard(tmp_path, monkeypatch) as server:
        yield server


def records(folder: Path) -> list[dict]:
    """All records of the one offline run below `folder`, by wandb's own reader."""
    (file,) = folder.rglob("run-*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "WANDB_ERROR_REPORTING": "false"}
    )
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def test_one_run_a_point_with_group_type_tags_config_and_summary(make_point):
    """Two points in one process: two runs."""
    points = [make_point(FAST, "logger=wandb_offline", "tags=[table1]", f"seed={seed}") for seed in (0, 1)]
    results = [run_point(point) for point in points]
    for point, result in zip(points, results, strict=True):
        assert result.status == "ok"
        text = json.dumps(records(point.directory))
        for expected in (point.id, "digits/mlp", "lc_svd", "table1", f"seed={point.config['seed']}"):
            assert expected in text
        for key in ("num_params", "test_top1_percent", "latency_ms", "status", names.digest(result)):
            assert key in text, key
        for key in ("joint/violation", "joint/penalty", "joint/validation_top1_percent", "rank/fc1"):
            assert key in text, key
        assert {name for entry in names.history(result) for name in entry} <= set(re.findall(r"[\w/.]+", text))
    assert os.environ["WANDB_ERROR_REPORTING"] == "false", "offline looks no host up"
    assert "WANDB_MODE" not in os.environ, "a later point may be online"


def test_logger_none_writes_no_wandb(make_point):
    point = make_point(FAST, *TINY, "method=reference")
    assert run_point(point).status == "ok"
    assert not list(point.directory.rglob("*wandb*"))


def test_run_py_sends_the_row_field_by_field(server, tmp_path):
    """`logger=wandb_online` through run.py, wandb's own client in between."""
    online = ("logger=wandb_online", "logger.artifact=true", "tags=[table1]", "trainer.log_every_n_steps=5")
    own = (f"results_dir={tmp_path / 'results'}", *TINY, FAST)
    done = run_command("run.py", *own, *online, cwd=tmp_path, env=server_env(server, tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (path,) = tmp_path.rglob(ROW)
    row, result = json.loads(path.read_text()), read_result(path)
    (run,) = server.runs.values()
    assert (run.name, run.project, run.exit_code) == (row["id"], "compression-bench", 0)
    assert run.told["groupName"] == "digits/mlp"
    assert run.told["jobType"] == "lc_svd"
    assert run.told["displayName"] == f"lc_svd-{row['id']}"
    assert run.told["tags"][:3] == ["table1", "seed=0", "dataset=digits"]
    assert {key: run.values[key] for key in row["config"]} == row["config"]
    assert run.values["choices"] == row["choices"]
    for key in ("environment", "signature", "overrides", "variant"):
        assert run.values[key] == row[key]
    for key in ("status", "seconds", "violation", "reference", "compressed", "rank_reason"):
        assert run.summary[key] == row[key]
    assert [s["joint/step"] for s in run.steps if "joint/step" in s] == [e["step"] for e in row["history"]]
    assert [s["joint/violation"] for s in run.steps if "joint/step" in s] == [e["violation"] for e in row["history"]]
    assert any("reference/train_loss" in step for step in run.steps)
    layers = run.table("layers")
    assert layers["columns"] == ["layer", "rank", "params", "macs", "reason", "form"]
    assert [line[0] for line in layers["data"]] == list(row["layers"])
    assert [line[1] for line in layers["data"]] == [
        layer["rank"] and str(layer["rank"]) for layer in row["layers"].values()
    ]
    artifact = server.artifacts[f"network-{result.id}"]
    assert artifact["committed"]
    assert artifact["files"] == {"network.pt": path.with_name("network.pt").read_bytes()}


def server_env(server, tmp_path) -> dict[str, str]:
    return {**os.environ, **server.environment(tmp_path), "OMP_NUM_THREADS": "1"}


def test_a_killed_point_that_goes_on_continues_its_run(server, make_point):
    point = make_point(*LIVE)
    point.directory.mkdir(parents=True)
    logger = start_logger(point)
    logger.log_metrics({"before": 1.0}, step=1)
    wandb.finish(exit_code=137)  # its process is gone, its row was never written
    assert run_point(point).status == "ok"
    (run,) = server.runs.values()
    assert run.exit_code == 0
    assert run.steps[0]["before"] == 1.0
    assert [step["_step"] for step in run.steps] == list(range(len(run.steps)))
    assert len(run.steps) > 1
    assert run.summary["compressed"]["num_params"] > 0


def history(folder: Path) -> list[dict]:
    """The lines of the one offline run below `folder`, without clocks."""
    items = [record["history"]["item"] for record in records(folder) if record["type"] == "history"]
    clocks = ("_runtime", "_timestamp", "layers")  # the entries of a table hold random addresses
    return [{key: value for key, value in item.items() if not key.startswith(clocks)} for item in items]


def run_twice(arguments: list[str], folder: Path, env: dict[str, str]) -> None:
    """Kill a point when it has logged a hundred lines and has a checkpoint, and let the same command go on."""
    with Started(run_script, "run.py", arguments, cwd=folder, env=env) as started:
        deadline = time.time() + 120
        while sum(path.read_text().count("\n") for path in folder.rglob(LOGGED)) < 100 or not list(
            folder.rglob("checkpoint.pt")
        ):
            assert time.time() < deadline
            time.sleep(0.01)
        started.send_signal(signal.SIGKILL)
        assert started.wait().returncode == -signal.SIGKILL
    assert not list(folder.rglob(ROW))
    done = run_command("run.py", *arguments, cwd=folder, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming from" in done.stdout
    assert not list(folder.rglob(LOGGED)), "the point is done"


EVERY_STEP = (
    *TINY, FAST, "trainer.log_every_n_steps=1", "checkpoint_seconds=0", "schedule.l_step.epochs=2",
    "schedule.penalty.num_steps=3", "results_dir=results",
)  # fmt: skip


@pytest.mark.slow
def test_the_history_of_an_offline_run_whose_process_was_killed_is_whole(tmp_path):
    """As long, at the same steps and with the same values as that of a run that was never stopped."""
    arguments = [*EVERY_STEP, "logger=wandb_offline"]
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run_twice(arguments, tmp_path / "killed", env)
    assert run_command("run.py", *arguments, cwd=tmp_path / "whole", env=env).returncode == 0
    killed, whole = history(tmp_path / "killed"), history(tmp_path / "whole")
    assert [line["_step"] for line in killed] == list(range(len(killed)))
    assert killed == whole
    assert len(whole) > 150


@pytest.mark.slow
def test_a_live_run_whose_process_was_killed_has_each_line_once(server, tmp_path):
    run_twice([*EVERY_STEP, "logger=wandb_online"], tmp_path, server_env(server, tmp_path))
    (run,) = server.runs.values()
    assert [line["_step"] for line in run.steps] == list(range(len(run.steps)))
    for stage in ("reference", "method"):
        steps = [line["trainer/global_step"] for line in run.steps if f"{stage}/train_loss" in line]
        assert steps == list(range(1, len(steps) + 1)) and len(steps) > 30, stage
    assert [line["joint/step"] for line in run.steps if "joint/step" in line] == [0, 1, 2, 3]


@pytest.mark.parametrize("variable", ["WANDB_MODE=disabled", "WANDB_DISABLED=true"])
@pytest.mark.parametrize("logger", ["wandb", "wandb_online"])
def test_where_the_environment_disables_wandb_nothing_is_written(make_point, monkeypatch, variable, logger):
    monkeypatch.setenv(*variable.split("="))
    point = make_point(f"logger={logger}")
    assert start_logger(point) is None
    assert not list(point.results_dir.rglob("*"))


def test_the_environment_says_where_runs_go(server, make_point, monkeypatch, tmp_path):
    """Unless the configuration names a project; a folder of its own has each point's run too."""
    for name, value in (("MODE", "online"), ("PROJECT", "theirs"), ("ENTITY", "team"), ("DIR", str(tmp_path / "here"))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    for seed, own in enumerate(([], ["logger.project=mine", "logger.entity=us"])):
        start_logger(make_point("logger=wandb", f"seed={seed}", *own))
        wandb.finish()
    assert [(run.project, run.entity) for run in server.runs.values()] == [("theirs", "team"), ("mine", "us")]
    assert len(list((tmp_path / "here" / "wandb").glob("run-*"))) == 2
    assert not list((tmp_path / "results").rglob("wandb"))


def test_a_mode_that_is_none_fails_in_one_line_before_anything_trains(make_point, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(ConfigError, match=r"^WANDB_MODE: expected online, offline or disabled, got 'of'$"):
        run_point(make_point("logger=wandb"))


@pytest.mark.parametrize("way", ["report.py", "wandb sync"])
def test_an_offline_run_is_sent_later_under_its_id(server, make_point, way):
    """From its row, or from wandb's own files, after which its row is not sent again."""
    point = make_point(FAST, "schedule.penalty.num_steps=1", "logger=wandb_offline")
    result = run_point(point)
    assert server.asked == []
    if way == "wandb sync":
        (folder,) = point.directory.rglob("offline-run-*")
        command = [sys.executable, "-m", "wandb", "sync", "--yes", "-p", "project", "-e", "me", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder)
        assert done.returncode == 0, done.stderr
    num_sent = send_rows("me", "project", [result], {}, networks=False)
    assert num_sent == (0 if way == "wandb sync" else 1)
    (run,) = server.runs.values()
    assert (run.name, run.exit_code, run.summary["row"]) == (point.id, 0, names.digest(result))
    assert (run.told["groupName"], run.told["jobType"]) == ("digits/mlp", "lc_svd")
    assert run.summary["compressed"]["num_params"] == result.compressed.num_params
    assert [s["joint/step"] for s in run.steps if "joint/step" in s] == [0, 1]


def test_without_a_key_a_point_is_refused_in_one_line_before_it_trains(server, make_point, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", os.environ["WANDB_CONFIG_DIR"])  # where no .netrc is
    with pytest.raises(NotHere) as caught:
        run_point(make_point(*LIVE))
    assert str(caught.value) == (
        "no API key for W&B; run `wandb login` or set WANDB_API_KEY;"
        " or take logger=wandb_offline, which needs no account"
    )
    assert "reference trained" not in capsys.readouterr().out
    assert server.asked == []


def test_a_broken_server_is_said_and_the_row_is_written(server, make_point, monkeypatch, capsys):
    """Then the same row, which W&B lacks, is on disk, and so is what was logged."""
    monkeypatch.setenv("WANDB__GRAPHQL_RETRY_MAX", "1")
    server.fails = True
    point = make_point(*LIVE)
    assert run_point(point).status == "ok"
    said = [line for line in " ".join(capsys.readouterr().out.split()).split(";") if "W&B at" in line]
    assert len(said) == 1
    assert server.url in said[0]
    assert list(point.directory.rglob("offline-run-*")), "written to disk only"
    assert server.runs == {}


def test_a_server_that_breaks_while_a_point_runs_costs_a_line_and_no_more(server, make_point, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    monkeypatch.setenv("WANDB__GRAPHQL_RETRY_MAX", "1")

    def compute_then_break(*arguments):
        server.fails = True
        return compute(*arguments)

    monkeypatch.setattr(run_module, "compute", compute_then_break)
    point = make_point(*LIVE)
    assert run_point(point).status == "ok"
    assert read_result(point.directory / ROW).is_ok
    assert " ".join(capsys.readouterr().out.split()).count("the logger failed") == 1
