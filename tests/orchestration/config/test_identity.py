"""An identity holds what is computed: no path of ours, no option that changes nothing, no name that was renamed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from orchestration.config.identity import NAME, identify
from orchestration.config.signatures import class_constants
from orchestration.errors import ConfigError
from orchestration.store.reference_key import reference_key
from runtime.json_trees import leaves
from runtime.own_modules import OWN_MODULES
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
    for name in sorted(name for name in OWN_MODULES if (ROOT / name).is_dir()):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def ids(folder) -> list[list]:
    done = subprocess.run([sys.executable, "-c", IDS], cwd=folder, capture_output=True, text=True, timeout=600)
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
        assert is_a_value or not (isinstance(leaf, str) and leaf.partition(".")[0] in OWN_MODULES), place
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
    assert reference_key(own) != reference_key(make_point())
    assert make_point("network._target_=networks.mlp.mlp").id == make_point().id, "what the name stands for anyway"


def test_what_changes_no_number_changes_no_id(make_point):
    base = make_point("method=svd")
    same = ["trainer.log_every_n_steps=7", "++trainer.num_nodes=1", "trainer.devices=1", "checkpoint_seconds=9"]
    for override in same:
        assert make_point("method=svd", override).id == base.id, override
    other = ["trainer.precision=bf16-mixed", "trainer.accumulate=2", "trainer.devices=2", "trainer.accelerator=gpu"]
    assert len({base.id, *(make_point("method=svd", override).id for override in other)}) == 1 + len(other)
    assert make_point("trainer.devices=4").id == make_point("trainer.devices=2", "++trainer.num_nodes=2").id


def test_a_float_is_the_number_that_it_is_within_rounding_of(make_point):
    """What is computed too: one id stands for one configuration. √2 has more digits, and keeps them."""
    meant, summed = (make_point("method=svd", f"rank.share={share!r}") for share in (0.3, 0.1 + 0.2))
    assert summed.id == meant.id
    assert summed.config == meant.config
    assert make_point("method=svd", "rank.share=0.3000000001").id != meant.id
    root_of_two = make_point("experiment=tt_rnn/mlp1024_tt_rank3", "method.gain=1.4142135623730951", tiny=False)
    assert root_of_two.identity["method"]["gain"] == 1.4142135623730951


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
        return identify({"a": 1, **values}, "identity_module.net", {}).content

    assert content() == content(b=0) == content(b=0.0) == {"a": 1}
    assert content(b=1) == {"a": 1, "b": 1}
    assert content(b=False) == {"a": 1, "b": False}, "false is no number"


COSINE = "{_target_:lightning_modules.training.decay.Cosine,final:0.05}"


@pytest.mark.parametrize(
    ("override", "place", "kind"),
    [
        ("decomposition._target_=decompositions.cur.CUR", "decomposition", "decomposition/cur"),
        ("decomposition={_target_:decompositions.cur.CUR}", "decomposition", "decomposition/cur"),
        (f"schedule.reference.decay={COSINE}", "schedule.reference.decay", "decay/cosine"),
    ],
)
def test_a_class_of_ours_that_its_name_does_not_explain_counts(make_point, override, place, kind):
    """Under the option that stands for it, so that it may move too."""
    base, point = make_point("method=svd", "rank=energy"), make_point("method=svd", "rank=energy", override)
    node = point.identity
    for key in place.split("."):
        node = node[key]
    assert node["_target_"] == kind
    assert point.id != base.id
    assert (reference_key(point) == reference_key(base)) == (place != "schedule.reference.decay")


def test_a_file_of_the_users_that_names_a_class_of_ours_is_told_from_another(make_point, tmp_path):
    ids = set()
    for name in ("lenet300", "lenet5"):
        folder = tmp_path / name / "network"
        folder.mkdir(parents=True)
        text = (ROOT / "conf" / "network" / "lenet300.yaml").read_text()
        (folder / "mine.yaml").write_text(text.replace("networks.lenet.lenet300", f"networks.lenet.{name}"))
        point = make_point(f"hydra.searchpath=[{tmp_path / name}]", "network=mine", tiny=False)
        assert point.identity["network"] == {"_name_": "mine", "_target_": f"network/{name}"}
        ids.add(point.id)
    assert len(ids) == 2


def test_marks_are_found_wherever_an_annotation_keeps_them(tmp_path, monkeypatch):
    code = """
import runtime.identity as ri
from runtime.identity import AsBefore, CountsInOthers, NotIdentity
Where = Annotated[str, NotIdentity()]
class Base:
    def __init__(self, root: Where, a: Where | None, b: Optional[Where], c: Annotated[Where, MinLen(1)],
                 d: Annotated[int, ri.NotIdentity()], e: "Annotated[int, NotIdentity()]",
                 f: Annotated[list[str], AsBefore(value=("*",))], g: list[Annotated[int, AsBefore(0)]], h: int,
                 i: Annotated[int, CountsInOthers()]): ...
class Derived(Base):
    def __init__(self, extra: int, **arguments): ...
"""
    (tmp_path / "marks_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    values = {**dict.fromkeys("abcde", "x"), "root": "x", "f": ["*"], "g": [0], "h": 0, "i": 0}
    for target, extra in (("Base", {}), ("Derived", {"extra": 1})):
        found = identify(values | extra, f"marks_module.{target}", {})
        assert found.content == {"g": [0], "h": 0} | extra
        assert set(found.left_out) == {*"abcde", "root"}


@pytest.mark.parametrize(
    ("name", "parameter", "given", "said"),
    [
        ("unreadable", "AsBefore(X)] = 0", 1, r"a: expected a literal in its mark, as in AsBefore\(0\)"),
        # Where nobody gives the option, the default is computed; with the mark's value, something else.
        ("other_default", "AsBefore(0)] = 3", 0, r"a: expected its default in its mark, AsBefore\(3\)"),
    ],
)
def test_a_mark_that_does_not_say_the_default_is_refused(tmp_path, monkeypatch, name, parameter, given, said):
    code = f"from runtime.identity import AsBefore\nX = 0\ndef net(a: Annotated[int, {parameter}): ...\n"
    (tmp_path / f"{name}_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=said):
        identify({"a": given}, f"{name}_module.net", {})


def test_lists_of_classes_keep_them():
    """A list has no place that says which class an item is."""
    lists = [[{"_target_": f"decompositions.{name}"}] for name in ("cur.CUR", "svd.SVD")]
    contents = [identify({"items": items}, "no_such_module.thing", {}).content for items in lists]
    assert contents[0] == {"items": [{"_target_": "decomposition/cur"}]}
    assert contents[0] != contents[1]


@pytest.mark.parametrize(
    "overrides",
    [
        ["schedule.scale=0.02", "seed=1"],
        ["dataset=mnist", "dataset.root=x", "network=lenet300", "method=ntt", "decomposition.norm=batch"],
        ["method=quantise_dynamic", "trainer=cpu", "tags=[a]", "num_threads=1"],
        ["experiment=ic20/lenet300_lc_svd", "schedule=short", "logger=none", "results_dir=x"],
        ["method=admm_svd", "schedule.joint_epochs=50"],
        ["decay@schedule.reference.decay=cosine", "launcher=basic", "trainer.log_every_n_steps=3"],
    ],
)
def test_the_overrides_that_a_row_keeps_compose_its_id(make_point, overrides):
    point = make_point(*overrides, tiny=False)
    assert make_point(*point.identifying_overrides, tiny=False).id == point.id


def test_a_subclass_that_may_train_inherits_no_word_that_it_does_not(tmp_path, monkeypatch):
    code = "from lightning_modules.reference import Reference\nclass Tuned(Reference): ...\n"
    (tmp_path / "tuned_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert class_constants("lightning_modules.reference.Reference")["trains"] is False
    assert class_constants("tuned_module.Tuned") == {}


def test_a_class_that_another_module_hands_on_is_the_same_class(make_point):
    names = ("decompositions.svd.SVD", "decompositions.tucker2.SVD")
    ids = {make_point("method=svd", f"decomposition._target_={name}").id for name in names}
    assert ids == {make_point("method=svd").id}


def test_hydras_own_keys_count_where_no_annotation_fixes_them():
    """An instance or a factory, lists of Hydra's or plain ones."""
    nodes = [{"_target_": "builtins.dict", "a": 1}, {"_partial_": True}, {"_convert_": "all"}, {"_recursive_": False}]
    contents = [identify({"x": nodes[0] | node}, "no_such_module.thing", {}).content for node in nodes]
    assert all(one != other for index, one in enumerate(contents) for other in contents[:index])
    usual = {"_partial_": False, "_convert_": "none", "_recursive_": True}
    assert identify({"x": nodes[0] | usual}, "no_such_module.thing", {}).content == contents[0]
