"""Rows for the tests of the page: the committed ones, and some that no one would want to have."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from types import SimpleNamespace

from evaluation.reported import Reported
from evaluation.result import Result
from reporting.rows import read_rows
from tests.conftest import ROOT

EVIL = '</script><script>document.title="bad"</script><img src="https://example.org/x" onerror="document.title=1">'


@functools.cache
def _committed() -> tuple[Result, ...]:
    return tuple(read_rows([ROOT / "measured"]).results)


def committed() -> list[Result]:
    return list(_committed())


def odd(like: Result) -> list[Result]:
    """One that failed and says so in HTML, one that diverged."""
    failed = dataclasses.replace(
        like, id="failed", variant="failed", seed=7, status=f"failed: {EVIL}", tags=[EVIL], reference=None,
        compressed=None, layers={}, history=[], rank_reason=None, violation=None,
    )  # fmt: skip
    undefined = dataclasses.replace(like.compressed, test_loss=math.nan, test_top1_percent=math.nan)
    diverged = dataclasses.replace(
        like, id="diverged", variant="diverged", status="diverged: loss is NaN", tags=["paper"], compressed=undefined
    )
    return [failed, diverged]


@functools.cache
def many(number: int) -> list[Result]:
    """As many rows as asked for, none like another: real ones, all their measured values changed a little."""
    rng = random.Random(0)

    def changed(value):
        if isinstance(value, float):
            return value * rng.uniform(0.9, 1.1)
        if isinstance(value, dict):
            return {k: changed(v) for k, v in value.items()}
        if isinstance(value, list):
            return [changed(v) for v in value]
        if dataclasses.is_dataclass(value):
            return dataclasses.replace(
                value, **changed({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
            )
        return value

    rows = committed()
    return [
        dataclasses.replace(
            row,
            id=f"{copy}-{row.id}",
            variant=f"{copy}-{row.variant}",
            config={**row.config, "copy": copy},
            reference=changed(row.reference),
            compressed=changed(row.compressed),
            history=changed(row.history),
        )
        for copy in range(-(-number // len(rows)))
        for row in rows
    ][:number]


def published(name: str, dataset: str, network: str, method: str, **of) -> SimpleNamespace:
    """Make what the page reads of a published row, without composing it."""
    reported = Reported("Someone", "table 1", "the paper's text", "an hour", 0.3, **of)
    return SimpleNamespace(
        name=name, reported=reported, choices={"dataset": dataset, "network": network, "method": method}
    )


PUBLISHED = [
    published("ic20/lenet300_reference", "mnist", "lenet300", "reference", top1_percent=97.87),
    published("ic20/lenet300_small", "mnist", "lenet300", "lc_svd", top1_percent=98.0, num_params=26661.0),
    published("ic20/lenet300_unsized", "mnist", "lenet300", "lc_svd", top1_percent=98.1),
]
