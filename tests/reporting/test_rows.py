"""Rows are read in an order of their own, whatever their groups."""

from __future__ import annotations

from evaluation.result import write_result
from reporting.rows import read_rows
from tests.made_rows import result


def test_rows_of_older_code_with_fewer_groups_are_read_beside_new_ones(tmp_path):
    choices = {"dataset": "digits", "network": "mlp", "method": "svd"}
    newer = result(0, id="new", choices=choices | {"decomposition": "svd"}, overrides=["a"])
    for row in (newer, result(1, id="old1", choices=choices), result(0, id="old0", choices=choices)):
        write_result(tmp_path / row.id / "result.json", row)
    assert [row.id for row in read_rows([tmp_path]).results] == ["old0", "old1", "new"]


def test_rows_with_ids_of_an_earlier_schema_are_noted(tmp_path):
    for row in (result(0, id="new"), result(1, id="old", schema_version="1.1")):
        write_result(tmp_path / row.id / "result.json", row)
    (note,) = read_rows([tmp_path]).notes
    assert note == "note: 1 rows have ids of an earlier schema; `report.py … --migrate` gives them today's"


def test_smoke_rows_are_left_out_where_there_are_others(tmp_path):
    smoke = result(0, id="smoke", config={"seed": 0, "trainer": {"limit_batches": 2}})
    write_result(tmp_path / "smoke" / "result.json", smoke)
    assert [row.id for row in read_rows([tmp_path]).results] == ["smoke"]
    write_result(tmp_path / "whole" / "result.json", result(0, id="whole"))
    rows = read_rows([tmp_path])
    assert ([row.id for row in rows.results], list(rows.places)) == (["whole"], ["whole"])
    assert "note: 1 smoke rows (trainer.limit_batches) are left out" in "\n".join(rows.notes)
