"""A point on several machines: who is who, and two of them (processes here) that run a sweep of such points."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from evaluation.result import read_result
from orchestration.config.cluster import FIRST_PORT, NUM_PORTS, Node, first_host, this_node
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from tests.commands import Started, run_script
from tests.conftest import TINY
from tests.orchestration.distributed.test_torchrun import processes

SLURM = {
    "SLURM_NODEID": "1",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "2",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "43",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("a,b", "a"),
        ("n1", "n1"),
        ("n[3,5]-ib,z", "n3-ib"),
        ("r1-n[01-02]", "r1-n01"),
        ("rack[1-2]node[3-4],x", "rack1node3"),
    ],
)
def test_the_first_of_slurms_list(nodes, first):
    assert first_host(nodes) == first


def test_who_this_machine_is():
    assert this_node(1, {}) == this_node(1, SLURM) == Node()
    port = FIRST_PORT + 3 * NUM_PORTS
    assert this_node(2, SLURM) == Node(1, 2, "gpu07", port)
    assert this_node(2, SLURM | {"MASTER_PORT": "4000"}) == Node(1, 2, "gpu07", 4000)
    told = {"NODE_RANK": "0", "MASTER_ADDR": "here"}
    assert this_node(2, told) == this_node(2, SLURM | told) == Node(0, 2, "here", FIRST_PORT)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, r"trainer.num_nodes=2: every node runs the same command and is told which it is.*NODE_RANK"),
        ({"NODE_RANK": "1"}, "MASTER_ADDR"),
        ({"NODE_RANK": "2", "MASTER_ADDR": "x"}, "expected NODE_RANK from 0 to 1, got 2"),
        (SLURM | {"SLURM_NNODES": "3"}, "got 2 for 3 nodes and 2 tasks; start with srun --nodes=2"),
        (SLURM | {"SLURM_NTASKS": "8"}, "for 2 nodes and 8 tasks"),
    ],
)
def test_nodes_that_nobody_counted_are_refused(environment, why):
    with pytest.raises(ConfigError, match=why):
        this_node(2, environment)


def test_points_meet_at_ports_of_their_own():
    assert Node().torchrun("0" * 12) == ["--standalone"]
    node = Node(1, 2, "host", 5000)
    ports = [
        argument for id in ("000000000001", "000000000002") for argument in node.torchrun(id) if "port" in argument
    ]
    assert ports == ["--master-port=5001", "--master-port=5002"]
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=host"} < set(node.torchrun("1" * 12))


@pytest.mark.slow
def test_two_nodes_compute_what_one_process_does_and_a_dead_one_fails_its_point_alone(make_point, tmp_path):
    """Each node runs the same sweep; in the first point node 1's process is killed, and the second is computed."""
    shared = ("num_threads=1", "network.hidden=[24,16]", "schedule.batch_size=64", "trainer=ddp", "trainer.devices=1",
              "trainer.accelerator=cpu")  # fmt: skip
    arguments = ["-m", *TINY, *shared, f"results_dir={tmp_path / 'results'}"]
    arguments += ["trainer.num_nodes=2", "schedule.reference.epochs=100000,2"]

    def start(rank: int) -> Started:
        place = {"NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        return Started(run_script, "run.py", arguments, env={**os.environ, **place}, cwd=tmp_path)

    with start(1) as other, start(0) as first:
        kill_the_worker_of_node_1(tmp_path)
        done = [node.wait(400) for node in (first, other)]
    logs = [node.stdout + node.stderr for node in done]
    assert [node.returncode for node in done] == [1, 1], logs
    assert processes(tmp_path) == []
    rows = [read_result(path) for path in (tmp_path / "results").glob("digits/*/*/*/result.json")]
    failed, together = sorted(rows, key=lambda row: row.is_ok)
    assert failed.config["schedule"]["reference"]["epochs"] == 100000
    assert failed.status.startswith("failed:")
    assert together.status == "ok", logs
    assert all("1 of 2 points failed" in log for log in logs), logs
    assert "reference trained" not in logs[1], "node 0 speaks for all"
    alone = run_point(make_point(*shared, "schedule.reference.epochs=2"))
    for side in ("reference", "compressed"):
        one, other = getattr(alone, side), getattr(together, side)
        assert one.test_loss == pytest.approx(other.test_loss, rel=1e-3)
        assert one.num_params == other.num_params
    curves = [json.loads(path.read_text())["curve"] for path in (tmp_path / "results/references").rglob("*.json")]
    assert len(curves) == 2
    for one, other in zip(*curves, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


def kill_the_worker_of_node_1(folder) -> None:
    """Once the first point trains."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        workers = [line for line in processes(folder) if "point.1.json" in line and "torch.distributed" not in line]
        if workers and list(folder.glob("results/references/**/*.lock")):
            time.sleep(1)
            os.kill(int(workers[0].split()[0]), signal.SIGKILL)
            return
        time.sleep(0.5)
    raise AssertionError("node 1 has started no process")
