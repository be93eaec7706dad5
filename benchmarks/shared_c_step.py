"""The C step shared by several processes, against one of them alone, one thread each; and what they tell each other.

    python -m benchmarks.shared_c_step [--processes 2] [--rounds 3] [--network vgg16|resnet50]

The processes stay the same: in each round the first one does all layers while the others wait, then all do their share,
so that a machine that is busy with other things slows both alike; seconds of the CPU, of the busiest process, are
printed beside those of the clock. Weights are random with a falling spectrum, a fifth of the parameters remains.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision
from torch import distributed, multiprocessing, nn

from benchmarks.c_step import VGG16
from benchmarks.ratios import medians, report
from decompositions.core.site import Site
from decompositions.rank_search.budget import Budget
from decompositions.search.c_step import RankSearch
from decompositions.search.parallel import cost, owners
from decompositions.svd import SVD
from runtime.distributed import Group, group

MIB = 2**20


class Counted(Group):
    """A group that adds up the bytes that this process tells the others."""

    num_bytes: list[int] = []  # noqa: RUF012 - one group a process

    def serialize(self, value: object) -> bytes:
        """As it is sent."""
        sent = super().serialize(value)
        self.num_bytes.append(len(sent))
        return sent


def main() -> None:
    """Start the processes; the first one prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=["vgg16", "resnet50"], default="vgg16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_measure, (folder, arguments), nprocs=arguments.processes)


def _measure(rank: int, folder: str, arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    size = arguments.processes
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    weights = _weights(arguments.network)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    sites = {name: Site(name, nn.Linear(c, r, bias=False), (((1,), (1,)),)) for name, (r, c) in shapes.items()}
    svd: Any = SVD()
    alone = RankSearch(sites, svd, Budget(0.2))
    counted = Counted(rank, size)
    shared = replace(alone, processes=counted)

    busy: dict[int, list[float]] = {1: [], size: []}

    def turn(search: RankSearch) -> None:
        began = time.process_time()
        if search.processes.size > 1 or rank == 0:
            search(weights, 1.0)
        busy[search.processes.size].append(time.process_time() - began)
        distributed.barrier()

    seconds = medians({"alone": partial(turn, alone), "shared": partial(turn, shared)}, arguments.rounds)
    step = shared(weights, 1.0)
    sent = group().all_gather(counted.num_bytes[-2:])  # its frontiers, its factors
    cpu = {num: max(group().all_gather(median(times))) for num, times in busy.items()}
    if rank == 0:
        owner = owners(weights, size)
        loads = [sum(cost(weights[name]) for name in weights if owner[name] == each) for each in range(size)]
        title = f"C step of {arguments.network}, SVD, {size} processes against one, one thread each"
        report(title, seconds["shared"], seconds["alone"], "goal <= 1/1.6 with two")
        report("the same, seconds of the CPU, busiest process", cpu[size], cpu[1], "goal <= 1/1.6 with two")
        frontiers, factors = (sum(part[which] for part in sent) / MIB for which in (0, 1))
        print(
            f"planned share of the busiest process {max(loads) / sum(loads):.3f}; told to each other: frontiers "
            f"{frontiers:.2f} MiB, factors of {len(step.factors)} layers {factors:.2f} MiB; the weights are "
            f"{sum(weight.nbytes for weight in weights.values()) / MIB:.2f} MiB"
        )
    distributed.barrier()
    distributed.destroy_process_group()


def _weights(network: str) -> dict[str, torch.Tensor]:
    shapes = VGG16
    if network == "resnet50":
        shapes = [tuple(p.flatten(1).shape) for p in torchvision.models.resnet50().parameters() if p.ndim > 1]
    matrices = {}
    for number, shape in enumerate(shapes):
        matrix = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
        matrices[str(number)] = torch.from_numpy(matrix * np.geomspace(1, 0.03, shape[1], dtype=np.float32))
    return matrices


if __name__ == "__main__":
    main()
