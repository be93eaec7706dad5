"""Every number of a schedule and every option of a method changes what is computed: none is accepted and ignored."""

from __future__ import annotations

import json

import pytest
import torch

from lightning_modules.training.classifier import Classifier
from lightning_modules.training.decay import Exponential
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Phase
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point

pytestmark = pytest.mark.usefixtures("share_references")
BASE = (
    "network.hidden=[16]", "method.multipliers=true", "rank=cost", "rank.weight=0.3", "schedule.penalty.num_steps=3",
    "schedule.l_step.epochs=2", "schedule.fine_tune.epochs=2",
)  # fmt: skip

CHANGES = [
    "schedule.batch_size=50",
    *(f"schedule.{phase}.{change}" for phase in ("reference", "l_step", "fine_tune") for change in (
        "epochs=3", "learning_rate=0.013", "decay.final=0.4", "momentum=0.5", "nesterov=false", "weight_decay=0.02")),
    "schedule.l_step_decay=0.5", "schedule.penalty.initial=0.01", "schedule.penalty.growth=3",
    "schedule.penalty.num_steps=4", "schedule.penalty.start=zero", "schedule.keep_momentum=true",
    "decay@schedule.decay_over_l_steps=steps",
    "method.multipliers=false", "method.normalize=true", "method.layers=[fc1]",
    "method.choose_ranks=once", "method.choose_dense=every_step", "method.min_rank=9",
    "schedule.distillation.weight=0.5",
    "rank.weight=0.6", "rank.relative=false", "decomposition=cur", "network.activation=tanh", "seed=3",
]  # fmt: skip


def outcome(make_point, *overrides, with_base: bool = True) -> str:
    """All that a row says of the computation, without times."""
    result = run_point(make_point(*(BASE if with_base else ()), *overrides))
    assert result.status == "ok", result.status
    ends = [result.reference.test_loss, result.compressed.test_loss, result.compressed.num_params]
    return json.dumps([result.history, ends, result.violation])


@pytest.fixture(scope="module")
def base_outcome() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("change", CHANGES)
def test_option_changes_the_outcome(make_point, base_outcome, change):
    if "base" not in base_outcome:
        base_outcome["base"] = outcome(make_point)
    assert outcome(make_point, change) != base_outcome["base"]


SCRATCH = (
    "network.hidden=[32,16]", "method=scratch", "rank=energy", "rank.keep=0.5", "schedule.from_scratch.epochs=2",
)  # fmt: skip
GRADUAL = (
    "network.hidden=[32,16]", "method=gradual", "rank.share=0.4", "schedule.fine_tune.epochs=4", "method.num_stages=2",
)  # fmt: skip


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (SCRATCH, [
            *(f"schedule.from_scratch.{change}" for change in (
                "epochs=3", "learning_rate=0.013", "decay.final=0.4", "momentum=0.5", "nesterov=false",
                "weight_decay=0.02")),
            "schedule.distillation.weight=0.5", "method.gain=0.5", "method.start=glorot_cores", "method.layers=[fc1]",
            "decomposition=tt", "method.min_rank=9", "seed=2"]),
        (GRADUAL, [
            "method.num_stages=3", "method.weakening=0.9", "method.layers=[fc1]", "method.normalize=false",
            "schedule.distillation.weight=0.5", "schedule.fine_tune.epochs=6", "decomposition=cur"]),
    ],
)  # fmt: skip
def test_option_of_other_methods_changes_the_outcome(make_point, base, changes):
    before = outcome(make_point, *base, with_base=False)
    for change in changes:
        assert outcome(make_point, *base, change, with_base=False) != before, change


def test_temperature_reaches_distillation(make_point):
    same = ("network.hidden=[16]", "method=svd", "rank.share=0.5", "schedule.distillation.weight=0.5")
    assert outcome(make_point, *same, with_base=False) != outcome(
        make_point, *same, "schedule.distillation.temperature=1", with_base=False
    )


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

    components = build_components(make_point(*BASE))
    components.data.setup()
    runs = []
    for seed in (0, 0, 1):
        seeds: list[int] = []
        runner = Runner(components.data, components.schedule, components.trainer_config, None, seed)
        for _ in range(3):
            runner.train(Probe(components.network(0), Phase(1, 0.1, Exponential())), "probe", show=False)
        runs.append(seeds)
        assert (runner.epochs, runner.num_phases, runner.steps) == (3, 3, 3 * 19)
    assert len(set(runs[0])) == 3
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])
