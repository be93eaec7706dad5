"""Every command and every Python block of the documents is run, or checked as far as this machine can.

A command of run.py goes through the real composition and checks, a sweep through its grid; in the README, the tutorial
and some guides those on data that are always here really run, in miniature, a sweep with fewer points. Commands of
report.py run on rows of `measured/`. What cannot be run is named below.
"""

from __future__ import annotations

import argparse
import functools
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

import report
import run
from orchestration.sweep.axes import Interval, read_axes
from orchestration.sweep.fast_compose import Composer
from orchestration.sweep.grid import expand_grid
from orchestration.sweep.preflight import preflight
from runtime.forked import Tell
from tests.commands import run_command
from tests.documents import PAGES, ROOT, Block, Command, blocks, commands

# What is not run at all, and why. A command that nothing below knows, and that is not here, fails the test.
NOT_RUN = {
    "python report.py results --watch": "it ends with Ctrl-C; its options are read",
    "python report.py results --wandb my-project": "it needs a server; tests/reporting runs it against one of ours",
    "python docs/dashboard.py": "it needs a browser, and overwrites a committed picture",
}

# What makes a run small. A word of the command itself wins.
MINIATURE = (
    "latency_batch_size=2", "schedule.reference.epochs=1", "schedule.l_step.epochs=1", "schedule.fine_tune.epochs=1",
    "schedule.from_scratch.epochs=1", "schedule.penalty.num_steps=1", "trainer.limit_batches=2", "num_threads=1",
)  # fmt: skip
FEWER = ("seed=", "rank.weight=")  # of these a sweep runs with the first value only
SMALL = {"mlp", "custom"}  # networks that are trained within a second

# Pages whose commands really run, where data and network are those: their later blocks read what was left.
FOLLOWED = {
    "README.md",
    "docs/tutorial.md",
    *map("docs/guides/{}.md".format, ("own-network", "own-method", "sweeps", "results")),
}

SWEEPS = ROOT / "measured" / "sweeps.sh"

# The rows that report.py finds below `results`, as the tutorial's sweep leaves them.
ROWS = {"mnist/lenet300/tt_svd": "lenet300/tt_svd", "mnist/lenet300/reference": "lenet300/reference"}


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of(page, tmp_path, monkeypatch, capfd):
    """In order, in one folder and one Python namespace per page, as a reader follows it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("DATA_ROOT", raising=False)
    for name in ("measured", "conf", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        try:
            check_block(block, tmp_path, names, monkeypatch)
        except (Exception, SystemExit) as error:
            said = capfd.readouterr()
            last = "\n".join((said.out + said.err).splitlines()[-5:])
            pytest.fail(f"{block.where}: {type(error).__name__}: {error}\n{block.body}\n{last}")


def check_block(block: Block, folder: Path, names: dict[str, object], monkeypatch) -> None:
    """Run a block, or check it; raises whatever is wrong with it."""
    if block.title is not None:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
    if block.language == "python":
        compiled = compile(block.body, block.where, "exec")
        if block.title is None:
            exec(compiled, names)
    elif block.language == "yaml":
        assert isinstance(yaml.safe_load(block.body), dict)
    elif block.language == "sh":
        for command in commands(block):
            check(command, folder, monkeypatch)
    else:
        assert block.language == "text", f"a block is sh, python, yaml or text, not '{block.language}'"


def check(command: Command, folder: Path, monkeypatch) -> None:
    """One command, by its first words."""
    words = list(command.words)
    if words[0] == "srun":
        words = words[words.index("python") :]
    with monkeypatch.context() as patch:
        match words:
            case ["python", "run.py", *rest]:
                check_run(rest, folder, patch, is_followed=command.where.partition(":")[0] in FOLLOWED)
            case ["python", "report.py", *rest]:
                check_report(rest, folder, patch, is_run=str(command) not in NOT_RUN)
            case ["python", "-m", module, *rest] if module.startswith("benchmarks."):
                check_benchmark(module, rest, patch)
            case ["bash", "measured/sweeps.sh", *tables]:
                assert lines_of(tables)
            case ["make", *targets]:
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert targets and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
            case ["pip", "install", *what]:
                check_install([word for word in what if not word.startswith("-")])
            case _:
                assert str(command) in NOT_RUN, f"{command}: the test does not know what to do with it"


def check_run(words: list[str], folder: Path, monkeypatch, *, is_followed: bool = False) -> None:
    """Compose and check; run it if the data are here, the network is small and the page goes on from there."""
    if "--help" in words or "--cfg" in words:
        done = run_command("run.py", *words)
        assert done.returncode == 0 and done.stdout, done.stderr
        return
    is_sweep = "-m" in words or "--multirun" in words
    is_search = "hydra/sweeper=optuna" in words
    points = ends_of_search(words) if is_search else grid(tuple(words)) if is_sweep else [single(words)]
    assert len(points) > is_sweep, "a sweep of one point"
    is_followed = is_followed and (not is_search or find_spec("optuna") is not None)
    if is_followed and all(map(is_small, points)) and not any(word.startswith("launcher=") for word in words):
        given = {word.partition("=")[0] for word in words}
        small = [word for word in MINIATURE if word.partition("=")[0] not in given or "epochs" in word]
        small += ["hydra.sweeper.n_trials=2"] if is_search else []
        words = [word.partition(",")[0] if word.startswith(FEWER) else word for word in words]
        start([*words, *small, f"results_dir={folder / 'results'}", "logger=none"], monkeypatch)


def is_small(point: run.Point) -> bool:
    """Return True if the data of a point are always here and it runs within a second or two on the CPU."""
    is_here = point.choices["dataset"] == "digits" and point.config["trainer"]["accelerator"] == "cpu"
    return is_here and point.choices["network"] in SMALL


def start(words: list[str], monkeypatch) -> None:
    """Run `python run.py …` in this process, a sweep too: what a sweep does in a child is done here."""
    monkeypatch.setattr("orchestration.sweep.run_points.run_forked", run_here)
    monkeypatch.setattr("orchestration.sweep.sweep.require_checked", preflight_here)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' checks take no 1 for a float
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # what the command changes is put back
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    run.main()


def run_here(work: Callable[[Tell], None]) -> tuple[list[object], int]:
    """Do what `run_forked` does, without a fork: this process has started torch."""
    messages: list[object] = []
    work(messages.append)
    return messages, 0


def preflight_here(points: list[run.Point], *, is_here: bool) -> None:
    preflight(points, lambda message: None, is_here=is_here, writes=False)


def single(words: list[str]) -> run.Point:
    """The point that `python run.py …` would run, composed and checked."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=run.normalize_overrides(words), return_hydra_config=True)
        return run.Point.from_hydra(config, config.hydra)


@functools.cache  # several pages have the same sweeps
def grid(words: tuple[str, ...]) -> list[run.Point]:
    """The points of `python run.py -m …`, composed and checked as the sweeper does it; nothing is launched."""
    assert not any("searchpath" in word for word in words), "the files of a page are no part of the cache's key"
    overrides = [word for word in run.normalize_overrides(list(words)) if word not in ("-m", "--multirun")]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration("config", overrides=overrides, run_mode=RunMode.MULTIRUN)
        return expand_grid(loader, base, list(base.hydra.overrides.task))


def ends_of_search(words: list[str]) -> list[run.Point]:
    """The points at the ends of the axes of a search, composed and checked; without the sweeper, which is an extra."""
    overrides = [word for word in run.normalize_overrides(words) if word not in ("-m", "--multirun")]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        base = loader.load_configuration("config", overrides=overrides, run_mode=RunMode.MULTIRUN)
        axes = read_axes(loader, list(base.hydra.overrides.task))
        ends = {k: (a.low, a.high) if isinstance(a, Interval) else (a.values[0], a.values[-1]) for k, a in axes.items()}
        compose = Composer(loader, base)
        return [compose([f"{key}={values[end]}" for key, values in ends.items()]) for end in (0, 1)]


def check_report(words: list[str], folder: Path, monkeypatch, *, is_run: bool) -> None:
    """Run it on committed rows, and on those that the page made; read the options of what is not run."""
    arguments = report._parser().parse_args(words)
    report._require_sense(arguments, report._parser())
    if not is_run:
        return
    for name, source in ROWS.items():
        if not (path := folder / "results" / name).exists():
            shutil.copytree(ROOT / "measured" / source, path)
    if arguments.rebuild:  # a copy: the figure of the README is drawn into the folder
        (folder / "README.md").unlink()
        (folder / "README.md").write_text("<!-- report.py measured/lenet5/svd --markdown -->\n<!-- end -->\n")
    monkeypatch.setattr(sys, "argv", ["report.py", *words])
    report.main()


class _Read(Exception):
    """The options of a benchmark were read."""


def check_benchmark(module: str, words: list[str], monkeypatch) -> None:
    """Import it and read its options; what it measures takes minutes."""
    real = argparse.ArgumentParser.parse_args

    def read(self, *arguments):
        real(self, *arguments)
        raise _Read

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(_Read):
        runpy.run_module(module, run_name="__main__")


def lines_of(tables: list[str]) -> list[str]:
    """The commands of run.py in some functions of measured/sweeps.sh."""
    shell = {"PYTHON": "echo", "RESULTS": "results", "PATH": "/usr/bin:/bin"}
    command = ["bash", str(SWEEPS), *tables]
    done = subprocess.run(command, capture_output=True, text=True, env=shell)
    assert done.returncode == 0 and done.stdout, done.stderr
    return [line.removeprefix("run.py ") for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("table", re.findall(r"^(\w+)\(\) {  #", SWEEPS.read_text(encoding="utf-8"), re.MULTILINE))
def test_the_sweeps_behind_the_measured_tables(table):
    for line in lines_of([table]):
        assert grid(tuple(line.split()))


def check_install(what: list[str]) -> None:
    """The extras of what is installed are in pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in what:
        name, _, extra = word.rstrip("]").partition("[")
        assert name in (".", "compression-bench") and (not extra or extra in extras), word


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python run.py rank.wieght=1", "rank.wieght"),
        ("python run.py -m method=svd,lc_svdd", "there is no 'lc_svdd'"),
        ("python run.py -m seed=0,1 rank.share=0.1", "rank.share"),
        ("python report.py results --acros share", ""),
        ("python -m benchmarks.layers --round 3 --nothing", ""),
        ("python -m benchmarks.nothing", "benchmarks.nothing"),
        ("bash measured/sweeps.sh nothing", ""),
        ("make nothing", ""),
        ("pip install 'compression-bench[nothing]'", "nothing"),
        ("curl https://example.org", "does not know"),
    ],
)
def test_a_wrong_command_is_seen(command, said, tmp_path, monkeypatch, capfd):
    with pytest.raises((Exception, SystemExit)) as caught:
        check(Command("here:1", tuple(shlex.split(command))), tmp_path, monkeypatch)
    printed = capfd.readouterr()
    assert said in str(caught.value) + printed.out + printed.err


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_what_is_not_run_is_in_the_documents():
    """No reason outlives its command."""
    written = {str(c) for page in PAGES for block in blocks(page) if block.language == "sh" for c in commands(block)}
    inline = "".join((ROOT / page).read_text(encoding="utf-8").replace("\n", " ") for page in PAGES)
    assert [command for command in NOT_RUN if command not in written and f"`{command}`" not in inline] == []
