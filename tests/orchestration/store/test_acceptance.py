"""A row that says ok counts if it is this point's and whole; else the point runs again, and one line says why."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from orchestration.run.run_point import run_point
from orchestration.store.point_files import finished
from orchestration.store.status import read_status

POINT = ("trainer=smoke", "method=reference", "network.hidden=[8]")


@pytest.fixture
def done(make_point):
    """Two points that differ in their seeds, finished."""
    points = [make_point(*POINT, f"seed={seed}") for seed in (0, 1)]
    for point in points:
        assert run_point(point).is_ok
        assert read_status(point).kind == "done"
    return points


def change(point, **values):
    """Change values in a row: `compressed__macs=3`."""
    path = point.directory / "result.json"
    row = json.loads(path.read_text())
    for key, value in values.items():
        *parents, last = key.split("__")
        node = row
        for parent in parents:
            node = node[parent]
        node[last] = value
    path.write_text(json.dumps(row))


def swap(first, second, *names):
    for name in names:
        shutil.copy(first.directory / name, second.directory / name)


def other_weights(_, second):
    """A network that is whole, and of the same shapes."""
    path = second.directory / "network.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"state": {name: tensor + 1 for name, tensor in content["state"].items()}}, path)


OTHER_NETWORK = "network.pt is not there, is damaged, or is another one"
DAMAGES = {
    "another row": (lambda first, second: swap(first, second, "result.json"), "of another point (id "),
    "another folder": (lambda first, second: swap(first, second, "result.json", "network.pt"), "of another point (id "),
    "another network": (lambda first, second: swap(first, second, "network.pt"), OTHER_NETWORK),
    "other weights": (other_weights, OTHER_NETWORK),
    "no network": (lambda _, second: (second.directory / "network.pt").unlink(), OTHER_NETWORK),
    "variant": (lambda _, second: change(second, variant="0" * 12), "(variant 000000000000, expected "),
    "seed": (lambda _, second: change(second, seed=7), "(seed 7, expected 1)"),
    "nan": (lambda _, second: change(second, compressed__test_top1_percent=None), "no accuracy of the compressed"),
    "no measures": (lambda _, second: change(second, reference=None), "no measures of the reference network"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_not_this_points_is_set_aside_and_it_runs_again(done, name, capsys):
    first, second = done
    before = finished(second)
    damage, why = DAMAGES[name]
    damage(first, second)
    found = (second.directory / "result.json").read_bytes()
    assert finished(second) is None
    status = read_status(second)
    assert (status.kind, status.is_pending) == ("to be run again", True)
    assert why in status.why
    capsys.readouterr()
    again = run_point(second)
    assert capsys.readouterr().out.replace("\n", " ").count("runs again: ") == 1
    assert again.compressed.test_loss == before.compressed.test_loss
    assert read_status(second).kind == "done"
    assert (second.directory / "result.json.unusable").read_bytes() == found
    assert read_status(first).kind == "done"


def test_a_row_of_an_earlier_release_counts_without_a_digest(done):
    _, second = done
    row = json.loads((second.directory / "result.json").read_text())
    del row["network_digest"]
    (second.directory / "result.json").write_text(json.dumps(row))
    assert read_status(second).kind == "done"


def test_a_row_that_is_not_this_points_is_no_outcome_of_a_sweep(done, capsys):
    """Also where the point could not be run again."""
    from orchestration.sweep.summary import FAILED, summarise

    first, second = done
    swap(first, second, "result.json")
    assert summarise([first, second], [read_status(first), read_status(second)], {}, {}) == FAILED
    assert "1 of 2 points were not run" in capsys.readouterr().err
