"""The comparison as a report in Weights & Biases, above the runs that it is made of."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.result import Result
from reporting.markup import markdown
from reporting.table import Table
from reporting.wandb.client import comes_from_outside, one_line, prepare
from reporting.wandb.names import DIGEST
from reporting.wandb.sync import known_summaries, opened, send_rows

EXTRA = "the report needs wandb-workspaces; pip install 'compression-bench[wandb]'"
# The run that holds the comparison itself, one a project, and its job type.
COMPARISON = "comparison"
# The panels: what is drawn over what, by the names of the row.
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
    """Send the rows that W&B lacks, their comparison and a report of it; returns a line that says where it is.

    `places` maps the id of a row to the folder of its files; with `networks` the compressed networks are sent too.
    What did not change is not sent again. Raises `ValueError` in one line where wandb-workspaces, a login or the
    server is missing; what was sent by then stays, and the same call goes on.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ValueError(EXTRA)
    prepare()
    import wandb

    try:
        owner = entity or str(wandb.Api().default_entity)
        num_sent = send_rows(owner, project, results, places, networks)
        url, is_new = send_comparison(owner, project, results, table)
    except Exception as error:
        if not comes_from_outside(error):
            raise
        raise ValueError(one_line(error)) from None
    sent = f"{num_sent} of {len(results)} rows sent, the others were there"
    return f"{url} ({sent}; the comparison is {'written' if is_new else 'as it was'})"


def send_comparison(entity: str, project: str, results: Sequence[Result], table: Table) -> tuple[str, bool]:
    """Write the comparison's run and report; a report that was there is changed in place. Returns its address."""
    import wandb

    report = make_report(entity, project, results, table)
    # Panels have random ids, so what the report is made of is compared, not what is sent.
    made_of = json.dumps([sorted(r.id for r in results), texts(table), PANELS])
    content = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    known = known_summaries(entity, project, [COMPARISON]).get(COMPARISON, {})
    report.id = known.get("report") or ""
    if known.get(DIGEST) == content:
        return report.url, False
    report.save()
    with opened(entity, project, {"id": COMPARISON, "name": COMPARISON, "job_type": COMPARISON}) as run:
        run.log({COMPARISON: wandb.Table(columns=[*table.header], data=texts(table))})
        run.summary.update({DIGEST: content, "report": report.id})
        run.finish()
    return report.url, True


def texts(table: Table) -> list[list[str]]:
    """What its cells say, row by row."""
    return [[cell.text for cell in row] for row in table.rows]


def make_report(entity: str, project: str, results: Sequence[Result], table: Table) -> Any:
    """The report: the table as text, the figures, and the runs of exactly these rows."""
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
