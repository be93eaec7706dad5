"""Accuracy, latency, memory: each against an independent way to the same number."""

from __future__ import annotations

import math
import time
from statistics import median

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.accuracy import accuracy
from evaluation.latency import NUM_ROUNDS, measure_latency_ms, measure_rounds_ms, quartiles
from evaluation.memory import MIB, measure_peak_memory_mib


class Lookup(nn.Module):
    """Outputs its input: the test decides the logits."""

    def forward(self, x):
        return x


def test_accuracy_against_numpy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(70, 120, generator=generator)
    labels = torch.randint(120, (70,), generator=generator)
    labels[::2] = logits[::2].argsort(dim=1, descending=True)[:, 2]  # half of them third best
    batches = list(zip(logits.split(32), labels.split(32), strict=True))
    found = accuracy(Lookup(), batches, "cpu")
    order = np.argsort(-logits.numpy(), axis=1)
    top1 = (order[:, 0] == labels.numpy()).mean()
    top5 = (order[:, :5] == labels.numpy()[:, None]).any(1).mean()
    loss = -np.log(np.exp(logits.double().numpy()) / np.exp(logits.double().numpy()).sum(1, keepdims=True))
    assert found.top1_percent == pytest.approx(100 * top1)
    assert found.top5_percent == pytest.approx(100 * top5)
    assert found.loss == pytest.approx(loss[np.arange(70), labels.numpy()].mean(), rel=1e-5)


def test_accuracy_restores_the_mode_and_refuses_no_data():
    network = nn.Sequential(nn.Dropout(0.5)).train()
    assert accuracy(network, [(torch.eye(3), torch.arange(3))], "cpu").top1_percent == 100
    assert accuracy(network, [(torch.eye(3), torch.arange(3))], "cpu").top5_percent is None
    assert network.training
    with pytest.raises(ValueError, match="at least one batch"):
        accuracy(network, [], "cpu")


def test_a_network_of_nans_has_a_nan_loss():
    assert math.isnan(accuracy(Lookup(), [(torch.full((4, 3), math.nan), torch.zeros(4).long())], "cpu").loss)


class Sleeper(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, x):
        assert not self.training
        time.sleep(self.seconds)
        return x


def test_latency_orders_networks_and_is_in_milliseconds():
    slow, fast = Sleeper(0.004).train(), Sleeper(0.001)
    times = measure_latency_ms([slow, fast], torch.zeros(1))
    assert times[0] > times[1]
    assert 4 <= times[0] < 400
    assert 1 <= times[1] < 400
    assert slow.training


def test_the_rounds_of_a_measurement_are_there(monkeypatch):
    """The latency is their median, and a row keeps their quartiles."""
    monkeypatch.setattr("evaluation.latency.SECONDS_PER_ROUND", 1e-4)
    rounds = measure_rounds_ms([Sleeper(0.001), Sleeper(0.0)], torch.zeros(1))
    assert [len(times) for times in rounds] == [NUM_ROUNDS] * 2
    assert all(first <= median(times) <= third for times in rounds for first, third in [quartiles(times)])
    assert quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 4.0)


class SlowStart(nn.Module):
    """Slow on its first call only, as networks are that choose kernels then."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        time.sleep(0.2 if self.calls == 1 else 0.001)
        return x


def test_the_first_pass_is_not_part_of_the_calibration():
    first, second = SlowStart(), SlowStart()
    times = measure_latency_ms([first, second], torch.zeros(1))
    assert max(times) < 100
    assert first.calls > 2 * NUM_ROUNDS, "a slow first pass would have left it one pass a round"


class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(MIB // 4))  # 1 MiB

    def forward(self, x):
        a = torch.ones(4 * MIB // 4)  # 4 MiB
        b = a + 1  # 4 MiB, both alive
        del a
        return b + 1  # again two alive


def test_peak_memory_counts_what_is_alive_at_once():
    assert measure_peak_memory_mib(Hungry(), torch.zeros(MIB // 2)) == pytest.approx(1 + 2 + 8, rel=0.02)
