"""What a metric costs: factorising in it, measuring it, and training with it.

    python -m benchmarks.metrics [--rounds 3] [--images 32] [--only factors|calibration|l_step]

factors: SVD of all layers in the metric of their inputs, frontier and factors at a quarter of the full rank, against
what published code does a layer: Cholesky of the moment, `numpy.linalg.svd` of `W L`, the inverse of L [SVD-LLM].
calibration: the second moments of ResNet-50's inputs on images of 224×224, against its C step in the metric.
l_step: an epoch of L steps of LeNet300 with 2,560 images, in a metric against none.

[SVD-LLM] Wang et al., SVD-LLM: truncation-aware singular value decomposition, ICLR 2025.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.c_step import VGG16, resnet50_shapes
from benchmarks.ratios import medians, report
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site, survey
from decompositions.core.whitening import analyse_in
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.rank_search.budget import Budget
from decompositions.search.c_step import RankSearch
from decompositions.svd import SVD
from lightning_modules.core.admm_state import SHARE_OF_STEP
from lightning_modules.training.decay import Exponential
from lightning_modules.training.joint_objective import JointObjective
from lightning_modules.training.penalty_metric import PenaltyMetric
from lightning_modules.training.schedule import Phase
from networks.lenet import lenet300

SVD_FORMAT: Any = SVD()


def main() -> None:
    """Print a ratio a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--only", choices=["factors", "calibration", "l_step"])
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "factors": partial(factors, arguments.rounds),
        "calibration": partial(calibration, arguments.images),
        "l_step": partial(l_step, arguments.rounds),
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()


def factors(rounds: int) -> None:
    """Time the shapes of VGG16 and ResNet-50, each shape once, with a moment of twice as many samples as inputs."""
    for name, shapes in (("VGG16", VGG16), ("ResNet-50", resnet50_shapes())):
        ours, theirs = 0.0, 0.0
        for shape in sorted(set(shapes)):
            weight, moment = layer_of(shape)
            metric = SiteMetric(into=(torch.from_numpy(moment),))
            site = Site("layer", nn.Linear(shape[1], shape[0], bias=False), (((), ()),))
            rank = max(min(shape) // 4, 1)
            work = {
                "ours": partial(in_metric, torch.from_numpy(weight), metric, site, rank),
                "peer": partial(by_cholesky, weight, moment, rank),
            }
            seconds, times = medians(work, rounds), shapes.count(shape)
            ours, theirs = ours + times * seconds["ours"], theirs + times * seconds["peer"]
        report(f"SVD in the metric of the inputs, {name}", ours, theirs, "goal <= 1/4")


def layer_of(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a random weight and the second moment of correlated inputs."""
    generator = np.random.default_rng(shape[0])
    weight = generator.standard_normal(shape)
    inputs = generator.standard_normal((2 * shape[1], shape[1])) * np.geomspace(1, 0.01, shape[1])
    return weight, inputs.T @ inputs


def in_metric(weight: Tensor, metric: SiteMetric, site: Site, rank: int) -> Any:
    """Return the frontier and the factors."""
    analysis = analyse_in(SVD_FORMAT, weight, metric)
    return analysis.frontier(site), analysis.decompose(rank)


def by_cholesky(weight: np.ndarray, moment: np.ndarray, rank: int) -> Any:
    """Return spectrum and factors as published code computes them."""
    root = np.linalg.cholesky(moment)
    u, sigma, v = np.linalg.svd(weight @ root, full_matrices=False)
    half = np.sqrt(sigma[:rank])
    return sigma, u[:, :rank] * half, (half[:, None] * v[:rank]) @ np.linalg.inv(root)


def calibration(num_images: int) -> None:
    """Time the moments of ResNet-50, and its C step in their metric at half the parameters."""
    network = torchvision.models.resnet50().eval()
    sites = survey(network, (3, 224, 224)).sites
    images = torch.randn(num_images, 3, 224, 224).split(8)
    began = time.perf_counter()
    with torch.no_grad():
        for batch in images:
            network(batch)
    passed = time.perf_counter() - began
    began = time.perf_counter()
    metrics = Gram(num_samples=num_images).measure(network, sites, images)
    measured = time.perf_counter() - began
    search = RankSearch(sites, SVD_FORMAT, Budget(0.5, "params"), normalize=True, metrics=metrics)
    began = time.perf_counter()
    search(search.weights, 1.0)
    step = time.perf_counter() - began
    what = f"calibration of ResNet-50 on {num_images} images ({passed:.3g} s of them the forward pass)"
    report(f"{what}, against its C step", measured, step, "goal <= 3 for 512 images")


def l_step(rounds: int) -> None:
    """Time ten L steps of LeNet300 without a metric, in that of the inputs, and in a curvature of both sides."""
    images, labels = torch.randn(2560, 1, 28, 28), torch.randint(10, (2560,))
    batches = list(zip(images.split(256), labels.split(256), strict=True))
    work: dict[str, Callable[[], object]] = {}
    for name, metric in (("none", None), ("gram", Gram()), ("kfac", KFAC())):
        network = lenet300((1, 28, 28), 10)
        sites = survey(network, (1, 28, 28)).sites
        measured = {} if metric is None else metric.measure(network, sites, batches)
        penalties = {n: PenaltyMetric.of(m, int(SHARE_OF_STEP * 256)) for n, m in measured.items()}
        work[name] = partial(train, objective(network, sites, penalties), batches)
    seconds = medians(work, rounds)
    for name in ("gram", "kfac"):
        report(f"L steps of LeNet300 in the metric {name}", seconds[name], seconds["none"], "goal <= 1.25")


def objective(network: nn.Module, sites: Mapping[str, Site], metrics: Mapping[str, PenaltyMetric]) -> JointObjective:
    """Return the joint objective of a network at its own weights."""
    weights = {name: network.get_parameter(f"{name}.weight") for name in sites}
    compressed = {name: weight.detach().clone() for name, weight in weights.items()}
    found = JointObjective(
        network, Phase(1, 0.01, Exponential()), 1.0, weights=weights, compressed=compressed, multipliers=None,
        penalty=0.01, metrics=metrics,
    )  # fmt: skip
    found.on_fit_start()
    return found


def train(module: JointObjective, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Take a step for each batch, without Lightning's loop, which is the same for all."""
    optimizer = module.phase.optimizer(module.network)
    for images, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(module.network(images), labels).backward()
        module.on_before_optimizer_step(optimizer)
        optimizer.step()


if __name__ == "__main__":
    main()
