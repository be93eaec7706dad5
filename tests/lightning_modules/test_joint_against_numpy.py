"""The whole joint method against learning-compression written from its equations: ranks, Θ, β, objective, weights.

The equations are those of [IC20], the ranks are chosen from full SVDs in NumPy. Both sides start from one reference and
see the same batches in the same order.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from datamodules.memory.in_memory import Images, InMemoryData
from decompositions.rank_search.cost import Cost
from decompositions.svd import SVD
from lightning_modules.core.admm_state import AdmmState
from lightning_modules.joint import Joint
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.decay import Exponential, Steps
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Penalty, Phase, Schedule
from lightning_modules.training.trainer_config import TrainerConfig

OUT, HIDDEN, WIDTH, NUM, BATCH, STEPS, EPOCHS = 5, 8, 6, 24, 8, 12, 3
RATE, RATE_AT_END, STEP_DECAY, MOMENTUM = 0.05, 0.9, 0.98, 0.9
PENALTY = Penalty(initial=0.02, growth=1.4, num_steps=STEPS)


class FewImages(InMemoryData):
    """Random images of one row, the same in each part; `seen` notes the training batches of all epochs in order."""

    input_shape, num_classes, scale, split = (1, 1, WIDTH), OUT, 255.0, "random"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def load(self):
        generator = torch.Generator().manual_seed(4)
        images = torch.randint(256, (NUM, 1, 1, WIDTH), dtype=torch.uint8, generator=generator)
        data = Images(images, torch.randint(OUT, (NUM,), generator=generator))
        return data, data, data

    def train_batches(self, batch_size, seed, device="cpu"):
        batches = super().train_batches(batch_size, seed, device)
        read, seen = batches.read, self.seen

        def noted(chosen):
            for samples, labels in read(chosen):
                seen.append((samples.double(), labels))
                yield samples, labels

        batches.read = noted
        return batches


@dataclasses.dataclass
class Step:
    """What a C step found, by layer: rank, W, Θ and β before its update, as arrays."""

    ranks: list[int | None]
    weights: list[np.ndarray]
    compressed: list[np.ndarray]
    multipliers: list[np.ndarray]

    def objective(self, forward, biases, data, alpha, mu) -> float:
        """L(W) + α Σ C(r) + μ/2 Σ ‖W − Θ‖² − Σ β·(W − Θ), with C(r) = r (m + n)."""
        weights = [torch.from_numpy(w) for w in self.weights]
        loss = float(functional.cross_entropy(forward(weights, biases, data[0]), data[1]))
        gaps = zip(self.ranks, self.weights, self.compressed, self.multipliers, strict=True)
        for rank, weight, theta, beta in gaps:
            assert rank is not None
            gap = weight - theta
            loss += alpha * rank * sum(weight.shape) + mu / 2 * np.square(gap).sum() - (beta * gap).sum()
        return loss


def forward(weights, biases, x):
    hidden = torch.tanh(functional.linear(x.flatten(1), weights[0], biases[0]))
    return functional.linear(hidden, weights[1], biases[1])


def c_step(a, mu, alpha, normalize):
    """The rank of least cost plus error among all, 0 to full, and the truncated SVD at it."""
    u, s, v = np.linalg.svd(a, full_matrices=False)
    norm = np.sum(s**2) if normalize else 1.0
    sums = [alpha * r * sum(a.shape) + mu / 2 * np.sum(s[r:] ** 2) / norm for r in range(len(s) + 1)]
    rank = int(np.argmin(sums))
    return rank, (u[:, :rank] * s[:rank]) @ v[:rank]


MUS = [PENALTY.initial * PENALTY.growth**j for j in range(STEPS + 1)]
FACTORS = [STEP_DECAY**j for j in range(STEPS + 1)]


def learning_compression(start, batches, alpha, normalize, multipliers, *, mus=MUS, factors=FACTORS, keep=False):
    """Return the steps 0 to `STEPS`, the biases of each, with SGD (Nesterov) over the given batches between them.

    `mus` and `factors` on the learning rate are those of each step; `keep` lets momentum go on from L step to L step.
    """
    parameters = [torch.tensor(array, requires_grad=True) for array in start]
    weights, biases = parameters[::2], parameters[1::2]
    beta = [np.zeros_like(w.detach().numpy()) for w in weights]
    theta: list[np.ndarray] = []
    steps, all_biases, batches = [], [], iter(batches)
    for j in range(STEPS + 1):
        mu = mus[j]
        if not keep or j == 0:
            velocity = [torch.zeros_like(p) for p in parameters]
        for epoch in range(EPOCHS if j else 0):
            rate = RATE * factors[j] * RATE_AT_END ** (epoch / EPOCHS)
            for _ in range(NUM // BATCH):
                x, labels = next(batches)
                loss = functional.cross_entropy(forward(weights, biases, x), labels)
                for w, t, b in zip(weights, theta, beta, strict=True):
                    gap = w - torch.from_numpy(t)
                    loss = loss + mu / 2 * gap.square().sum() - (torch.from_numpy(b) * gap).sum()
                gradients = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for p, v, g in zip(parameters, velocity, gradients, strict=True):
                        v.mul_(MOMENTUM).add_(g)
                        p.sub_(rate * (g + MOMENTUM * v))
        now = [w.detach().numpy().copy() for w in weights]
        found = [c_step(w - b / mu if mu else w, mu, alpha, normalize) for w, b in zip(now, beta, strict=True)]
        theta = [t for _, t in found]
        steps.append(Step([rank for rank, _ in found], now, theta, beta))
        all_biases.append([b.detach().clone() for b in biases])
        if multipliers:
            beta = [b - mu * (w - t) for w, t, b in zip(now, theta, beta, strict=True)]
    assert next(batches, None) is None, "both sides have made as many steps"
    return steps, all_biases


SCHEDULE = Schedule(
    1.0, BATCH, Phase(0, RATE, Exponential()), Phase(EPOCHS, RATE, Exponential(RATE_AT_END), momentum=MOMENTUM),
    STEP_DECAY, Phase(0, RATE, Exponential()), Phase(0, RATE, Exponential()), PENALTY,
)  # fmt: skip


def joint(tmp_path, alpha, normalize, multipliers, schedule=SCHEDULE, **options):
    """Return the same of `Joint`, its data, and its result."""
    data = FewImages()
    data.setup()
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUT))
    start = [p.detach().double().numpy().copy() for p in network.parameters()]
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", every_seconds=1e9, origin={})
    runner = Runner(data, schedule, TrainerConfig("cpu"), None, seed=0, checkpoint=checkpoint)
    steps, biases = [], []
    record = AdmmState.record

    def noted(state, number, step, penalty, train_loss=None):
        def arrays(tensors):
            return [tensor.detach().double().numpy().copy() for tensor in tensors.values()]

        beta = state.multipliers or {name: torch.zeros_like(w) for name, w in state.weights.items()}
        steps.append(Step([*step.ranks.values()], arrays(state.weights), arrays(step.compressed), arrays(beta)))
        biases.append([state.network.get_parameter(f"{name}.bias").detach().double().clone() for name in state.weights])
        return record(state, number, step, penalty, train_loss)

    method = Joint(SVD(), Cost(alpha, "macs", relative=False), multipliers, min_rank=0, normalize=normalize, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdmmState, "record", noted)
        done = method.compress(network, runner)
    for kept, before in zip(network.parameters(), start, strict=True):
        assert kept.detach().numpy() == pytest.approx(before), "the reference stays as it is"
    return start, data, steps, biases, done


def compared(tmp_path, alpha, normalize, multipliers, schedule=SCHEDULE, **options):
    """Hold `Joint` against the equations, with `options` of theirs; return their steps, and its result."""
    start, data, ours, our_biases, done = joint(tmp_path, alpha, normalize, multipliers, schedule)
    theirs, their_biases = learning_compression(start, data.seen, alpha, normalize, multipliers, **options)
    assert [step.ranks for step in ours] == [step.ranks for step in theirs]
    assert len({tuple(step.ranks) for step in theirs}) > 1, "the ranks must move, or little is tested"
    every = (torch.cat([x for x, _ in data.test_batches()]).double(), data.test.labels)
    for one, other, ours_now, theirs_now, mu in zip(
        ours, theirs, our_biases, their_biases, options.get("mus", MUS), strict=True
    ):
        for field in ("weights", "compressed", "multipliers"):
            for a, b in zip(getattr(one, field), getattr(other, field), strict=True):
                assert a == pytest.approx(b, abs=2e-5), (mu, field)
        values = [step.objective(forward, b, every, alpha, mu) for step, b in ((one, ours_now), (other, theirs_now))]
        assert values[0] == pytest.approx(values[1], rel=1e-4)
    return theirs, done


# λ on both sides of the point from which rank · (m + n) is no smaller than m n for a layer: dense would be cheaper.
@pytest.mark.parametrize(
    ("multipliers", "normalize", "alpha", "ends_dense"),
    [
        (True, False, 0.002, False), (True, False, 0.0002, True), (True, True, 0.0005, False),
        (True, True, 0.0002, True), (False, False, 0.0005, False), (False, True, 0.0001, True),
    ],
)  # fmt: skip
def test_same_ranks_weights_multipliers_and_objective(tmp_path, multipliers, normalize, alpha, ends_dense):
    theirs, done = compared(tmp_path, alpha, normalize, multipliers)
    sizes = {"1": (HIDDEN, WIDTH), "3": (OUT, HIDDEN)}
    for (name, (m, n)), rank in zip(sizes.items(), theirs[-1].ranks, strict=True):
        expected = rank if rank * (m + n) < m * n else None
        assert done.layers[name]["rank"] == expected
        assert (done.layers[name]["reason"] == f"rank {rank} is not smaller") == (expected is None)
    assert any(done.layers[name]["rank"] is None for name in sizes) == ends_dense


def test_where_the_rule_may_choose_dense_at_every_step_nothing_is_compressed(tmp_path):
    """With Θ = W − β/μ the multipliers vanish and nothing shrinks the tail: dense stays, though rank 3 is better."""
    ends = {}
    for when in ("at_the_end", "every_step"):
        _, _, steps, _, done = joint(tmp_path / when, 0.001, False, True, choose_dense=when)
        ends[when] = [layer["rank"] for layer in done.layers.values()]
        assert (max(np.abs(m).max() for m in steps[-1].multipliers) < 1e-6) == (when == "every_step")
    assert ends == {"at_the_end": [3, 3], "every_step": [None, None]}


def test_a_start_at_zero_begins_at_rank_0_and_without_multipliers(tmp_path):
    schedule = dataclasses.replace(SCHEDULE, penalty=dataclasses.replace(PENALTY, start="zero"))
    options = {"mus": [0.0, *MUS[:-1]], "factors": [0.0, *FACTORS[:-1]]}
    theirs, _ = compared(tmp_path, 0.001, False, True, schedule, **options)
    assert theirs[0].ranks == [0, 0]


@pytest.mark.parametrize("keep", [True, False])
def test_momentum_and_rate_over_all_l_steps(keep, tmp_path):
    """The rate falls to a tenth after half of the L steps; momentum goes on, or each step begins without."""
    options = {"l_step_decay": 1.0, "decay_over_l_steps": Steps([0.5], 0.1), "keep_momentum": keep}
    factors = [1.0] * (STEPS // 2 + 1) + [0.1] * (STEPS // 2)
    schedule = dataclasses.replace(SCHEDULE, **options)
    compared(tmp_path, 0.001, False, True, schedule, factors=factors, keep=keep)
