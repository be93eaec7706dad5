"""Rows of an earlier schema get the ids of today, their numbers stay, and what cannot be told is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.result import read_result, write_json
from orchestration.config.point import Point, without
from orchestration.store.migrate import migrate
from runtime.digest import digest_json
from runtime.file_lock import locked
from tests.conftest import ROOT

# Where and how, as rows of schema 1.1 left it out; and options that did not exist when such a row was written.
NOT_IN_OLD_ROWS = (
    "logger", "results_dir", "plan", "force", "fail_fast", "num_threads", "checkpoint_seconds", "tags", "reported",
    "dataset.root", "dataset.download", "schedule.distillation", "trainer.accumulate", "trainer.compile",
)  # fmt: skip
OVERRIDES = ("dataset=mnist", "network=lenet300", "method=lc_svd", "rank.weight=0.3", "seed=2")
OTHER = ("dataset=mnist", "network=lenet300", "decay@schedule.reference.decay=cosine", "seed=2")


def old_row(point: Point, folder: Path, **changed) -> dict:
    """Write a row as schema 1.1 had it: import paths of that time, a digest of them as its id."""
    config = json.loads(
        json.dumps(without(point.config, NOT_IN_OLD_ROWS))
        .replace("lightning_modules.training.", "lightning_modules.")
        .replace("trainer_config.TrainerConfig", "profile.Profile")
        .replace("datamodules.memory.mnist", "datamodules.mnist")
    )
    row = {
        **{
            "id": digest_json({"config": config, "choices": point.choices}),
            "variant": digest_json(without(config, ("seed",))),
            "status": "ok",
        },
        **{"choices": point.choices, "seed": 2, "config": config, "overrides": list(point.overrides)},
        **{"signature": {}, "environment": {}, "started": "2026-01-01T00:00:00+0000", "seconds": 1.5},
        **{"violation": 0.25, "schema_version": "1.1"},
    } | changed
    write_json(folder / row["id"] / "result.json", row)
    return row


@pytest.fixture
def composed(tmp_path, make_point):
    """Points whose overrides are all that the command had."""
    from dataclasses import replace

    return lambda *overrides: replace(make_point(*overrides, tiny=False), overrides=overrides)


def test_a_row_gets_the_id_that_its_command_has_today(composed, tmp_path):
    point = composed(*OVERRIDES)
    old = old_row(point, tmp_path / "rows")
    (tmp_path / "rows" / old["id"] / "network.pt").write_bytes(b"weights")
    assert list(migrate([tmp_path / "rows"])) == []
    (path,) = (tmp_path / "rows").rglob("result.json")
    row = read_result(path)
    assert path.parent.name == row.id == point.id != old["id"]
    assert (row.variant, row.config) == (point.variant, point.identity)
    assert (row.violation, row.seconds, row.started) == (0.25, 1.5, old["started"])
    assert (path.parent / "network.pt").read_bytes() == b"weights", "the folder goes with its row"
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert list(migrate([tmp_path / "rows"])) == []
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before, "once more changes nothing"


def test_values_that_a_row_has_win_over_those_of_today(composed, tmp_path):
    """The recipe of a network may have changed since; the row keeps what it was trained with."""
    point = composed(*OVERRIDES)
    old_row(point, tmp_path / "rows")
    (path,) = (tmp_path / "rows").rglob("result.json")
    row = json.loads(path.read_text())
    row["config"]["schedule"]["l_step_decay"] = 0.5
    path.write_text(json.dumps(row))
    (line,) = migrate([tmp_path / "rows"])
    assert "its id is no digest of its configuration: somebody has edited it" in line
    row["id"] = digest_json({"config": row["config"], "choices": row["choices"]})
    path.write_text(json.dumps(row))
    path.parent.rename(tmp_path / "rows" / row["id"])
    assert list(migrate([tmp_path / "rows"])) == []
    (path,) = (tmp_path / "rows").rglob("result.json")
    row = read_result(path)
    assert row.config["schedule"]["l_step_decay"] == 0.5
    assert row.id not in (point.id, None)
    assert row.id == digest_json(row.config)


def test_an_option_whose_default_is_not_what_old_code_did_says_what_it_did(composed, tmp_path):
    """Joint methods let the rule choose the dense layer at every step before there was an option for it."""
    old_row(composed(*OVERRIDES), tmp_path / "rows")
    (path,) = (tmp_path / "rows").rglob("result.json")
    row = json.loads(path.read_text())
    del row["config"]["method"]["choose_dense"]
    row["id"] = digest_json({"config": row["config"], "choices": row["choices"]})
    path.write_text(json.dumps(row))
    path.parent.rename(tmp_path / "rows" / row["id"])
    assert list(migrate([tmp_path / "rows"])) == []
    (path,) = (tmp_path / "rows").rglob("result.json")
    assert read_result(path).overrides[-1] == "method.choose_dense=every_step"
    assert read_result(path).id == composed(*OVERRIDES, "method.choose_dense=every_step").id


def test_an_option_that_was_replaced_becomes_what_says_the_same(composed, tmp_path):
    """HOOI took a number of sweeps; it runs until it converges now."""
    overrides = ("dataset=mnist", "network=lenet300", "method=svd", "decomposition=tucker", "seed=2")
    old = old_row(composed(*overrides), tmp_path / "rows")
    for node in (old["config"]["decomposition"], old["config"]["method"]["decomposition"]):
        del node["max_sweeps"], node["tolerance"]
        node["sweeps"] = 3
    new_id = digest_json({"config": old["config"], "choices": old["choices"]})
    write_json(tmp_path / "rows" / old["id"] / "result.json", old | {"id": new_id})
    (tmp_path / "rows" / old["id"]).rename(tmp_path / "rows" / new_id)
    assert list(migrate([tmp_path / "rows"])) == []
    (path,) = (tmp_path / "rows").rglob("result.json")
    same = composed(*overrides, "decomposition.max_sweeps=3", "decomposition.tolerance=0.0")
    assert read_result(path).id == same.id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"overrides": [*OTHER]}, "its command composes Cosine today, it was Exponential"),
        ({"overrides": ["dataset=mnist", "method=lcsvd"]}, "there is no 'lcsvd'"),
        ({"overrides": [*OVERRIDES, "method=lc_cur"]}, "its command composes CUR today, it was SVD"),
        ({"overrides": [*OVERRIDES, "method=joint"]}, "its command chooses"),
    ],
)
def test_a_row_whose_command_is_another_today_is_left_and_named(composed, tmp_path, change, said):
    old = old_row(composed(*OVERRIDES), tmp_path / "rows", **change)
    path = tmp_path / "rows" / old["id"] / "result.json"
    before = path.read_bytes()
    (line,) = migrate([tmp_path / "rows"])
    assert line.startswith(f"{path}: not migrated: ")
    assert said in line
    assert path.read_bytes() == before


def test_an_option_that_has_gone_leaves_the_row_alone(composed, tmp_path):
    old = old_row(composed(*OVERRIDES), tmp_path / "rows")
    path = tmp_path / "rows" / old["id"] / "result.json"
    config = old["config"] | {"momentum": 3}
    new = {"config": config, "id": digest_json({"config": config, "choices": old["choices"]})}
    path.write_text(json.dumps(old | new))
    (line,) = migrate([tmp_path / "rows"])
    assert "there is no momentum any more" in line


def test_of_two_rows_of_one_point_the_second_is_left(composed, tmp_path):
    """Rows of another kind of device were points of their own, also where they trained nothing."""
    point = composed("dataset=mnist", "network=lenet300", "method=reference", "seed=2")
    first = old_row(point, tmp_path / "rows")
    config = json.loads(json.dumps(first["config"]).replace('"cpu"', '"gpu"'))
    id_of_second = digest_json({"config": config, "choices": point.choices})
    second = old_row(point, tmp_path / "rows", id=id_of_second, config=config)
    (line,) = migrate([tmp_path / "rows"])
    assert "another row computes the same" in line
    assert f"rows/{max(first['id'], second['id'])}/" in line, "they are taken in order"
    assert (tmp_path / "rows" / point.id).is_dir()


@pytest.mark.parametrize(
    "content", ['{"schema_version": "1.1"', "[]", "{}", '{"schema_version": "1.1", "overrides": 3}']
)
def test_a_damaged_row_is_named_and_the_others_are_migrated(composed, tmp_path, content):
    point = composed(*OVERRIDES)
    old_row(point, tmp_path / "rows")
    damaged = tmp_path / "rows" / "0" / "result.json"
    damaged.parent.mkdir()
    damaged.write_text(content)
    (line,) = migrate([tmp_path / "rows"])
    assert line.startswith(f"{damaged}: not migrated: ")
    assert (tmp_path / "rows" / point.id / "result.json").exists()


def test_a_migration_that_was_killed_goes_on(composed, tmp_path, monkeypatch):
    point = composed(*OVERRIDES)
    old_row(point, tmp_path / "rows")
    with monkeypatch.context() as patched:
        patched.setattr("orchestration.store.migrate.write_json", lambda *arguments: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            list(migrate([tmp_path / "rows"]))
    assert list(migrate([tmp_path / "rows"])) == []
    assert read_result(tmp_path / "rows" / point.id / "result.json").id == point.id


def test_a_point_that_is_being_run_is_left(composed, tmp_path):
    old = old_row(composed(*OVERRIDES), tmp_path / "rows")
    with locked(tmp_path / "rows" / old["id"] / ".lock"):
        (line,) = migrate([tmp_path / "rows"])
    assert "not migrated: it is being run: pid " in line


def test_every_committed_row_is_what_its_id_is_the_digest_of():
    """Nobody has edited one by hand, or forgotten to migrate it."""
    paths = list((ROOT / "measured").rglob("result.json"))
    assert len(paths) > 300
    for path in paths:
        row = read_result(path)
        assert row.schema_version in ("1.2", "1.3"), "of rows of today, or migrated from 1.1 and before"
        assert path.parent.name == row.id == digest_json(row.config)
        assert row.variant == digest_json(without(row.config, ("seed",)))


METHODS = sorted({path.parents[1] for path in (ROOT / "measured").rglob("result.json")})


@pytest.mark.parametrize("folder", METHODS, ids=lambda path: str(path.relative_to(ROOT / "measured")))
def test_the_command_of_a_committed_row_composes_to_its_id(make_point, folder):
    """So that a default that changes is not said to be what the row had; one row of each method in each table."""
    row = read_result(min(folder.rglob("result.json")))
    assert make_point(*row.overrides, tiny=False).id == row.id
