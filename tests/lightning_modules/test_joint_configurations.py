"""LC, ADMM and alternating Tucker are one class: with equal settings they take equal steps, and ADMM's are ADMM's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from decompositions import load_network
from decompositions.rank_search.fixed import Fixed
from decompositions.svd import SVD
from lightning_modules.joint import Joint
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.decay import Exponential
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from orchestration.run.run_point import run_point
from tests.lightning_modules.test_joint_against_numpy import EPOCHS, NUM, RATE, WIDTH, FewImages

EQUAL = (
    "network.hidden=[20]", "decomposition=svd", "method.multipliers=true",
    "method.normalize=false", "method.choose_ranks=every_step",
    "method.choose_dense=at_the_end", "schedule.l_step.epochs=2",
    "schedule.l_step_decay=0.9", "schedule.penalty.initial=0.05", "schedule.penalty.growth=1.5",
    "schedule.penalty.num_steps=4", "schedule.fine_tune.epochs=1",
)  # fmt: skip
GIVEN = ("rank=fixed", "rank.ranks=4")
pytestmark = pytest.mark.usefixtures("share_references")
JOINT = ("lc_svd", "lc_cur", "admm_svd", "admm_tucker", "admm_tt", "alternating_tucker")


def steps(make_point, method, *overrides, rank=GIVEN):
    point = make_point(f"method={method}", *EQUAL, *rank, *overrides)
    result = run_point(point)
    assert result.status == "ok", result.status
    return result.history, load_network(point.directory / "network.pt").state_dict()


def test_equal_settings_are_equal_steps(make_point):
    history, state = steps(make_point, JOINT[0])
    assert len({entry["violation"] for entry in history}) > 3, "the weights must move, or nothing is compared"
    for method in JOINT[1:]:
        other_history, other_state = steps(make_point, method)
        assert other_history == history, method
        assert all(torch.equal(state[name], other_state[name]) for name in state), method


@pytest.fixture(scope="module")
def history_of_base() -> list[dict]:
    return []


@pytest.mark.parametrize(
    "switch",
    ["method.multipliers=false", "schedule.penalty.growth=1", "schedule.penalty.initial=0.01", "rank.ranks=3",
     "decomposition=tucker"],
)  # fmt: skip
def test_each_switch_changes_the_steps(make_point, history_of_base, switch):
    if not history_of_base:
        history_of_base.extend(steps(make_point, "admm_svd")[0])
    assert history_of_base != steps(make_point, "admm_svd", switch)[0]


def test_ranks_chosen_once_are_those_of_the_start(make_point):
    """With a rule that would change its mind."""
    ranks = {}
    for when in ("once", "every_step"):
        rule = ("rank=energy", "rank.keep=0.6")
        history, _ = steps(make_point, "admm_svd", f"method.choose_ranks={when}", rank=rule)
        ranks[when] = [tuple(entry["ranks"].values()) for entry in history]
    assert len(set(ranks["once"])) == 1
    assert len(set(ranks["every_step"])) > 1
    assert ranks["once"][0] == ranks["every_step"][0]


def test_admm_is_admm_as_its_authors_write_it(tmp_path):
    """Scaled form: W ← descent on L + ρ/2 ‖W − Z + U‖², Z ← projection of W + U, U ← U + W − Z; in NumPy."""
    rank, rho, rounds = 2, 0.3, 6
    data = FewImages()
    data.setup()
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 5))
    x = (data.train.images.double() / 255.0 - data.normalise.mean).reshape(NUM, WIDTH).numpy()
    labels = data.train.labels.numpy()
    weight, bias = (p.detach().double().numpy().copy() for p in network.parameters())

    def projection(a):
        u, s, v = np.linalg.svd(a, full_matrices=False)
        return (u[:, :rank] * s[:rank]) @ v[:rank]

    z = projection(weight)
    u = weight - z
    for _ in range(rounds):
        for _ in range(EPOCHS):
            logits = x @ weight.T + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(NUM), labels] -= 1
            weight, bias = (
                weight - RATE * (p.T @ x / NUM + rho * (weight - z + u)),
                bias - RATE * p.mean(0),
            )
        before, z = z, projection(weight + u)
        u = u + weight - z
    assert np.abs(before - z).max() > 1e-4

    plain = Phase(EPOCHS, RATE, Exponential(), momentum=0.0)
    schedule = Schedule(
        1.0, NUM, plain, plain, 1.0, dataclasses.replace(plain, epochs=0), plain, Penalty(rho, 1, rounds)
    )
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", every_seconds=1e9, origin={})
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0, checkpoint=checkpoint)
    done = Joint(SVD(), Fixed(rank), choose_ranks="once").compress(network, runner)
    state = checkpoint.position.state
    assert state is not None
    assert state["network"]["1.weight"].numpy() == pytest.approx(weight, abs=1e-5)
    first, last = done.network[1][0].weight, done.network[1][1].weight
    assert (last @ first).detach().numpy() == pytest.approx(z, abs=1e-5)
