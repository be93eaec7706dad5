"""Parameters before a layer of rank 0 get no gradient: several processes do not wait for them."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from torch import distributed, multiprocessing, nn

from decompositions.layers.base import ZeroRank
from lightning_modules.training.unused_parameters import has_unused_parameters
from tests.lightning_modules.training.test_trainer_config import Noise, distance, trained_network

SHAPE = (3, 8, 8)


def vanished() -> nn.Module:
    torch.manual_seed(0)
    lost = ZeroRank(nn.Linear(8, 6))
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), lost, nn.Dropout(0.0), nn.Linear(6, 5))


def test_they_are_found_and_nothing_changes():
    network, used = vanished().eval(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Dropout())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    assert has_unused_parameters(network, SHAPE)
    assert not has_unused_parameters(used, SHAPE)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    distributed.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=120), world_size=2, rank=rank)
    data = Noise()
    data.setup()
    network = vanished()
    trained_network(network, data, devices=2)
    torch.save(network.state_dict(), f"{folder}/{rank}")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_train_what_one_does(tmp_path):
    # A fork imports nothing again; it is safe because torch has one thread here (see conftest).
    multiprocessing.start_processes(one_of_two, (str(tmp_path),), nprocs=2, start_method="fork")
    data = Noise()
    data.setup()
    alone, together = vanished(), vanished()
    trained_network(alone, data)
    together.load_state_dict(torch.load(tmp_path / "0"))
    assert distance(alone[5], together[5]) < 1e-6
    assert distance(alone[1], vanished()[1]) == distance(together[1], vanished()[1]) == 0
    assert float((alone[5].bias - vanished()[5].bias).detach().abs().max()) > 1e-3
    assert torch.equal(torch.load(tmp_path / "1")["5.bias"], together[5].bias.detach())
