"""The installed command, where the user's folder has modules of the same names as this project's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from runtime.own_modules import OWN_MODULES, hidden_by_own
from tests.conftest import ROOT, TINY

COMMAND = "from compression_bench import main; main()"


def installed(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with this folder before the one of the suite on the path, as PYTHONPATH is before site-packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *TINY, "results_dir=results", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=600,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Every name at the top of this project is a module of the user's, and the finder has found none of them."""
    for name in OWN_MODULES - {"networks"}:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} is not ours')\n")
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks/__init__.py").write_text("raise RuntimeError('networks is not ours')\n")
    (tmp_path / "networks/mine.py").touch()
    return tmp_path


def test_own_modules_of_these_names_do_not_break_the_installed_command(folder):
    done = installed(folder, "method=svd", "schedule.reference.epochs=1", "schedule.fine_tune.epochs=1")
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("results/digits/mlp/svd/*/result.json"))) == 1


@pytest.mark.parametrize("override", ["network.target=networks.mine.Net", "network._target_=networks.mine.Net"])
def test_a_module_that_ours_hides_is_named_with_both_places(folder, override):
    done = installed(folder, *(["network=custom"] if "_target_" not in override else []), override, "plan=true")
    assert done.returncode == 1
    said = f"'networks' is this project's, in {ROOT}, and hides {folder / 'networks/__init__.py'}: give yours another"
    assert said in done.stderr and "Traceback" not in done.stderr


def test_names_of_others_and_paths_that_hide_nothing_get_no_clause():
    assert hidden_by_own("torchvision.models.resnet18") == ""
    assert hidden_by_own("networks.resnet.nothing") == ""
