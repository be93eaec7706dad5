"""The command that makes a report, as a user types it."""

from __future__ import annotations

import csv
import dataclasses
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.result import read_result, write_result
from tests.commands import run_command
from tests.conftest import ROOT
from tests.made_rows import measure, result


def report(*arguments, cwd=ROOT) -> subprocess.CompletedProcess:
    return run_command("report.py", *arguments, cwd=cwd)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two methods on three seeds each, one of which failed."""
    for method, params in (("svd", 25), ("ntt", 10)):
        choices = {"dataset": "digits", "network": "mlp", "method": method}
        for seed in range(3):
            row = result(seed, id=f"{method}{seed}", variant=method, choices=choices, compressed=measure(88.0, params))
            if (method, seed) == ("ntt", 2):
                row = dataclasses.replace(row, status="failed: why", compressed=None)
            write_result(tmp_path / "results" / method / str(seed) / "result.json", row)
    return tmp_path / "results"


def test_a_report_is_a_folder_and_says_where_to_look(folder, tmp_path):
    done = report(folder, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"files; open {tmp_path / 'report' / 'index.html'}\n")
    written = {str(p.relative_to(tmp_path / "report")) for p in (tmp_path / "report").rglob("*") if p.is_file()}
    assert {"index.html", "rows.csv", "rows.parquet", "tables/digits-mlp.md", "tables/digits-mlp.tex"} <= written
    assert {"tables/digits-mlp-fronts.csv", "figures/digits-mlp-parameters.svg"} <= written
    assert {f"figures/digits-mlp-{word}.pdf" for word in ("parameters", "macs", "speed")} <= written
    assert done.stdout.startswith(f"6 rows in {len(written)} files")
    table = (tmp_path / "report" / "tables" / "digits-mlp.md").read_text()
    assert "| ntt † | 2 ok, 1 failed | 88.00 |" in table
    page = (tmp_path / "report" / "index.html").read_text()
    assert "src=" not in page.split("<body")[0], "everything is inside"
    rows = list(csv.DictReader((tmp_path / "report" / "rows.csv").open()))
    assert len(rows) == 6
    assert {row["status"] for row in rows} == {"ok", "failed: why"}
    assert {row["compressed.num_params"] for row in rows} == {"25", "10", ""}
    assert rows[0]["reference.latency_ms.256"] == "2.0"
    from pyarrow import parquet

    assert parquet.read_table(tmp_path / "report" / "rows.parquet").num_rows == 6


def test_a_network_of_which_nothing_is_left_is_in_the_tables_and_in_no_figure(tmp_path):
    write_result(tmp_path / "results" / "result.json", result(0, compressed=measure(10.0, 0, macs=0)))
    done = report(tmp_path / "results", "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert "| inf |" in (tmp_path / "report" / "tables" / "digits-mlp.md").read_text()
    assert [path.name for path in (tmp_path / "report" / "figures").glob("*.svg")] == ["digits-mlp-speed.svg"]


def test_a_figure_of_other_rows_is_known_by_its_words(folder, tmp_path):
    """Not by the accuracies alone: `make report` and its test see a changed size too."""

    def words() -> str:
        done = report(folder, "--figure", tmp_path / "a.svg")
        assert done.returncode == 0, done.stderr
        return re.search(r"rows [0-9a-f]{12}", (tmp_path / "a.svg").read_text())[0]

    first = words()
    assert words() == first
    path = folder / "svd" / "0" / "result.json"
    row = read_result(path)
    write_result(path, dataclasses.replace(row, compressed=dataclasses.replace(row.compressed, num_params=26)))
    assert words() != first


def test_unreadable_foreign_and_repeated_files_are_named_and_counted(folder):
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text("{")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "result.json").write_text('{"accuracy": 3}')
    worse = result(0, "failed: x", id="svd0", started="2999", compressed=None)
    write_result(folder / "again" / "result.json", worse)
    done = report(folder, "--markdown")
    assert done.returncode == 0
    assert "| svd | 3 ok | " in done.stdout
    for name in ("broken", "foreign"):
        assert f"{name}/result.json: not a readable result" in done.stderr
    assert f"skipped: {folder / 'again' / 'result.json'}: the same point as" in done.stderr
    assert "3 of 9 files were skipped" in done.stderr


def test_tables_on_the_screen(folder):
    assert "┏" not in (printed := report(folder, "--print").stdout) and "ntt" in printed and "2 ok" in printed
    across = report(folder, "--across", "nonsense")
    assert across.stderr == "error: no run has a setting 'nonsense'; omit --across to list them\n"
    assert report(folder, "--reported").stdout.startswith("No row is a run of a published row")
    reported = report(folder, "--reported", "--all-papers").stdout
    assert "| ic20/lenet300_lc_svd | 98.1 | authors' README |" in reported
    assert "not run | python run.py -m experiment=ic20/lenet300_lc_svd seed=0,1,2 |" in reported


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "error: no such folder: nowhere\n"),
        ([".github", "empty"], "error: no such folder: .github, empty\n"),
        (["conf"], "error: no readable result.json below the folders; run `python run.py` first\n"),
        (["measured", "--column", "MACs"], "error: --column says what --across shows; give --across too\n"),
        (["measured", "--figure", "a.svg"], "error: --figure: expected the rows of one dataset and network, got "),
        (["measured", "--across", ""], "error: --across: expected a name, got an empty one"),
        (
            ["measured", "--markdown", "--out", "x"],
            "error: --out is the folder of a whole report; leave it out with",
        ),
        (["measured", "--markdown", "--all-papers"], "error: --all-papers says which tables of papers there are"),
        (["measured", "--rebuild", "README.md"], "error: --rebuild: the parts of a file name their own folders"),
        (
            ["measured", "--figure", "a.xyz"],
            "error: --figure: expected a name that ends in .svg, .pdf or .png",
        ),
        (["--rebuild", "LICENSE"], "error: LICENSE: expected a part <!-- report.py"),
        (["--rebuild", "nothing.md"], "error: [Errno 2] No such file"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, said):
    done = report(*arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(said.strip("\n"))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("made_by", "said"),
    [
        ("nowhere --markdown", "no such folder: nowhere"),
        ("measured --print", "a part is made with --markdown, --across, --reported or --figure"),
        ("measured", "a part is made with"),
    ],
)
def test_a_part_that_cannot_be_made_is_told_with_its_file(tmp_path, made_by, said):
    path = tmp_path / "a.md"
    path.write_text(text := f"<!-- report.py {made_by} -->\nkept\n<!-- end -->\n")
    done = report("--rebuild", path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: ") and said in done.stderr
    assert path.read_text() == text


def test_a_report_needs_no_torch(folder, tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['report.py', {str(folder)!r}, '--out', {str(tmp_path / 'r')!r}]\n"
        "runpy.run_path('report.py', run_name='__main__')\n"
        "print('HEAVY', sorted({'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_watching_follows_a_sweep_until_it_is_interrupted(folder, tmp_path):
    watch = [sys.executable, str(ROOT / "report.py"), str(folder), "--out", str(tmp_path / "report"), "--watch"]
    process = subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "6 rows in" in process.stdout.readline()
        write_result(folder / "new" / "result.json", result(9, id="new"))
        assert "7 rows in" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, ""), "nothing is written while nothing changes"
    assert "Traceback" not in errors
    assert len((tmp_path / "report" / "rows.csv").read_text().splitlines()) == 8


def test_runs_that_the_documents_quote_are_found():
    """measured/README.md quotes 97.85 % against the reported number of rank 3."""
    done = report("measured/mlp1024", "--reported")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| tt_rnn/mlp1024_tt_rank3 |")]
    assert "| 97.85 ± 0.14 (n=3) |" in line and "| shortened schedule (3) |" in line
    assert "ic20/" not in done.stdout, "nothing of that paper was run"


def test_reconstructions_are_those_whose_files_say_so():
    from orchestration.config.published import reconstructions

    assert reconstructions() == {
        ("method", "lc_cur"), ("method", "alternating_tucker"), ("method", "ntt"), ("decomposition", "ntt"),
        ("decomposition", "kronecker"), ("decomposition", "btt"), ("rank", "accuracy"),
    }  # fmt: skip
