"""ADMM has one L step an epoch, and as many as all L steps of the network's own recipe have epochs."""

from __future__ import annotations

import re

import pytest

from tests.conftest import GIVEN, ROOT

FILES = sorted((ROOT / "conf" / "network").glob("*.yaml"))
PUBLISHED = (ROOT / "conf" / "schedule" / "published.yaml").read_text()


def number(text: str, pattern: str) -> int | None:
    found = re.search(pattern, text)
    return None if found is None else int(found[1])


def recipe(text: str) -> list[int | None]:
    patterns = (r"\n *l_step:(?:\n .*)*?\n +epochs: \$\{scaled:(\d+)\}", r"num_steps: (\d+)", r"joint_epochs: \D*(\d+)")
    return [number(text, pattern) for pattern in patterns]


@pytest.mark.parametrize("path", [path for path in FILES if any(recipe(path.read_text()))], ids=lambda path: path.stem)
def test_a_file_that_says_its_l_steps_says_their_epochs(path):
    """[IC20] list one step more than are run: the first of theirs has a C step alone."""
    published = recipe(PUBLISHED)
    epochs, steps, together = (own or known for own, known in zip(recipe(path.read_text()), published, strict=True))
    assert together in (epochs * steps, epochs * (steps + 1))


@pytest.mark.parametrize(
    ("network", "steps"),
    [("lenet300", 900), ("lenet5", 900), ("resnet20", 750), ("resnet50", 200), ("torchvision", 200)],
)
def test_steps_of_admm(make_point, network, steps):
    overrides = ("method=admm_svd", "schedule=published", f"network={network}", *GIVEN.get(network, ()))
    schedule = make_point(*overrides, tiny=False).config["schedule"]
    assert (schedule["l_step"]["epochs"], schedule["penalty"]["num_steps"]) == (1, steps)


def test_the_epochs_count_where_they_are_steps_and_nowhere_else(make_point):
    def id(method: str, epochs: int) -> str:
        return make_point(f"method={method}", f"schedule.joint_epochs={epochs}", tiny=False).id

    assert id("lc_svd", 10) == id("lc_svd", 20)
    assert id("admm_svd", 10) != id("admm_svd", 20)
