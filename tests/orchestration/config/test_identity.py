"""An identity holds what is computed: no path of ours, no option that changes nothing, no name that was renamed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from orchestration.config.identity import NAME, identify
from orchestration.paths import OWN_PACKAGES
from orchestration.store.reference_key import reference_key
from runtime.json_trees import leaves
from tests.conftest import GIVEN, ROOT

NETWORKS = sorted(path.stem for path in (ROOT / "conf" / "network").glob("*.yaml"))
IDS = """
import json, sys
from hydra import compose, initialize_config_dir
from orchestration.config import resolvers
from orchestration.config.point import Point
from orchestration.paths import CONF
from orchestration.store.reference_key import reference_key
resolvers.register()
with initialize_config_dir(str(CONF), version_base="1.3"):
    for overrides in (["method=lc_svd"], ["method=direct", "decomposition=tt", "network=resnet20", "dataset=cifar10"]):
        config = compose("config", overrides, return_hydra_config=True)
        point = Point.from_hydra(config, config.hydra)
        print(json.dumps([point.id, point.variant, reference_key(point)]))
"""


@pytest.fixture
def copy_of_the_suite(tmp_path):
    for name in (*OWN_PACKAGES, "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def ids(folder) -> list[list]:
    done = subprocess.run([sys.executable, "-c", IDS], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert re.search(old, text), f"{path} has no {old}"
    path.write_text(re.sub(old, new, text))


def test_renamed_classes_moved_modules_and_new_options_change_no_id(copy_of_the_suite):
    root = copy_of_the_suite
    before = ids(root)
    # A class gets another name, in its module and in the files that name it.
    edit(root / "lightning_modules" / "joint.py", r"class Joint\b", "class AlternatingOptimisation")
    edit(root / "conf" / "method" / "joint.yaml", r"lightning_modules\.joint\.Joint", "elsewhere")
    edit(root / "conf" / "method" / "joint.yaml", "elsewhere", "lightning_modules.joint.AlternatingOptimisation")
    # A module moves.
    (root / "networks" / "families").mkdir()
    (root / "networks" / "families" / "__init__.py").touch()
    shutil.move(root / "networks" / "resnet.py", root / "networks" / "families" / "resnet.py")
    for path in (root / "conf" / "network").glob("*.yaml"):
        path.write_text(path.read_text().replace("networks.resnet.", "networks.families.resnet."))
    # A method, a format and a training phase get an option whose default means "as before"; all files list it.
    mark = "Annotated[bool, AsBefore(False)] = False\n"
    imported = r"\1from runtime.identity import AsBefore\n"
    for module, after, option in (
        ("lightning_modules/joint.py", r"(    multipliers: bool = True\n)", "    damped: " + mark),
        ("decompositions/tt.py", r"(class TT\b[^\n]*\n    \"\"\"(?s:.*?)\"\"\"\n)", "    rounded: " + mark),
        ("lightning_modules/training/schedule.py", r"(    nesterov: bool = True\n)", "    clipped: " + mark),
    ):
        edit(root / module, after, r"\1" + option)
        edit(root / module, r"(from __future__ import annotations\n)", imported)
        if "Annotated" not in (root / module).read_text().split("class ")[0]:
            edit(root / module, r"(from __future__ import annotations\n)", r"\1from typing import Annotated\n")
    edit(root / "conf" / "method" / "joint.yaml", r"(  multipliers: true\n)", r"\1  damped: false\n")
    (root / "conf" / "decomposition" / "tt.yaml").open("a").write("rounded: false\n")
    assert ids(root) == before
    # Another value of the new option is another point.
    edit(root / "conf" / "decomposition" / "tt.yaml", "rounded: false", "rounded: true")
    edit(root / "conf" / "method" / "joint.yaml", "damped: false", "damped: true")
    changed = ids(root)
    assert all(one[0] != other[0] for one, other in zip(before, changed, strict=True))
    assert [one[2] for one in before] == [other[2] for other in changed], "no method is part of a reference"


@pytest.mark.parametrize("network", NETWORKS)
def test_no_import_path_of_ours_is_part_of_an_identity(make_point, network):
    point = make_point(f"network={network}", *GIVEN.get(network, []), tiny=False)
    for place, leaf in leaves(point.identity):
        is_a_value = place == ("network", "target")  # what the user of network=custom has typed
        assert is_a_value or not (isinstance(leaf, str) and leaf.partition(".")[0] in OWN_PACKAGES), place
        assert place[-1] != "_target_", "all that is chosen in these files is ours"


def test_every_class_of_ours_is_known_by_the_name_of_a_file(make_point):
    """Files give `_target_` where a group is chosen, or where the place itself says which class it is."""
    identity = make_point("decay@schedule.fine_tune.decay=steps", tiny=False).identity
    named = {".".join(map(str, place[:-1])): leaf for place, leaf in leaves(identity) if place[-1] == NAME}
    phases = {f"schedule.{phase}.decay" for phase in ("reference", "l_step", "fine_tune", "from_scratch")}
    assert set(named) == {"dataset", "network", "method", "decomposition", "rank"} | phases
    assert (named["dataset"], named["method"], named["schedule.fine_tune.decay"]) == ("digits", "lc_svd", "steps")


def test_a_users_own_class_is_a_value(make_point):
    own = make_point("network._target_=tests.conftest.dropout_mlp")
    assert own.identity["network"]["_target_"] == "tests.conftest.dropout_mlp"
    typed = make_point("network._target_=networks.mlp.mlp")
    assert len({make_point().id, own.id, typed.id}) == 3, "what was typed counts, ours too"
    assert reference_key(own) != reference_key(make_point())


def test_what_changes_no_number_changes_no_id(make_point):
    base = make_point("method=svd")
    same = ["trainer.log_every_n_steps=7", "++trainer.num_nodes=1", "trainer.devices=1", "checkpoint_seconds=9"]
    for override in same:
        assert make_point("method=svd", override).id == base.id, override
    other = ["trainer.precision=bf16-mixed", "trainer.accumulate=2", "trainer.devices=2", "trainer.accelerator=gpu"]
    assert len({base.id, *(make_point("method=svd", override).id for override in other)}) == 1 + len(other)
    assert make_point("trainer.devices=4").id == make_point("trainer.devices=2", "++trainer.num_nodes=2").id


@pytest.mark.parametrize("method", ["reference", "quantise_dynamic", "quantise_static"])
def test_the_kind_of_device_is_no_part_of_a_method_that_trains_nothing(make_point, method):
    on_cpu, on_gpu = (make_point(f"method={method}", f"trainer={kind}") for kind in ("cpu", "gpu"))
    assert on_cpu.id == on_gpu.id
    assert not on_cpu.is_identity("trainer.accelerator")


def test_methods_on_either_kind_of_device_share_a_reference(make_point):
    """Int8 runs on the CPU alone, the others on a GPU where there is one."""
    points = [("quantise_dynamic", "cpu"), ("prune", "cpu"), ("svd", "gpu"), ("lc_svd", "gpu")]
    keys = [reference_key(make_point(f"method={method}", f"trainer={kind}")) for method, kind in points]
    assert all(key == keys[0] for key in keys)
    for override in ("trainer.precision=bf16-mixed", "trainer.accumulate=2", "trainer.devices=2"):
        assert reference_key(make_point(override)) != keys[0], override


def test_decays_of_other_kinds_with_equal_values_are_told_apart(make_point):
    """Cosine and exponential decays both have a single option, `final`."""
    decays = ("cosine", "exponential")
    points = [make_point(f"decay@schedule.reference.decay={d}", "schedule.reference.decay.final=0.1") for d in decays]
    assert points[0].id != points[1].id
    assert reference_key(points[0]) != reference_key(points[1])


def test_an_option_that_is_left_out_at_one_value_counts_at_all_others(tmp_path, monkeypatch):
    code = "from runtime.identity import AsBefore\ndef net(a, b: Annotated[int, AsBefore(0)] = 0): ...\n"
    (tmp_path / "identity_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    def content(**values):
        return identify({"a": 1, **values}, "identity_module.net", {}, ()).content

    assert content() == content(b=0) == content(b=0.0) == {"a": 1}
    assert content(b=1) == {"a": 1, "b": 1}
    assert content(b=False) == {"a": 1, "b": False}, "false is no number"
