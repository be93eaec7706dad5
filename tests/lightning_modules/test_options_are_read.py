"""Every number of a schedule and every option of a method changes what is computed: none is accepted and ignored."""

from __future__ import annotations

import json

import pytest
import torch

from lightning_modules.classifier import Classifier
from lightning_modules.decay import Exponential
from lightning_modules.runner import Runner
from lightning_modules.schedule import Phase
from orchestration.assemble import assemble
from orchestration.job import run_point

BASE = (
    "network.hidden=[16]", "method.multipliers=true", "rank=cost", "rank.weight=0.3", "schedule.penalty.num_steps=3",
    "schedule.l_step.epochs=2", "schedule.fine_tune.epochs=2",
)  # fmt: skip

CHANGES = [
    "schedule.batch_size=50",
    *(f"schedule.{phase}.{change}" for phase in ("reference", "l_step", "fine_tune") for change in (
        "epochs=3", "learning_rate=0.013", "decay.final=0.4", "momentum=0.5", "nesterov=false", "weight_decay=0.02")),
    "schedule.l_step_decay=0.5", "schedule.penalty.initial=0.01", "schedule.penalty.growth=3",
    "schedule.penalty.num_steps=4", "method.multipliers=false", "method.normalize=true", "method.layers=[fc1]",
    "rank.weight=0.6", "rank.relative=false", "decomposition=cur", "network.activation=tanh", "seed=3",
]  # fmt: skip


def outcome(make_point, *overrides) -> str:
    """All that a row says of the computation, without times."""
    result = run_point(make_point(*BASE, *overrides))
    assert result.status == "ok", result.status
    history = [{k: v for k, v in entry.items() if k != "seconds"} for entry in result.history]
    ends = [result.reference.test_loss, result.compressed.test_loss, result.compressed.num_params]
    return json.dumps([history, ends, result.violation])


@pytest.fixture(scope="module")
def base_outcome() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("change", CHANGES)
def test_option_changes_the_outcome(make_point, base_outcome, change):
    if "base" not in base_outcome:
        base_outcome["base"] = outcome(make_point)
    assert outcome(make_point, change) != base_outcome["base"]


def test_normalize_reaches_direct_compression(make_point):
    same = ("network.hidden=[64,32]", "method=svd", "rank=budget", "rank.share=0.3")
    ranks = []
    for on in (True, False):
        layers = run_point(make_point(*same, f"method.normalize={on}")).layers
        ranks.append([layer["rank"] for layer in layers.values()])
    assert ranks[0] != ranks[1]


def test_each_phase_has_its_own_random_numbers_and_a_seed_repeats_them(make_point):
    class Probe(Classifier):
        def on_fit_start(self):
            seeds.append(torch.initial_seed())

    parts = assemble(make_point(*BASE))
    parts.data.setup()
    runs = []
    for seed in (0, 0, 1):
        seeds: list[int] = []
        runner = Runner(parts.data, parts.schedule, parts.make_trainer, None, seed)
        for _ in range(3):
            runner.train(Probe(parts.network(0), Phase(1, 0.1, Exponential())), "probe", show=False)
        runs.append(seeds)
        assert (runner.epochs, runner.num_phases, runner.steps) == (3, 3, 3 * 19)
    assert len(set(runs[0])) == 3
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])
