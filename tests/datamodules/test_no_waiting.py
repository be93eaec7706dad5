"""In a training step on a GPU the host waits for nothing: no copy to the device blocks, and nothing is read from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_modules.training.classifier import Classifier
from lightning_modules.training.decay import Exponential
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from tests.datamodules.test_batches import MAKERS
from tests.pretend_gpu import pretend_gpu

PHASE = Phase(2, 0.1, Exponential())


@pytest.mark.parametrize("kind", MAKERS)
def test_a_step_waits_for_nothing(kind, tmp_path, monkeypatch):
    data = MAKERS[kind](tmp_path)
    data.prepare_data()
    data.setup()
    batch_size = len(data.train_batches(1, 0)) // 3
    schedule = Schedule(1.0, batch_size, PHASE, PHASE, 1.0, PHASE, PHASE, Penalty(1e-3, 1.1, 1))
    num = torch.Size(data.input_shape).numel()
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(num, data.num_classes))
    step, seen = Classifier.training_step, []

    def counted(module, batch, number):
        seen.append((module.current_epoch, gpu.copies.copy(), gpu.reads.copy()))
        return step(module, batch, number)

    monkeypatch.setattr(Classifier, "training_step", counted)
    with pretend_gpu() as gpu:
        Runner(data, schedule, TrainerConfig("gpu"), None, seed=0).train(Classifier(network, PHASE), "", show=False)
    for epoch in range(2):
        (_, copies, reads), *_, (_, later_copies, later_reads) = [entry for entry in seen if entry[0] == epoch]
        assert later_copies - copies == {}, "copies to the device that block"
        assert later_reads - reads == {}, "reads by the host"
    assert sum(gpu.copies.values()) > 0, "what happens once a phase is counted"
