"""The machines that compute a point together: which of them this one is, and where they connect.

Every machine runs the same command. Its rank comes from Slurm (`srun` with one task a node) or from the variables of
torchrun, NODE_RANK, MASTER_ADDR and MASTER_PORT. Node 0 holds the point's lock and writes its row; the
others join its processes, and read the row from the folder of results, which all machines share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.errors import ConfigError

# Each point has a port of its own above the first one: the last point's may not be free yet.
NUM_PORTS = 1000
FIRST_PORT = 29400


@dataclass(frozen=True)
class Node:
    """Machine number `rank`, from 0, of `size`; all connect to node 0's `address`, at a port from `port` on."""

    rank: int = 0
    size: int = 1
    address: str = "localhost"
    port: int = FIRST_PORT

    def torchrun(self, point_id: str) -> list[str]:
        """Return torchrun's arguments for this machine. Ranks are fixed: global rank 0 is a process of node 0."""
        if self.size == 1:
            return ["--standalone"]
        port = self.port + int(point_id, 16) % NUM_PORTS
        place = [f"--nnodes={self.size}", f"--node-rank={self.rank}"]
        return [*place, f"--master-addr={self.address}", f"--master-port={port}", "--rdzv-conf=timeout=600"]


def this_node(size: int, environment: Mapping[str, str] = os.environ) -> Node:
    """Return which of `size` machines this one is; raises `ConfigError` if the environment does not say."""
    if size == 1:
        return Node()
    known = dict(environment)
    port = FIRST_PORT
    if "SLURM_NODEID" in known and "NODE_RANK" not in known:
        nodes, tasks = (int(known.get(name, "1")) for name in ("SLURM_NNODES", "SLURM_NTASKS"))
        if (nodes, tasks) != (size, size):
            raise ConfigError(
                f"trainer.num_nodes: expected as many as Slurm's nodes, with one task on each, got {size} for {nodes} "
                f"nodes and {tasks} tasks; start with srun --nodes={size} --ntasks-per-node=1"
            )
        port += int(known.get("SLURM_JOB_ID", "0")) % 20 * NUM_PORTS  # jobs may share a machine
        first = first_host(known["SLURM_JOB_NODELIST"])
        known = {"NODE_RANK": known["SLURM_NODEID"], "MASTER_ADDR": first} | known
    try:
        node = Node(int(known["NODE_RANK"]), size, known["MASTER_ADDR"], int(known.get("MASTER_PORT", port)))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"trainer.num_nodes={size}: every node runs the same command and is told which it is: by Slurm (srun "
            f"--nodes={size} --ntasks-per-node=1), or NODE_RANK=0 MASTER_ADDR=<node 0> before it (missing: {error})"
        ) from None
    if not 0 <= node.rank < size:
        raise ConfigError(f"trainer.num_nodes={size}: expected NODE_RANK from 0 to {size - 1}, got {node.rank}")
    return node


def is_joining(size: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if this machine is not node 0 of `size`: node 0 holds the lock and writes the row."""
    return size > 1 and environment.get("NODE_RANK", environment.get("SLURM_NODEID", "0")) != "0"


def first_host(nodes: str) -> str:
    """Return the first machine of Slurm's list.

    >>> first_host("gpu[07-09,12],cpu1")
    'gpu07'
    """
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])+", nodes)
    assert first is not None, nodes
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])
