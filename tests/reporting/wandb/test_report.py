"""Rows sent to a server on loopback by wandb's own client, and the report above them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from evaluation.result import write_result
from reporting.table import comparison
from reporting.wandb import report as wandb_report
from reporting.wandb.client import prepare
from reporting.wandb.names import arguments_of, digest, history, reference_curve
from reporting.wandb.sync import curve, open_run, send_rows, unsent_lines
from tests.commands import Started, run_script
from tests.reporting.sample_rows import make_measure, make_row
from tests.wandb_server import heard, serving


@pytest.fixture
def server(tmp_path, monkeypatch):
    with heard(tmp_path, monkeypatch) as server:
        prepare()
        yield server


def publish(rows, folder, **options):
    places = {path.parent.name: path.parent for path in folder.rglob("result.json")}
    return wandb_report.publish("project", rows, places, comparison(rows), **options)


def test_rows_comparison_and_report_are_sent_once(server, tmp_path):
    ok, failed = make_row(), make_row(id="f" * 12, variant="f" * 12, seed=4, status="failed: why", compressed=None)
    directory = tmp_path / "results" / "digits" / "mlp" / "lc_svd" / ok.id
    write_result(directory / "result.json", ok)
    (directory / "network.pt").write_bytes(b"the network")
    trained = [{"epoch": 1, "train_loss": 2.0, "validation_top1_percent": 50.0}]
    about = tmp_path / "results" / "references" / "digits" / "mlp" / "x.json"
    about.parent.mkdir(parents=True)
    record = {"epochs": 2, "device_type": "cpu", "seconds": ok.reference.seconds, "curve": trained}
    about.write_text(json.dumps(record))
    (about.parent / "damaged.json").write_text("{")
    (about.parent / "other.json").write_text(json.dumps(record | {"seconds": 1.0, "curve": trained * 5}))

    line = publish([ok, failed], tmp_path / "results")
    assert line == (
        f"{server.url}/me/project/reports/Comparison:-project--view0"
        " (2 of 2 rows sent, the others were there; the comparison is written)"
    )
    run = server.runs[ok.id]
    row = json.loads((directory / "result.json").read_text())
    assert run.project == "project"
    assert {key: run.values[key] for key in row["config"]} == row["config"]
    for key in ("choices", "environment", "signature", "overrides", "variant", "schema_version"):
        assert run.values[key] == row[key]
    for key in ("status", "started", "seconds", "violation", "reference", "compressed", "rank_reason"):
        assert run.summary[key] == row[key]
    assert run.told["groupName"] == "digits/mlp"
    assert run.told["jobType"] == "lc_svd"
    assert run.told["displayName"] == f"lc_svd-{ok.id}"
    assert run.told["tags"] == ["table1", "seed=3", *(f"{k}={v}" for k, v in ok.choices.items())]
    sent = [{key: v for key, v in step.items() if not key.startswith("_")} for step in run.steps]
    assert sent[:4] == [*reference_curve(trained), *history(ok)]
    assert [step["_step"] for step in run.steps] == [0, 1, 2, 3, 4]
    assert run.table("layers")["data"][0] == ["fc1", "[3, 2]", 30, 20, None, None]
    assert run.exit_code == 0
    assert "host" not in run.told and "commit" not in run.told, "the row may be of another machine"
    assert server.runs[failed.id].exit_code == 1
    assert server.runs[failed.id].summary["status"] == "failed: why"
    assert server.artifacts.keys() == {f"run-{ok.id}-layers", f"run-{failed.id}-layers", "run-comparison-comparison"}
    shown = comparison([ok, failed])
    table = server.runs["comparison"].table("comparison")
    assert (table["columns"], table["data"]) == (shown.header, wandb_report.texts(shown))
    assert server.runs["comparison"].told["jobType"] == "comparison"
    check_report(server.views["view0"], [ok, failed])

    before = (json.dumps(vars(run), default=str), server.views["view0"]["times"])
    server.asked.clear()
    line = publish([ok, failed], tmp_path / "results")
    assert line.endswith("(0 of 2 rows sent, the others were there; the comparison is as it was)")
    assert not {"UpsertBucket", "CreateArtifact", "upsertView"} & set(server.asked)
    assert (json.dumps(vars(run), default=str), server.views["view0"]["times"]) == before

    publish([ok], tmp_path / "results", networks=True)
    assert server.artifacts[f"network-{ok.id}"]["files"] == {"network.pt": b"the network"}
    assert server.views.keys() == {"view0"}, "another comparison changes the same report"
    assert server.views["view0"]["times"] == 2
    assert len(run.steps) == 6, "its history was there; its table of layers is written again"


def check_report(view, rows) -> None:
    """Title, project, the table as text, the panels by their axes, and the runs that they show."""
    assert (view["displayName"], view["entityName"], view["projectName"]) == ("Comparison: project", "me", "project")
    (text,) = [block["content"] for block in view["spec"]["blocks"] if block["type"] == "markdown-block"]
    assert "| lc_svd | 1 ok |" in text
    (grid,) = [block["metadata"] for block in view["spec"]["blocks"] if block["type"] == "panel-grid"]
    (runs,) = grid["runSets"]
    assert (runs["project"]["name"], runs["project"]["entityName"]) == ("project", "me")
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "config", "name": "point"}, "IN")
    assert chosen["value"] == sorted(row.id for row in rows)
    panels = grid["panelBankSectionConfig"]["panels"]
    axes = {p["config"]["chartTitle"]: (p["config"]["xAxis"], p["config"]["yAxis"]) for p in panels}
    assert axes == {title: (f"summary:{x}", f"summary:{y}") for title, (x, y) in wandb_report.PANELS.items()}
    measure = dataclasses.asdict(make_measure(10))
    for name in {name for pair in wandb_report.PANELS.values() for name in pair}:
        side, key, *size = name.split(".")
        assert side == "compressed"
        assert isinstance(measure[key][size[0]] if size else measure[key], int | float), "a panel shows what a row has"


def test_a_killed_run_is_completed_under_its_id(server, tmp_path):
    row = make_row()
    with open_run("me", "project", arguments_of(row)) as run:
        run.log({"method/train_loss": 1.0})
        for line in history(row)[:2]:
            run.log(line)
        run.finish(exit_code=137)
    assert send_rows("me", "project", [row], {}, networks=False) == 1
    assert server.runs.keys() == {row.id}
    assert [s.get("joint/step") for s in server.runs[row.id].steps] == [None, 0, 1, 2, None]
    assert [s["_step"] for s in server.runs[row.id].steps] == [0, 1, 2, 3, 4], "continued, not begun anew"
    assert server.runs[row.id].exit_code == 0
    assert server.runs[row.id].summary["row"] == digest(row)
    assert send_rows("me", "project", [row], {}, networks=False) == 0


def test_a_row_anywhere_has_its_history(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert curve(make_row(), Path("a")) == history(make_row())


def test_what_remains_of_a_history():
    lines = [{"a": 1.0}, {"a": 2.0, "b": 1.0}, {"a": 3.0}]
    assert unsent_lines(lines, {}) == lines
    assert unsent_lines(lines, {"a": 2.0, "b": 1.0, "other": {}}) == lines[2:]
    assert unsent_lines(lines, {"a": 3.0}) == []
    assert unsent_lines(lines, {"a": 9.0}) == lines


def without_workspaces(script: str, arguments: list[str]) -> None:
    sys.modules["wandb_workspaces"] = None
    run_script(script, arguments)


@pytest.mark.parametrize("fault", ["broken", "slow", "no key", "no package"])
def test_what_is_missing_is_told_in_one_line(tmp_path, fault):
    """The command itself; the rows stay on disk."""
    write_result(tmp_path / "results" / "a" / "result.json", make_row())
    with serving() as server:
        environment = {**server.environment(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        environment |= {"WANDB__GRAPHQL_RETRY_MAX": "1", "WANDB_HTTP_TIMEOUT": "2", "WANDB_INIT_TIMEOUT": "5"}
        start = run_script
        match fault:
            case "broken":
                server.fails = True
                expected = f"error: W&B at {server.url} does not take it ("
            case "slow":
                server.delay = 60
                expected = f"error: W&B at {server.url} does not take it ("
            case "no key":
                del environment["WANDB_API_KEY"]
                expected = "error: no API key for W&B; run `wandb login` or set WANDB_API_KEY"
            case "no package":
                start = without_workspaces
                expected = "error: the report needs wandb-workspaces; pip install 'compression-bench[wandb]'"
        arguments = [str(tmp_path / "results"), "--wandb", "project"]
        with Started(start, "report.py", arguments, env=environment, cwd=tmp_path) as started:
            done = started.wait(500)
        assert done.returncode == 1
        assert done.stderr.startswith(expected)
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
        assert server.runs == {}
