"""Runs of published rows: by their own settings, with a shorter schedule, and with settings that are none of theirs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orchestration.config.departures import note_of, settings_of
from orchestration.config.published import runs_of_all
from tests.made_rows import result

NAME = "tt_rnn/mlp1024_tt_rank3"


@pytest.fixture(scope="module")
def published():
    """The settings of the row, composed once."""
    return settings_of(NAME)


def make_row(settings, number, *, asks=True, **changes):
    """A row as a command leaves it, with `changes` of its dotted settings (`__` for the dot), without running it."""
    config = json.loads(json.dumps(settings))
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        assert last in node, "a setting that the row has"
        node[last] = value
    choices = {"dataset": "mnist", "network": "mlp1024", "method": "tt"}
    overrides = [f"experiment={NAME}"] if asks else []
    return result(number, id=f"id{number}", choices=choices, config=config, overrides=overrides)


def kinds(*rows):
    """Which rows count as what for tt_rnn/mlp1024_tt_rank3."""
    (runs,) = [runs for experiment, runs in runs_of_all(rows) if experiment.name == NAME]
    return {kind: [rows.index(row) for row in of] for kind, of in runs.items()}


def test_a_run_is_known_by_its_settings_and_by_the_row_that_it_asked_for(published):
    whole, short = published["published"], published["short"]
    rows = [
        make_row(whole, 0, seed=1, trainer__accelerator="gpu"),
        make_row(short, 1, asks=False),  # by another command, as the rows of measured/
        make_row(whole, 2, schedule__from_scratch__epochs=30),
        make_row(whole, 3, rank__ranks=4),
        make_row(whole, 4, rank__ranks=4, asks=False),
        make_row(whole, 5, schedule__from_scratch__epochs=300),
        make_row(whole, 6, schedule__from_scratch__learning_rate=0.5),
        make_row(short, 7, schedule__from_scratch__epochs="odd"),
    ]
    assert (rows[0].experiment, rows[1].experiment) == (NAME, None)
    assert kinds(*rows) == {"published": [0], "short": [1, 2], "other": [3, 5, 6, 7]}


def test_a_run_that_changed_its_network_still_belongs_to_its_row(published):
    row = make_row(published["published"], 0, network__hidden=[64])
    changed = dataclasses.replace(row, choices=row.choices | {"network": "lenet300"})
    assert kinds(changed)["other"] == [0]


def test_a_row_that_asks_for_no_file_of_ours_is_no_run(published):
    odd = make_row(published["published"], 0, rank__ranks=4)
    assert kinds(dataclasses.replace(odd, overrides=["experiment=../../x"]))["other"] == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=2", "trainer=gpu", "logger=none"], None),
        (["rank.ranks=4"], "other settings, which are no run of this row: rank.ranks=4 (published: 3)"),
        (
            ["schedule.from_scratch.epochs=30"],
            "a shortened schedule, which decides nothing: schedule.from_scratch.epochs=30 (published: 100)",
        ),
        (["schedule=short"], "a shortened schedule, which decides nothing: "),
    ],
)
def test_a_command_says_in_what_it_departs(make_point, overrides, said):
    note = note_of(make_point(f"experiment={NAME}", *overrides, tiny=False))
    if said is None:
        assert note is None
    else:
        assert note.startswith(f"note: experiment={NAME}: {said}")


def test_a_command_that_asks_for_no_row_is_told_nothing(make_point):
    assert note_of(make_point("rank.weight=2")) is None
