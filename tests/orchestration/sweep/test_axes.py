"""The axes of a sweep, read from Hydra's syntax, and what a grid cannot serve."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from orchestration.errors import ConfigError
from orchestration.sweep.axes import Choices, Interval, read_axes
from tests.commands import run_command
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def loader():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    ("override", "key", "axis"),
    [
        ("seed=3", "seed", Choices(("3",))),
        ("seed=1,2", "seed", Choices(("1", "2"))),
        ("+trainer.num_nodes=choice(1,2)", "+trainer.num_nodes", Choices(("1", "2"))),
        ("rank.share=range(0.25,1,0.25)", "rank.share", Choices(("0.25", "0.5", "0.75"), are_ordered=True)),
        ("trainer=glob([c*,g*])", "trainer", Choices(("cpu", "gpu"))),
        ("rank.share=interval(0.1,0.5)", "rank.share", Interval(0.1, 0.5, is_integer=False, is_log=False)),
        ("seed=int(interval(1,9))", "seed", Interval(1, 9, is_integer=True, is_log=False)),
        ("rank.weight=tag(log,interval(1e-3,1))", "rank.weight", Interval(1e-3, 1.0, is_integer=False, is_log=True)),
    ],
)
def test_what_is_read(loader, override, key, axis):
    assert read_axes(loader, [override]) == {key: axis}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=range(3,0)", "it has no values: range"),
        ("seed=range(0,3,step=0)", "expected a step other than 0"),
        ("rank.share=glob(*)", "it has no values: glob"),
        ("experiment=glob(*)", "it has no values: glob"),
        ("rank.share=interval(0.5,0.1)", "expected an interval from a smaller number to a larger one"),
        ("rank.share=tag(log,interval(0,1))", "expected a logarithmic interval above 0, got 0.0"),
    ],
)
def test_what_has_no_values_is_named(loader, override, said):
    with pytest.raises(ConfigError) as error:
        read_axes(loader, ["seed=1,2", override])
    assert str(error.value).startswith(f"{override}: {said}")


def test_a_later_override_wins(loader):
    assert read_axes(loader, ["seed=1,2", "seed=5"]) == {"seed": Choices(("5",))}


def test_an_interval_in_a_grid_is_one_line(tmp_path):
    done = run_command("run.py", "-m", "method=svd", "rank.share=interval(0.1,0.5)", "seed=0,1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: rank.share: a grid has no values for interval(); give choice(…) or range(…), or search: "
        "hydra/sweeper=optuna\n"
    )
