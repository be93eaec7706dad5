"""The command itself, as a user types it."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.process import ProcessId
from tests.commands import Started, run_command, run_script
from tests.conftest import ROOT, TINY

FAST = (*TINY, "network.hidden=[20]")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return run_command("run.py", *arguments, cwd=cwd)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["method.rank=abc"], ["methd=x"], ["--cfg", "job"], ["-m", "method.min_rank=1,x"]]
)
def test_help_and_refusals_do_not_import_torch(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['run.py', *{arguments!r}]\n"
        "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'wandb', 'sklearn', 'scipy', 'tensorly'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_help_names_the_groups_and_their_options():
    done = run("--help")
    assert done.returncode == 0
    for expected in (
        "dataset: cifar10, cifar100, cifar10_jpeg, digits",
        "alternating_tucker, cp, cur, direct, gradual, interpolative, joint, lc_cur, lc_svd, musco, ntt",
        "rank: accuracy, budget, cost",
        "python run.py -m",
    ):
        assert expected in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["method.rank=abc"], "error: method.rank: expected RankRule, got 'abc'"),
        (["method.min_rank=abc"], "error: method.min_rank: expected int >= 0, got 'abc'"),
        (["methd=x"], "error: methd: unknown key; did you mean 'method'?"),
        (["rank.wieght=1"], "error: rank.wieght: unknown key; did you mean 'weight'?"),
        (["method=lcsvd"], "error: method: there is no 'lcsvd'; did you mean 'lc_svd'?"),
        (["logger=null"], "error: a group takes the name of one of its files"),
        (["dataset=0"], "error: a group takes the name of one of its files"),
        (["rank.weight=[1"], "error: no viable alternative"),
        (["dataset=digits,mnist"], "error: dataset=digits,mnist: several values are a sweep"),
        (["~rank"], "error: method.rank: Interpolation key 'rank' not found"),
        (["--cfg", "hydra", "--multirun"], "error: -m runs a sweep, --cfg and --info show one configuration"),
        (["results_dir="], "error: results_dir: expected str length >= 1"),
        (["-m", "method=foo,svd"], "error: method: there is no 'foo'"),
        (["-m", "rank.wieght=1,2"], "error: rank.wieght: unknown key"),
        (["-m", "method.min_rank=1,x"], "error: method.min_rank: expected int >= 0, got 'x'"),
    ],
)
def test_bad_overrides_are_one_clear_line_and_an_exit_code(arguments, said, tmp_path):
    started = time.perf_counter()
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (2 if "-m" in arguments else 1)
    assert not (tmp_path / "results").exists()
    assert time.perf_counter() - started < 20, "a hang, not a speed claim"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"weight: [1", "mine.yaml:1: "),
        (b"weight: 1\n weight: 2", "mine.yaml:2: "),
        (b"weight: 1\nweight: 2", "mine.yaml:2: found duplicate key weight"),
        (b"weight: \xff", "not UTF-8, near b'weight: "),
    ],
)
def test_a_broken_file_is_named_with_its_line(content, said, tmp_path):
    (tmp_path / "conf" / "rank").mkdir(parents=True)
    (tmp_path / "conf" / "rank" / "mine.yaml").write_bytes(content)
    done = run(f"hydra.searchpath=[{tmp_path / 'conf'}]", "rank=mine", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for arguments in ([], ["-m", "seed=0,1"]):
        done = run(*arguments, *FAST, f"results_dir={tmp_path / 'file'}", cwd=tmp_path)
        assert done.returncode == 1
        assert f"results_dir: cannot write to {tmp_path / 'file'}" in done.stderr
        assert "a file is in the place of a folder" in done.stderr
        assert "Traceback" not in done.stderr
        assert "L step" not in done.stdout


@pytest.mark.slow
def test_an_interrupted_sweep_says_so_shows_what_is_done_and_goes_on(tmp_path):
    """Told to end by SIGTERM, then, where it went on, by Ctrl-C, then by a terminal that is closed."""
    arguments = ["-m", *FAST, "method=reference", "results_dir=results", "schedule.reference.epochs=2,100000"]
    ways = ((signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C"), (signal.SIGHUP, 129, "SIGHUP"))
    for number, code, name in ways:
        with Started(run_script, "run.py", arguments, cwd=tmp_path) as started:
            deadline = time.time() + 120
            while not list(tmp_path.rglob("references/**/*.lock")) or not ends_of(tmp_path, "ok"):  # the second trains
                assert time.time() < deadline
                time.sleep(0.2)
            time.sleep(1)
            started.send_signal(number)
            done = started.wait()
        out, err = done.stdout, done.stderr
        assert done.returncode == code, out + err
        assert "interrupted; run the same command to resume" in err
        assert "1 of 2 points failed" in err
        assert "Traceback" not in err
        assert "1 ok" in out
        assert len(ends_of(tmp_path, "ok")) == 1
        assert ends_of(tmp_path, "interrupted") == [f"interrupted: {name}; the same command goes on"]
        assert len(list(tmp_path.rglob("*.ckpt"))) == 1
    assert "1 done or running elsewhere, 1 to run" in out
    assert "resuming from" in out


def ignore_sighup_and_run(arguments: list[str]) -> None:
    """As `nohup python run.py …`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run_script("run.py", arguments)


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    arguments = ["-m", *FAST, "method=reference", "results_dir=results", "seed=0,1"]
    with Started(ignore_sighup_and_run, arguments, cwd=tmp_path) as started:
        started.wait_until(lambda: list(tmp_path.rglob("references/**/*.lock")))
        started.send_signal(signal.SIGHUP)
        done = started.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    assert ends_of(tmp_path, "ok") == ["ok", "ok"]


@pytest.mark.parametrize("arguments", [[], ["-m"]])
def test_the_lock_of_a_process_that_was_killed_after_its_row_is_removed(tmp_path, arguments):
    own = (*FAST, "method=reference", "trainer=smoke", "results_dir=results")
    assert run(*own, cwd=tmp_path).returncode == 0
    (path,) = tmp_path.rglob("result.json")
    with Started(time.sleep, 0) as killed:
        killed.wait()
    owner = dataclasses.replace(ProcessId.this_process(), pid=killed._process.pid, born="0")
    lock = path.with_name(".lock")
    lock.write_text(json.dumps(dataclasses.asdict(owner)))
    assert run(*arguments, *own, cwd=tmp_path).returncode == 0
    assert not lock.exists()


def ends_of(folder: Path, kind: str) -> list[str]:
    statuses = [json.loads(path.read_text())["status"] for path in folder.rglob("result.json")]
    return [status for status in statuses if status.startswith(kind)]


@pytest.mark.slow
def test_a_sweep_runs_every_point_and_its_exit_code_counts_failures(tmp_path):
    """One diverging point of three: the others are done, the end lists the failure; a second call repeats only that."""
    rates = "schedule.reference.learning_rate=0.05,1e30,0.01"
    arguments = ["-m", *FAST, f"results_dir={tmp_path / 'results'}", "method=reference", rates]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 3 points failed" in done.stderr
    assert "learning_rate=1" in done.stderr
    assert "diverged" in done.stdout
    rows = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert sorted(row["status"].split(":")[0] for row in rows) == ["diverged", "ok", "ok"]
    assert {path.name for path in tmp_path.iterdir()} == {"results"}, "nothing is left beside the results"
    again = run(*arguments, cwd=tmp_path)
    assert "2 done or running elsewhere, 1 to run" in again.stdout


@pytest.mark.slow
def test_a_sweep_with_a_senseless_point_runs_nothing(tmp_path):
    done = run("-m", f"results_dir={tmp_path / 'results'}", "network=mlp,lenet5", cwd=tmp_path)
    assert done.returncode == 1
    assert "network lenet5 on 1×8×8 images" in done.stderr
    assert "refused before anything ran" in done.stderr
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.slow
def test_one_run_prints_its_row_and_a_failing_one_exits_with_one(tmp_path):
    results = f"results_dir={tmp_path / 'results'}"
    done = run(*FAST, results, "rank=fixed", "rank.ranks=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for expected in ("L step   2", "violation", "validation top-1", "parameters", "latency, batch 1", "fc1: rank 3"):
        assert expected in done.stdout, expected
    failed = run(*FAST, results, "dataset=mnist", f"dataset.root={tmp_path}", cwd=tmp_path)
    assert failed.returncode == 1
    assert f"{tmp_path}/MNIST/raw lacks" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


@pytest.mark.slow
def test_the_default_keeps_what_the_readme_promises(tmp_path):
    """At least four times fewer parameters at a test accuracy within 1.5 points of the reference."""
    done = run(f"results_dir={tmp_path}", "logger=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = (json.loads(path.read_text()) for path in tmp_path.rglob("result.json"))
    assert row["reference"]["num_params"] >= 4 * row["compressed"]["num_params"]
    assert row["compressed"]["test_top1_percent"] >= row["reference"]["test_top1_percent"] - 1.5
    assert row["reference"]["test_top1_percent"] > 95


def test_the_plan_of_one_point_refuses_what_its_run_would(tmp_path):
    """Nothing is trained, and no folder is made."""
    done = run_command("run.py", "plan=true", "method=svd", "rank=fixed", "rank.ranks=[1000]", cwd=tmp_path)
    assert done.returncode == 1
    assert "rank.ranks: layer fc1 takes a rank from 1 to" in done.stderr
    assert list(tmp_path.iterdir()) == []
