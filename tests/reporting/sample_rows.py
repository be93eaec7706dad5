"""A row as a point leaves it, without running one."""

from __future__ import annotations

from typing import Any

from evaluation.result import Measure, Result


def make_measure(num_params: int) -> Measure:
    """Numbers that differ from each other."""
    return Measure(
        test_top1_percent=90.5,
        test_top5_percent=None,
        test_loss=0.25,
        validation_top1_percent=91.5,
        num_params=num_params,
        macs=num_params - 3,
        num_bytes=num_params * 4 + 1,
        latency_ms={"1": 0.125, "256": 1.5},
        peak_memory_mib={"1": 0.5, "256": 2.5},
        epochs=3,
        seconds=num_params / 7,
        num_nonzero=num_params - 1,
    )


def make_row(**changes: Any) -> Result:
    """Three entries of history, a layer with a rank of two modes, one that stays dense."""
    values: dict[str, Any] = {
        "id": "0123456789ab",
        "variant": "ba9876543210",
        "status": "ok",
        "choices": {"dataset": "digits", "network": "mlp", "method": "lc_svd", "decomposition": "svd"},
        "seed": 3,
        "config": {"seed": 3, "schedule": {"batch_size": 64}, "rank": {"share": 0.1}},
        "overrides": ["rank.share=0.1", "seed=3"],
        "signature": {"split": "a split", "counting": "all", "latency": "median"},
        "environment": {"commit": "abc", "device": "a processor"},
        "started": "2026-01-02T03:04:05+0000",
        "seconds": 12.25,
        "reference": make_measure(1000),
        "compressed": make_measure(100),
        "layers": {
            "fc1": {"rank": [3, 2], "params": 30, "macs": 20, "reason": None},
            "fc2": {"rank": None, "params": 10, "macs": 9, "reason": "small", "form": "merged"},
        },
        "rank_reason": "a budget",
        "violation": 0.75,
        "history": [
            {"step": n, "penalty": 0.1 * 2**n, "violation": 8.0 - n, "ranks": {"fc1": [3, 2]}, "train_loss": None}
            for n in range(3)
        ],
        "tags": ["table1"],
    }
    return Result(**values | changes)
