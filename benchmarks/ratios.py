"""Time several pieces of work in turn, so that a drifting clock hits all alike, and print ratios of medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

# Idle threads of one library spin for a while and would take the cores from the next.
PAUSE_SECONDS = 0.1


def medians(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each piece, median over `rounds` turns after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            time.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def report(title: str, seconds: float, peer_seconds: float, goal: str) -> None:
    """One line: both times, the ratio, and the goal it is held against."""
    print(
        f"{title}: {seconds:.4g} s against {peer_seconds:.4g} s, ratio {seconds / peer_seconds:.3g} ({goal})",
        flush=True,
    )
