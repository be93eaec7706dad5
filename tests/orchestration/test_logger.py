"""Weights & Biases, really run offline: one run a point in one process, and what each holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import TINY

from orchestration.job import run_point

FAST = "network.hidden=[20]"


def records(folder: Path) -> list[dict]:
    """All records of the one offline run below `folder`, by wandb's own reader."""
    (file,) = folder.rglob("run-*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "WANDB_ERROR_REPORTING": "false"}
    )
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def test_one_run_a_point_with_group_type_tags_config_and_summary(make_point):
    """Two points in one process: two runs."""
    points = [make_point(FAST, "logger=wandb_offline", "tags=[table1]", f"seed={seed}") for seed in (0, 1)]
    results = [run_point(point) for point in points]
    for point, result in zip(points, results, strict=True):
        assert result.status == "ok"
        text = json.dumps(records(point.directory))
        for expected in (point.id, "digits/mlp", "lc_svd", "table1", f"seed={point.config['seed']}"):
            assert expected in text
        for key in ("compressed.num_params", "reference.test_top1_percent", "compressed.latency_ms.1", "status"):
            assert key in text, key
        for key in ("joint/violation", "joint/penalty", "joint/validation_top1_percent", "rank/fc1"):
            assert key in text, key
    assert os.environ["WANDB_ERROR_REPORTING"] == "false", "offline looks no host up"


def test_logger_none_writes_no_wandb(make_point):
    point = make_point(FAST, *TINY, "method=reference")
    assert run_point(point).status == "ok"
    assert not list(point.directory.rglob("*wandb*"))
