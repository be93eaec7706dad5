"""Publish the comparison as a report in Weights & Biases, above the runs that it compares."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.result import Result
from reporting.markup import markdown
from reporting.table import Table
from reporting.wandb.client import comes_from_outside, explain, prepare
from reporting.wandb.names import DIGEST
from reporting.wandb.sync import known_summaries, open_run, send_rows
from runtime.digest import digest_bytes

EXTRA = "the report needs wandb-workspaces; pip install 'compression-bench[wandb]'"
# The id and the job type of the run that holds the comparison, one a project.
COMPARISON = "comparison"
# Each panel's title, and the numbers of a row on its x and y axis.
PANELS = {
    "Accuracy and size": ("compressed.num_params", "compressed.test_top1_percent"),
    "Accuracy and MACs": ("compressed.macs", "compressed.test_top1_percent"),
    "Accuracy and latency, batch 1": ("compressed.latency_ms.1", "compressed.test_top1_percent"),
    "Bytes and memory, batch 1": ("compressed.num_bytes", "compressed.peak_memory_mib.1"),
}


def publish(
    project: str,
    results: Sequence[Result],
    places: Mapping[str, Path],
    table: Table,
    *,
    entity: str | None = None,
    networks: bool = False,
) -> str:
    """Send the rows that W&B lacks, their comparison and a report of it; return a line with its address.

    `places` maps the id of a row to the folder of its files; with `networks` the compressed networks are sent too.
    Nothing unchanged is sent again. Raises `ValueError` in one line where wandb-workspaces, a login or the server is
    missing; what was sent before stays, and calling again sends the rest.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ValueError(EXTRA)
    prepare()
    import wandb

    try:
        owner = entity or os.environ.get("WANDB_ENTITY") or str(wandb.Api().default_entity)
        num_sent = send_rows(owner, project, results, places, networks)
        url, is_new = send_comparison(owner, project, results, table)
    except Exception as error:
        if not comes_from_outside(error):
            raise
        raise ValueError(explain(error)) from None
    sent = f"{num_sent} of {len(results)} rows sent, the others were there"
    return f"{url} ({sent}; the comparison is {'written' if is_new else 'as it was'})"


def send_comparison(entity: str, project: str, results: Sequence[Result], table: Table) -> tuple[str, bool]:
    """Write the comparison's run and its report, or update them; return the address and whether anything changed."""
    import wandb

    report = make_report(entity, project, results, table)
    # Panels have random ids, so compare the report's contents, not what is sent.
    content = digest_bytes([json.dumps([sorted(r.id for r in results), texts(table), PANELS]).encode()])
    known = known_summaries(entity, project, [COMPARISON]).get(COMPARISON, {})
    report.id = known.get("report") or ""
    if known.get(DIGEST) == content:
        return report.url, False
    report.save()
    with open_run(entity, project, {"id": COMPARISON, "name": COMPARISON, "job_type": COMPARISON}) as run:
        run.log({COMPARISON: wandb.Table(columns=[*table.header], data=texts(table))})
        run.summary.update({DIGEST: content, "report": report.id})
        run.finish()
    return report.url, True


def texts(table: Table) -> list[list[str]]:
    """Return the texts of the cells, line by line."""
    return [[cell.text for cell in row] for row in table.rows]


def make_report(entity: str, project: str, results: Sequence[Result], table: Table) -> Any:
    """Make the report: the table as text, the panels, and the W&B runs of exactly these rows."""
    import wandb_workspaces.reports.v2 as w

    runs = w.Runset(
        entity=entity,
        project=project,
        name="rows",
        filters=f"Config('point') in {sorted(result.id for result in results)}",
    )
    panels: list[Any] = [
        w.ScatterPlot(
            title=title,
            x=w.SummaryMetric(x),
            y=w.SummaryMetric(y),
            layout=w.Layout(x=12 * (place % 2), y=8 * (place // 2), w=12, h=8),
        )
        for place, (title, (x, y)) in enumerate(PANELS.items())
    ]
    blocks: list[Any] = [
        w.H2(text="Comparison"),
        w.MarkdownBlock(text=markdown(table)),
        w.PanelGrid(runsets=[runs], panels=panels),
    ]
    return w.Report(
        project=project,
        entity=entity,
        title=f"Comparison: {project}",
        description="Written by report.py --wandb from the rows (result.json), which are the truth.",
        blocks=blocks,
        width="fluid",
    )
