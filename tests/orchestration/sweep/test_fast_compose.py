"""Composed by families or one by one: the same points, and the same refusals."""

from __future__ import annotations

import subprocess

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from orchestration.config import resolvers
from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point
from orchestration.sweep.fast_compose import Composer
from tests.commands import run_command
from tests.conftest import ROOT

# The sweep, and how many compositions it takes: one a family, and then one a point if the family does not serve.
SWEEPS = {
    "seeds": (["seed=range(0,4)"], 1),
    "copied": (["method=lc_cur,lc_svd", "rank.weight=0.5,1", "seed=0,1"], 2),
    "an alias is overridden": (["schedule.reference.epochs=3,4,5", "schedule.from_scratch.epochs=7,8,9"], 1),
    "an alias follows": (["schedule.reference.epochs=3,4,5", "method=svd"], 1),
    "what a resolver reads": (["schedule.scale=0.5,1,2", "seed=0,1,2"], 3),
    "lists": (["network.hidden=[8],[16,8],[]", "seed=0,1"], 1),
    "one item of a list": (["network.hidden.0=3,4", "seed=0,1"], 5),
    "a list and its item": (["network.hidden=[8],[16,8]", "network.hidden.0=3,4"], 4),
    "quoted": (["dataset=mnist", "dataset.root='a b','c,d',e"], 1),
    "kinds of a value": (["rank=fixed", "rank.ranks=3,[1,2,3],{fc1: 3},null"], 3),
    "other groups": (["dataset=digits,mnist", "network=mlp,lenet300", "seed=1,2"], 4),
    "floats": (["rank.weight=1e-3,1.0,1,.5", "method.normalize=true,false"], 1),
    "floats as they were meant": (["rank.weight=0.30000000000000004,0.3,1.4142135623730951"], 1),
    "choice and range": (["seed=choice(1,5)", "rank.weight=range(1,3,0.5)"], 1),
    "decays": (["decay@schedule.reference.decay=cosine,steps", "schedule.reference.learning_rate=0.1,0.2"], 2),
    "experiments": (["experiment=ic20/lenet300_lc_svd,ic20/resnet20_lc_svd_a", "seed=0,1,2"], 2),
    "a path that begins with a variable": (["experiment=yin21/resnet18_admm_tt", "seed=0,1,2"], 1),
    "in the middle of a text": (["dataset=mnist", "dataset.root=x${seed}y", "seed=0,1,2"], 4),
    "added": (["++trainer.precision=32-true,bf16-mixed", "seed=0,1"], 2),
    "an interpolation as a value": (["schedule.batch_size=64,${seed}", "seed=3,4"], 2),
    "a key with an alias of its file": (["method.rank.weight=1,2"], 3),
    "null": (["num_threads=null,1,2", "trainer.limit_batches=null,3"], 1),
    "refused values": (["seed=-1,3", "rank.weight=x,1"], 1),
    "refused keys": (["rank.wieght=1,2"], 3),
    "refused groups": (["method=foo,svd"], 3),
    "a key that only some have": (["rank=cost,budget", "rank.share=0.1,0.2"], 4),
    "no use": (["method=reference,svd", "rank=cost", "seed=0,1"], 2),
}


def told(compose, combination):
    """A point, or the lines of its refusal."""
    try:
        point = compose(combination)
        return point.config, point.choices, point.overrides, point.id, str(point.directory)
    except Exception as error:
        lines = error_lines(error)
        assert lines, error
        return lines


@pytest.mark.parametrize("name", SWEEPS)
def test_the_same_as_hydras_own_composition(name, monkeypatch):
    sweep, num_compositions = SWEEPS[name]
    resolvers.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(sweep)
        (combinations,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        calls = []
        real = type(loader).load_sweep_config
        monkeypatch.setattr(type(loader), "load_sweep_config", lambda *a: calls.append(None) or real(*a))
        composer = Composer(loader, base)
        fast = [told(composer, combination) for combination in combinations]

        def slow(combination):
            config = loader.load_sweep_config(base, list(combination))
            return Point.from_hydra(config, config.hydra)

        num_fast = len(calls)
        assert fast == [told(slow, combination) for combination in combinations]
    assert len(combinations) > 1
    assert num_fast == num_compositions


def test_names_that_stand_for_the_same_are_one_point(tmp_path):
    """`svd` is `direct` with its decomposition and rule: what is computed is one thing."""
    done = run_command(
        "run.py", "-m", "method=svd,direct", "decomposition=svd", "rank=budget", "seed=0,1", f"results_dir={tmp_path}",
        "plan=true",
    )  # fmt: skip
    assert done.stdout.startswith("2 points (2 repetitions dropped)\n"), done.stdout + done.stderr


def test_a_float_and_what_it_was_meant_to_be_are_one_point(tmp_path):
    done = plan("method=svd", "rank.share=0.30000000000000004,0.3,0.1,0.30000001", folder=tmp_path)
    assert done.stdout.startswith("3 points (1 repetition dropped)\n"), done.stdout + done.stderr


def test_what_is_no_part_of_a_point_cannot_be_swept(tmp_path):
    """Of two points that are one, the second would be dropped in silence."""
    done = run_command("run.py", "-m", "num_threads=1,2", f"results_dir={tmp_path}")
    assert done.returncode == 1
    assert "error: num_threads=1,2: cannot be swept: it does not change the computation; give one value" in done.stderr


def plan(*arguments: str, folder) -> subprocess.CompletedProcess:
    return run_command("run.py", "-m", *arguments, "plan=true", "logger=none", f"results_dir={folder}")


def test_points_of_one_id_are_one_point(tmp_path):
    """Also where it takes several options to see it."""
    done = plan("trainer.devices=2,4", "+trainer.num_nodes=1,2", "method=reference", folder=tmp_path)
    assert "3 points (1 repetition dropped)" in done.stdout, done.stderr
    done = plan("trainer=gpu,cpu", "method=quantise_dynamic", folder=tmp_path)
    assert "1 point (1 repetition dropped)" in done.stdout
    assert done.returncode == 0, f"the one that int8 runs on: {done.stderr}"


def test_what_shortens_a_schedule_can_be_swept(tmp_path):
    done = plan("schedule.scale=0.1,0.2", folder=tmp_path)
    assert "2 points" in done.stdout, done.stderr
