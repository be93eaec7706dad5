"""Real processes share a rank search over gloo: every one ends with the bits that one process alone has."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import torch
from torch import distributed, multiprocessing, nn

from decompositions.rank_search.budget import Budget
from decompositions.search.prepare import prepare
from decompositions.svd import SVD
from decompositions.tucker2 import Tucker2
from runtime.distributed import Group, broadcast_tensors, group

FORMATS = {"svd": SVD(), "tucker2": Tucker2(max_sweeps=1)}


def bits(format, processes=None) -> str:
    """A digest of all that a C step found, to the last bit."""
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Conv2d(24, 40, 3), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(*convolutions, nn.Linear(160, 120), nn.Tanh(), nn.Linear(120, 60), nn.Linear(60, 10))
    search = prepare(network, (3, 6, 6), format, Budget(0.3))
    search = search if processes is None else replace(search, processes=processes)
    step = search(search.weights, 1.0)
    tensors = b"".join(step.compressed[name].numpy().tobytes() for name in step.compressed)
    return hashlib.sha256(repr(step.ranks).encode() + tensors).hexdigest()


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    timeout = timedelta(seconds=60)
    distributed.init_process_group("gloo", f"file://{folder}/store", timeout, world_size=2, rank=rank)
    here = group()
    assert here == Group(rank, 2)
    # A transposed matrix stays one: the bits of a product may depend on how its factors lie in memory.
    all_gather = here.all_gather({"rank": rank, "factor": torch.full((2, 3), float(rank)).T})
    assert [part["rank"] for part in all_gather] == [0, 1]
    assert [float(part["factor"].mean()) for part in all_gather] == [0.0, 1.0]
    assert {part["factor"].stride() for part in all_gather} == {(1, 3)}
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(8, 3) + rank)  # each process sees other samples
    broadcast_tensors(norm.buffers())
    torch.save(norm.state_dict(), f"{folder}/norm{rank}")
    torch.save({name: bits(format, here) for name, format in FORMATS.items()}, f"{folder}/{rank}")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_find_the_bits_of_one(tmp_path):
    # A fork imports nothing again; it is safe because torch has one thread here (see conftest).
    multiprocessing.start_processes(one_of_two, (str(tmp_path),), nprocs=2, start_method="fork")
    alone = {name: bits(format) for name, format in FORMATS.items()}
    assert torch.load(tmp_path / "0") == torch.load(tmp_path / "1") == alone
    first, second = (torch.load(tmp_path / f"norm{rank}") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_alone_nothing_is_copied():
    value = object()
    assert group() == Group(0, 1)
    assert group().all_gather(value)[0] is value
