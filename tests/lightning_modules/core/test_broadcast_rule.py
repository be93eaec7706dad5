"""A rule that reads a clock is called on rank 0 only; every process gets its choice, or its error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import pytest
from torch import distributed, multiprocessing

from decompositions.rank_search.latency import Latency
from decompositions.rank_search.rule import RankChoice, RankProblem
from lightning_modules.core.broadcast_rule import BroadcastRule
from runtime.distributed import group


@dataclass(frozen=True)
class ClockRule:
    """A rule that fails if it is called on another rank than 0."""

    share: float
    reads_a_clock: ClassVar[bool] = True

    def __call__(self, problem: RankProblem) -> RankChoice:
        assert group().rank == 0, "called on another rank"
        if self.share < 0.5:
            raise ValueError("too slow")
        return RankChoice({"fc": 3}, "by the clock")


def follow_rank_0(rank: int, folder: str) -> None:
    timeout = timedelta(seconds=60)
    distributed.init_process_group("gloo", f"file://{folder}/store", timeout, world_size=2, rank=rank)
    problem = RankProblem({}, 1.0)
    assert BroadcastRule(ClockRule(0.9))(problem).ranks == {"fc": 3}
    with pytest.raises(ValueError, match="too slow"):
        BroadcastRule(ClockRule(0.1))(problem)
    distributed.destroy_process_group()


def test_a_rule_that_reads_a_clock_is_called_on_rank_0_only(tmp_path):
    assert Latency.reads_a_clock
    multiprocessing.start_processes(follow_rank_0, (str(tmp_path),), nprocs=2, start_method="fork")
