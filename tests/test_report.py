"""The table of a folder of results."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from conftest import ROOT

from evaluation.result import write_result
from orchestration.job import run_point


def report(*folders) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "report.py"), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_rows_are_grouped_and_damaged_files_named(make_point, tmp_path):
    for seed in (0, 1):
        run_point(make_point("network.hidden=[20]", "method=svd", "rank=fixed", "rank.ranks=3", f"seed={seed}"))
    (tmp_path / "results" / "broken").mkdir()
    (tmp_path / "results" / "broken" / "result.json").write_text("{")
    done = report(tmp_path / "results")
    assert done.returncode == 0
    assert "broken/result.json: not a readable result" in done.stderr
    header, _, row = done.stdout.splitlines()
    assert header.startswith("| experiment | runs | test error [%] |")
    assert row.startswith("| digits/mlp/svd | 2 ok | ")
    assert "±" in row


def test_of_two_rows_of_a_point_the_good_one_counts(make_point, tmp_path):
    result = run_point(make_point("network.hidden=[20]", "method=reference"))
    worse = dataclasses.replace(result, status="failed: why", started="2999", reference=None, compressed=None)
    write_result(tmp_path / "results" / "a" / "result.json", worse)
    done = report(tmp_path / "results")
    assert "| digits/mlp/reference | 1 ok |" in done.stdout
    assert f"skipped: {tmp_path / 'results' / 'a' / 'result.json'}" in done.stderr


def test_no_result_is_an_error(tmp_path):
    done = report(tmp_path)
    assert done.returncode == 1
    assert "no readable result.json" in done.stderr
    done = report(tmp_path / "nowhere")
    assert done.returncode == 1
    assert done.stderr == f"error: no such folder: {tmp_path / 'nowhere'}\n"


def test_reconstructions_are_marked_wherever_they_are_named(make_point, tmp_path):
    from orchestration.reconstructions import reconstructions

    assert reconstructions() == {
        ("method", "lc_cur"), ("method", "alternating_tucker"), ("method", "ntt"), ("decomposition", "ntt"),
        ("rank", "accuracy"),
    }  # fmt: skip
    for method in ("lc_svd", "lc_cur"):
        run_point(make_point("network.hidden=[20]", f"method={method}"))
    lines = report(tmp_path / "results").stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| digits/mlp/lc_cur †", "| digits/mlp/lc_svd"]
    assert lines[-1].startswith("† a reconstruction")
