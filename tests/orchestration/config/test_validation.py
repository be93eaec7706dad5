"""Configurations are held against signatures: wrong keys, types and ranges are named, right ones pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from orchestration.config.signatures import read_signature
from orchestration.config.validation import check
from orchestration.errors import ConfigError
from tests.conftest import ROOT

MODULE = """
from __future__ import annotations
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias
from annotated_types import Ge, Gt, Le, MinLen
import torch_is_never_imported
from .others import Kind, Other
from numbers import Number
from nowhere import Unknown

Share = Annotated[float, Gt(0), Le(1)]
Size: TypeAlias = Annotated[int, Ge(1)]
Maker = Callable[..., Other]

@dataclass(frozen=True)
class Base:
    level: int

@dataclass(frozen=True)
class Thing(Base):
    kind: ClassVar[str] = "x"
    size: Annotated[int, Ge(1)] = 1
    share: Share = 0.5
    mode: Literal["a", "b"] = "a"
    names: list[str] = field(default_factory=list)
    ranks: int | dict[str, int] = 3
    flag: bool = False
    other: Other | None = None
    maker: Callable[..., Other] | None = None
    some: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["x"])
    kinds: Kind | None = None
    number: Number = 1
    unknown: Unknown = 1
    alias: Maker | None = None
    typed: Size = 1
    several: list[Other] = field(default_factory=list)
    hidden: int = field(default=0, init=False)

class Plain:
    def __init__(self, width: float, /, depth=2, *, scale: "float | None" = None): ...

class Child(Plain): ...

def build(shape: Sequence[int], **options): ...
"""


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    name = f"schema_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("from .module import Thing as Renamed\n")
    (tmp_path / name / "module.py").write_text(MODULE)
    (tmp_path / name / "others.py").write_text("import enum\nclass Other: ...\nclass Kind(enum.Enum): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def problems(target: str, **values) -> str:
    try:
        check(values, target)
    except ConfigError as error:
        return str(error)
    return ""


GOOD = {
    "level": 1, "size": 4, "share": 1, "mode": "b", "names": ["x"], "ranks": {"fc*": 2}, "flag": True,
    "other": {"_target_": "decompositions.svd.SVD"},
}  # fmt: skip


def test_right_values_pass(package):
    assert problems(f"{package}.module.Thing", **GOOD) == ""
    assert problems(f"{package}.Renamed", level=0) == ""
    assert problems(f"{package}.module.Thing", **GOOD | {"other": None, "ranks": 5, "share": 1e-3}) == ""
    assert problems(f"{package}.module.Child", width=1, depth="anything", scale=None) == ""
    assert problems(f"{package}.module.build", shape=[1, 2], anything="goes") == ""
    assert package not in {m.split(".")[0] for m in sys.modules}, "the module was read, not imported"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"level": "abc"}, "level: expected int, got 'abc'"),
        ({"level": 1.5}, "level: expected int, got 1.5"),
        ({"level": True}, "level: expected int, got True"),
        ({"level": None}, "level: expected int, got None"),
        ({"level": "???"}, "level: a value must be given"),
        ({"size": 0}, "size: expected int >= 1, got 0"),
        ({"share": 1.5}, "share: expected float > 0, <= 1, got 1.5"),
        ({"mode": "c"}, "mode: expected 'a' or 'b', got 'c'"),
        ({"names": "x"}, "names: expected list[str], got 'x'"),
        ({"names": [1]}, "names: expected list[str], got [1]"),
        ({"ranks": {"a": "b"}}, "ranks: expected int or dict[str, int], got {'a': 'b'}"),
        ({"flag": "yes"}, "flag: expected bool, got 'yes'"),
        ({"other": "abc"}, "other: expected Other or None, got 'abc'"),
        ({"other": {"a": 1}}, "other: expected Other or None"),
        ({"other": {"_target_": "no_such_package.X"}}, "other._target_: 'no_such_package.X' does not exist"),
        ({"other": {"_target_": "decompositions.svd.SDV"}}, "other._target_: 'decompositions.svd.SDV' does not exist"),
        ({"other": {"_target_": 5}}, "other._target_: expected the dotted path of a class or function, got 5"),
        (
            {"other": {"_target_": "decompositions.svd.SVD", "_partial_": True}},
            "other._partial_: expected false, got True",
        ),
        ({"maker": {"_target_": "decompositions.svd.SVD"}}, "maker._partial_: expected true, got False"),
        ({"maker": 3}, "maker: expected Other or None, got 3"),
        ({"typed": 0}, "typed: expected int >= 1, got 0"),
        (
            {"several": [{"_target_": "decompositions.svd.SDV"}]},
            "several.0._target_: 'decompositions.svd.SDV' does not exist",
        ),
        ({"several": [3]}, "several: expected list[Other], got [3]"),
        ({"_recursive_": False}, "_recursive_: unknown key"),
        ({"some": []}, "some: expected list[str] length >= 1, got []"),
        ({"sise": 3}, "sise: unknown key; did you mean 'size'?"),
        ({"qqqq": 3}, "qqqq: unknown key; known: level, size"),
        ({"hidden": 3}, "hidden: unknown key"),
        ({"kind": "y"}, "kind: unknown key"),
    ],
)
def test_wrong_values_are_named(package, change, said):
    message = problems(f"{package}.module.Thing", **GOOD | change)
    assert said in message
    assert "\n" not in message


def test_values_that_cannot_be_judged_pass(package):
    target = f"{package}.module.Thing"
    assert problems(target, level=1, kinds="FIRST", number=2.5, unknown="anything", typed=3) == ""
    assert problems(target, level=1, alias={"_target_": "decompositions.svd.SVD", "_partial_": True}) == ""
    assert problems("torchvision.datasets.MNIST", root="x", transform=None) == "", "a bare Callable"
    assert problems("torch.nn.Conv2d", in_channels=1, out_channels=2, kernel_size=3) == "", "an alias of a library"


def test_missing_arguments_and_partial(package):
    target = f"{package}.module.Thing"
    assert problems(target) == "config: level must be given"
    assert problems(target, _partial_=True) == ""
    nested = {"_target_": target, "level": 1, "other": {"_target_": target, "size": 0}}
    assert "other.size: expected int >= 1" in problems(target, **nested)
    assert "other: level must be given" in problems(target, **nested)


def test_equal_values_of_other_types_are_each_checked(package):
    """`True == 1.0` in Python, but one of them is no number."""
    target = f"{package}.module.Thing"
    for first, second in ((1, True), (1, 1.5), (True, 1)):
        nodes = [{"_target_": target, "level": 1, "size": value, "other": None} for value in (first, second)]
        config = {"level": 1, "other": nodes[0], "maker": nodes[1] | {"_partial_": True}}
        assert problems(target, **config) != "", (first, second)


def test_a_broken_module_is_named_with_its_line(package, tmp_path):
    (tmp_path / package / "broken.py").write_text("x = 1\nclass X(:\n")
    message = problems(f"{package}.module.Thing", level=1, other={"_target_": f"{package}.broken.X"})
    assert "broken.py:2: " in message
    assert "\n" not in message


def test_names_are_followed_through_star_imports(package, tmp_path):
    (tmp_path / package / "star.py").write_text("from .module import *\nfrom .star import *\n")
    assert "level: expected int" in problems(f"{package}.star.Thing", level="x")
    assert problems(f"{package}.star.NoSuch", level="x") == "", "what cannot be followed is not refused"
    assert read_signature("torch.nn.Linear").parameters["in_features"].required
    assert "weights" in read_signature("torchvision.models.resnet18").parameters


def test_targets_that_cannot_be():
    for target, said in [("json", "names no class"), ("json.decoder", "is a module"), ("json.nope", "no 'nope'")]:
        with pytest.raises(LookupError, match=said):
            read_signature(target)
    assert read_signature("math.sqrt") is None, "compiled code has no source: nothing is refused"


def yaml_nodes():
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        stack = [yaml.safe_load(path.read_text()) or {}]
        while stack:
            node = stack.pop()
            if isinstance(node, dict):
                stack.extend(value for key, value in node.items() if key != "hydra")  # that is for Hydra to check
                if "_target_" in node:
                    yield pytest.param(path, node, id=f"{path.relative_to(ROOT / 'conf')}:{node['_target_']}")


@pytest.mark.parametrize(("path", "node"), yaml_nodes())
def test_our_schema_agrees_with_the_imported_signature(path: Path, node: dict):
    """Parameters read from the source equal those that Python gives after importing."""
    import inspect

    from hydra.utils import get_object

    read = read_signature(node["_target_"])
    real = inspect.signature(get_object(node["_target_"])).parameters
    real = {k: p for k, p in real.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    parameters = {} if read is None else read.parameters  # a class without a constructor of its own takes none
    assert set(parameters) == set(real)
    assert {k for k, p in parameters.items() if p.required} == {k for k, p in real.items() if p.default is p.empty}


def test_marks_of_identity_bound_no_value_and_are_not_in_messages(make_point):
    """They stand beside types and bounds, whose check they must not switch off."""
    for override, said in (
        ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps: expected int >= 1, got 0"),
        ("num_threads=0", "num_threads: expected int >= 1, <= 1024 or None, got 0"),
        ("results_dir=3", "results_dir: expected str length >= 1, got 3"),
        ("force=3", "force: expected bool, got 3"),
    ):
        with pytest.raises(ConfigError) as caught:
            make_point(override, tiny=False)
        assert str(caught.value) == said
