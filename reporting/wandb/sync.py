"""Send rows to Weights & Biases where it does not have them: runs that were offline, or killed before their end.

The server is asked which rows it has: the summary of a run says the digest of its row (`names.digest`), whoever
wrote it, a live run, `wandb sync` or this module. So there is no file of what was sent that could be wrong, another
machine may go on, and what is there is not sent again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.name import experiment_name
from evaluation.result import Result
from reporting.wandb.client import write_row
from reporting.wandb.names import DIGEST, arguments_of, digest, history, reference_curve

NETWORK = "network.pt"


def send_rows(
    entity: str, project: str, results: Sequence[Result], directories: Mapping[str, Path], networks: bool
) -> int:
    """Send what is missing and return how many rows that were; with `networks` the compressed networks too.

    `directories` says where the row of an id lies. A run that is there already is completed: its history goes on
    behind the last line that its summary shows.
    """
    known = known_summaries(entity, project, [result.id for result in results])
    missing = [result for result in results if not _is_there(known.get(result.id, {}), result, directories, networks)]
    for number, result in enumerate(missing, 1):
        with opened(entity, project, arguments_of(result)) as run:
            for line in remaining(curve(result, directories.get(result.id)), known.get(result.id, {})):
                run.log(line)
            write_row(run, result, _network(result, directories) if networks else None)
            run.finish(exit_code=0 if result.is_ok else 1)
        name = f"{experiment_name(result.choices)} seed={result.seed}"
        print(f"sent {number} of {len(missing)}: {name} ({result.id})", file=sys.stderr)
    return len(missing)


@contextmanager
def opened(entity: str, project: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """A run of that id, new or continued; nothing of this machine is told, for the row may come from another."""
    import wandb

    quiet = wandb.Settings(
        disable_git=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(
            **arguments, entity=entity, project=project, dir=folder, mode="online", resume="allow", settings=quiet
        )
        yield run


def remaining(lines: Sequence[dict[str, float]], known: Mapping[str, Any]) -> Sequence[dict[str, float]]:
    """The lines after the last one that a summary shows."""
    shown = [number for number, line in enumerate(lines, 1) if line.items() <= known.items()]
    return lines[max(shown, default=0) :]


def known_summaries(entity: str, project: str, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The summaries of those of the runs that the server has; none where there is no such project yet."""
    import wandb

    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(runs), 100):
        wanted = {"name": {"$in": list(runs[start : start + 100])}}
        try:
            answer = wandb.Api().runs(f"{entity}/{project}", filters=wanted, per_page=100, lazy=False)
            found |= {run.id: dict(run.summary_metrics) for run in answer}
        except ValueError as error:
            if "could not find project" not in str(error).lower():
                raise
    return found


def curve(result: Result, directory: Path | None) -> list[dict[str, float]]:
    """What a run of the row would have logged, as far as it is on disk: the reference's training, then the method's."""
    if directory is None or result.reference is None:
        return history(result)
    results_dir = (directory / "../../../..").resolve()  # above <dataset>/<network>/<method>/<id>
    folder = results_dir / "references" / result.choices["dataset"] / result.choices["network"]
    for path in sorted(folder.glob("*.json")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # a damaged file is no reason to keep the row back
            continue
        if about.get("seconds") == result.reference.seconds:  # to the last bit: it is the one that this row names
            return [*reference_curve(about.get("curve") or []), *history(result)]
    return history(result)


def _is_there(known: Mapping[str, Any], result: Result, directories: Mapping[str, Path], networks: bool) -> bool:
    lacks_network = networks and _network(result, directories) is not None and not known.get("network")
    return known.get(DIGEST) == digest(result) and not lacks_network


def _network(result: Result, directories: Mapping[str, Path]) -> Path | None:
    path = directories[result.id] / NETWORK if result.is_ok and result.id in directories else None
    return path if path is not None and path.is_file() else None
