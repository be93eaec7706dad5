"""Measure a method's metric on the training part, and keep what a row says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.partial_epochs import FirstBatches
from decompositions.core.metric import Metric
from decompositions.metrics.measure import measure
from decompositions.search.c_step import RankSearch
from lightning_modules.training.runner import Runner
from runtime.distributed import all_reduce

# So many samples serve a repair where no metric says how many.
REPAIR_SAMPLES = 4096


class Calibration:
    """The calibration of one run: the `metric` (None: the identity) of `network` as it is.

    Its samples are the first of the training part in the order of the run's seed, augmented as for training.
    """

    def __init__(self, metric: Metric | None, network: nn.Module, runner: Runner) -> None:
        self.metric = metric
        self.network = network
        self.runner = runner
        self.seconds = 0.0
        self.batches: Counted | None = None  # those that were read last

    def measured(self, search: RankSearch) -> RankSearch:
        """Return the search in the metric of the network's present weights; every process must call it."""
        if self.metric is None:
            return search
        began = time.perf_counter()
        batches = self._batches(self.metric.num_samples)
        found = measure(self.metric, self.network, search.sites, batches, all_reduce)
        self.seconds += time.perf_counter() - began
        return replace(search, metrics=found)

    def data(self) -> tuple[Counted, int]:
        """Return batches for a repair and how many samples to read: as many as the metric does, or `REPAIR_SAMPLES`."""
        reads = self.metric is not None and getattr(self.metric, "needs_data", True)
        wanted = self.metric.num_samples if self.metric is not None and reads else REPAIR_SAMPLES
        return self._batches(wanted), wanted

    def _batches(self, num_samples: int) -> Counted:
        self.batches = Counted(self.runner.calibration_batches(num_samples))
        return self.batches

    def record(self, search: RankSearch) -> dict[str, Any] | None:
        """Return what a row says: part, samples and seed, the seconds of the metric, the sides of its moments.

        None if nothing was read. A layer whose inputs have two sides was too large for one moment. Every process must
        call it.
        """
        if self.batches is None:
            return None
        return {
            "part": "training",
            "num_samples": int(all_reduce(torch.tensor(self.batches.num_samples))),
            "seed": self.runner.seed,
            "seconds": self.seconds,
            "inputs": {name: [len(moment) for moment in found.into] for name, found in search.metrics.items()},
        }


class Counted:
    """Batches that count the samples of the last pass over them."""

    def __init__(self, batches: FirstBatches) -> None:
        self.batches = batches
        self.num_samples = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.num_samples = 0
        for images, labels in self.batches:
            self.num_samples += len(labels)
            yield images, labels
