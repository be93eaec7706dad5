"""Sweeps on others' engines: Ray for the devices of a machine, Slurm (a stand-in of it) for arrays and requeues."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra._internal.core_plugins import basic_launcher
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from orchestration.config import resolvers
from orchestration.config.error_messages import error_lines
from orchestration.config.overrides import normalize_overrides
from orchestration.sweep.launchers import Launching
from orchestration.sweep.run_points import PointRunner
from runtime.cores import RESERVED, num_cores
from tests.commands import Started, run_command, run_script
from tests.conftest import ROOT, TINY

FAST = (*TINY, "network.hidden=[20]", "method=svd", "schedule.penalty.num_steps=1")


def needs(extra: str, plugin: str):
    missing = importlib.util.find_spec("hydra_plugins") is None or importlib.util.find_spec(plugin) is None
    return pytest.mark.skipif(missing, reason=f"pip install 'compression-bench[{extra}]'")


def sweep(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """`python run.py -m …` with a home of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    known = {**os.environ, "HOME": str(home), **environment}
    known["OMP_NUM_THREADS"] = "2"  # how many a point has is the launcher's to say
    return run_command("run.py", "-m", *FAST, f"results_dir={folder / 'results'}", *arguments, cwd=folder, env=known)


def rows(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("results/*/*/*/*/result.json"))]


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(name):
    plugin = {"ray": "ray", "slurm": "submitit_slurm"}[name]
    error = MissingConfigException("", f"hydra/launcher/{plugin}", ["basic"])
    assert error_lines(error) == [f"launcher={name}: it is not installed; pip install 'compression-bench[{name}]'"]
    extras = (ROOT / "pyproject.toml").read_text()
    assert re.search(rf"^{name} = \[", extras, re.MULTILINE)
    assert f"override /hydra/launcher: {plugin}\n" in (ROOT / f"conf/launcher/{name}.yaml").read_text()


def test_where_points_run_does_not_depend_on_how_often_hydra_executed_its_launchers():
    """It does so when it looks for plugins: a class that was imported before is another one then."""
    launcher = basic_launcher.BasicLauncher()
    importlib.reload(basic_launcher)
    assert not isinstance(launcher, basic_launcher.BasicLauncher)
    of_hydra = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
    other = {"_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"}
    assert PointRunner(launcher, OmegaConf.create({"hydra": {"launcher": of_hydra}})).is_in_process
    assert not PointRunner(launcher, OmegaConf.create({"hydra": {"launcher": other}})).is_in_process


def test_the_launcher_is_no_part_of_a_point(make_point):
    plain, basic = make_point(), make_point("launcher=basic")
    assert plain.id == basic.id
    assert basic.identifying_overrides == plain.identifying_overrides


@needs("slurm", "hydra_plugins.hydra_submitit_launcher")
def test_a_launcher_without_a_sweep_is_refused(tmp_path):
    done = run_command("run.py", "launcher=slurm", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: launcher=slurm: it is for the points of a sweep; put -m before them\n"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("-m trainer=ddp trainer.devices=4 rank.weight=1", "-m trainer=ddp trainer.devices=4 rank.weight=choice(1)"),
        ("-m trainer=cpu,ddp trainer.devices=4", "-m trainer=cpu,ddp trainer.devices=choice(4)"),
    ],
)
def test_a_launcher_knows_what_the_trainer_asks_for(arguments, given):
    assert normalize_overrides(arguments.split()) == given.split()


@needs("slurm", "hydra_plugins.hydra_submitit_launcher")
@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_what_only_the_cluster_has_is_a_note_where_the_sweep_is_planned(tmp_path):
    """A login node has no GPU, no local data, and is none of the nodes."""
    asked = ("launcher=slurm", "trainer=ddp", "trainer.accelerator=gpu", "trainer.num_nodes=2", "plan=true")
    done = sweep(tmp_path, *asked, "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("note: not on this machine: trainer: ") == 1
    assert "to run: 2, " in done.stdout
    done = sweep(tmp_path, *asked, "dataset=mnist", "dataset.root=/nowhere", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("note: not on this machine: ") == 1 and "/nowhere" in done.stdout
    done = sweep(tmp_path, "launcher=slurm", "seed=0,1")
    assert (done.returncode, done.stderr) == (
        1, "error: launcher=slurm: expected srun on the path, found none; is this a login node?\n",
    )  # fmt: skip
    here = sweep(tmp_path, *(a for a in asked if "slurm" not in a), "seed=0,1")
    assert here.returncode == 1
    assert "error: digits/mlp/svd seed=0: trainer: " in here.stderr


@needs("slurm", "hydra_plugins.hydra_submitit_launcher")
def test_points_that_ask_for_different_devices_are_refused(tmp_path):
    done = sweep(tmp_path, "launcher=slurm", "trainer=cpu,ddp", "plan=true")
    assert done.returncode == 1, "already in its plan"
    assert "got accelerator, devices and num_nodes cpu 1 1, gpu 2 1: run one command per device setting" in done.stderr


@pytest.mark.parametrize(
    ("launcher", "trainer", "gpus", "cpus"),
    [
        ("ray", "cpu", None, 1), ("ray", "gpu", 1, 1), ("ray", "ddp", 2, 2),
        ("slurm", "cpu", None, 4), ("slurm", "gpu", 1, 4), ("slurm", "ddp", 2, 8),
    ],
)  # fmt: skip
def test_what_is_reserved_for_a_point_follows_its_devices(launcher, trainer, gpus, cpus):
    from hydra import compose, initialize_config_dir

    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.create(OmegaConf.to_container(compose("config", overrides=[f"trainer={trainer}"])))
    text = (ROOT / f"conf/launcher/{launcher}.yaml").read_text()
    asked = [re.search(rf"{key}: (\$\{{.*\}})$", text, re.MULTILINE)[1]
             for key in ("gpus(?:_per_node)?", "(?:num_cpus|cpus_per_task)")]  # fmt: skip
    assert OmegaConf.merge(config, {"asked": asked}).asked == [gpus, cpus]


@pytest.mark.parametrize(
    ("launcher", "cpus"),
    [
        ({"ray": {"remote": {"num_cpus": 2}}}, "2"),
        ({"ray": {"remote": {"num_cpus": 0.5}}}, "1"),
        ({"cpus_per_task": 8}, "8"),
        ({"cpus_per_task": None}, None),
    ],
)
def test_workers_of_a_point_follow_the_cpus_reserved_for_it(monkeypatch, launcher, cpus):
    """Ray binds no worker to its CPUs: a point on 128 cores would start 128 processes that decode images."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(128)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv(RESERVED, "")  # what the callback sets is taken back
    Launching().on_job_start(OmegaConf.create({"hydra": {"launcher": launcher}}))
    assert num_cores() == (128 if cpus is None else int(cpus))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert num_cores() == (64 if cpus is None else max(1, int(cpus) // 2))


def test_slurm_reserves_without_our_launcher(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(128)), raising=False)
    assert num_cores({"SLURM_CPUS_PER_TASK": "6", "LOCAL_WORLD_SIZE": "2"}) == 3


@pytest.mark.slow
@needs("ray", "hydra_plugins.hydra_ray_launcher")
def test_ray_runs_points_side_by_side_and_leaves_nothing(tmp_path):
    """Two workers on two CPUs share a GPU that is only declared."""
    init, remote = "hydra.launcher.ray.init", "hydra.launcher.ray.remote"
    before = ray_processes()
    done = sweep(
        tmp_path, "launcher=ray", f"{init}.num_cpus=2", f"{init}.num_gpus=1", f"{remote}.num_gpus=0.5", "seed=0,1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["ok", "ok"]
    assert {row["seed"] for row in rows(tmp_path)} == {0, 1}
    assert [row["environment"]["num_threads"] for row in rows(tmp_path)] == [1, 1]
    assert "launcher" not in str(rows(tmp_path)), "where a point ran is no part of it"
    assert "reference trained" not in done.stdout, "of points side by side nobody can read what each says"
    assert " svd " in done.stdout
    assert not (tmp_path / "home" / ".ray").exists(), "no token is left"
    deadline = time.monotonic() + 120
    while ray_processes() - before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray_processes() <= before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@needs("ray", "hydra_plugins.hydra_ray_launcher")
def test_a_sweep_on_ray_can_be_interrupted(tmp_path, number, code):
    """At once, with the rows of what ran; nothing that waits is begun."""
    init = "hydra.launcher.ray.init"
    arguments = ["-m", *FAST, f"results_dir={tmp_path / 'results'}", "launcher=ray", f"{init}.num_cpus=1", "seed=0,1"]
    with Started(run_script, "run.py", [*arguments, "schedule.reference.epochs=100000"], cwd=tmp_path) as started:
        started.wait_until(lambda: list(tmp_path.rglob("references/**/*.lock")))
        started.send_signal(number)
        done = started.wait()
    err = done.stderr
    assert done.returncode == code, done.stdout + err
    assert "1 running: stopping after this batch; repeat to stop now\n" in done.stdout
    assert "received at time" not in err, "Ray's own words"
    assert [row["status"] for row in rows(tmp_path)] == ["interrupted: SIGTERM; the same command goes on"], (
        done.stdout + err
    )
    assert err.endswith("(with force=true: all points)\n")


def ray_processes() -> set[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if "raylet" in line or "gcs_server" in line}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment in which Slurm's commands are ours."""
    bin, state = tmp_path / "bin", tmp_path / "slurm"
    bin.mkdir()
    state.mkdir()
    for command in ("sbatch", "srun", "scontrol", "sacct"):
        script = bin / command
        script.write_text(
            f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "fake_slurm.py"} {command} "$@"\n'
        )
        script.chmod(0o755)
    return {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(state)}


@pytest.mark.slow
@needs("slurm", "hydra_plugins.hydra_submitit_launcher")
def test_slurm_gets_one_array_and_a_preempted_point_goes_on(tmp_path, slurm):
    (tmp_path / "slurm" / "preempt").write_text(f"{tmp_path}/results/**/*.ckpt")
    done = sweep(
        tmp_path, "launcher=slurm", "seed=0,1", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=90",
        "hydra.launcher.partition=long", "checkpoint_seconds=0", "schedule.reference.epochs=60", **slurm,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "slurm" / "7.log").read_text()
    script = (tmp_path / "slurm" / "7.sh").read_text()
    for line in ("array=0-1%2", "time=90", "partition=long", "cpus-per-task=1", "nodes=1", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in script, script
    assert "gpus" not in script, "a CPU's point asks for none"
    assert "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK\n" in script
    assert [row["status"] for row in rows(tmp_path)] == ["ok", "ok"]
    assert [row["environment"]["num_threads"] for row in rows(tmp_path)] == [1, 1]
    assert (tmp_path / "slurm" / "was_requeued_0").exists()
    logs = [path.read_text() for path in tmp_path.glob("results/*/*/*/*/run.log")]
    assert sum("resuming from" in log for log in logs) == 1, logs
    deadline = time.monotonic() + 120
    while not (tmp_path / "slurm" / "ended").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (tmp_path / "slurm" / "ended").exists()
