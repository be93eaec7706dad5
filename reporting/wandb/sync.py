"""Send rows that Weights & Biases lacks: of runs that were offline, or killed before their end.

The summary of a W&B run holds the digest of its row (`names.digest`), whether a live run, `wandb sync` or this module
wrote it. So the server itself says which rows it has: no local file can be wrong about it, another machine can go on,
and nothing is sent twice.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.name import experiment_name
from evaluation.reference_record import read_reference_record
from evaluation.result import Result
from reporting.wandb.client import write_row
from reporting.wandb.names import DIGEST, arguments_of, digest, history, reference_curve

NETWORK = "network.pt"


def send_rows(
    entity: str, project: str, results: Sequence[Result], directories: Mapping[str, Path], networks: bool
) -> int:
    """Send the rows that are missing and return their number; with `networks` send the compressed networks too.

    `directories` maps the id of a row to the folder of its files. An incomplete W&B run is completed: its history
    continues after the last line that its summary shows.
    """
    known = known_summaries(entity, project, [result.id for result in results])
    missing = [result for result in results if not _is_there(known.get(result.id, {}), result, directories, networks)]
    for number, result in enumerate(missing, 1):
        with open_run(entity, project, arguments_of(result)) as run:
            for line in unsent_lines(curve(result, directories.get(result.id)), known.get(result.id, {})):
                run.log(line)
            write_row(run, result, _network(result, directories) if networks else None)
            run.finish(exit_code=0 if result.is_ok else 1)
        name = f"{experiment_name(result.choices)} seed={result.seed}"
        print(f"sent {number} of {len(missing)}: {name} ({result.id})", file=sys.stderr)
    return len(missing)


@contextmanager
def open_run(entity: str, project: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """Open a W&B run, new or resumed, without facts of this machine: the row may come from another one."""
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


def unsent_lines(lines: Sequence[dict[str, float]], known: Mapping[str, Any]) -> Sequence[dict[str, float]]:
    """Return the lines of a history after the last one that the summary `known` shows."""
    shown = [number for number, line in enumerate(lines, 1) if line.items() <= known.items()]
    return lines[max(shown, default=0) :]


def known_summaries(entity: str, project: str, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the summaries of the runs that the server has, by id; none where there is no such project yet."""
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
    """Return what a live run would have logged, as far as it is on disk: first the reference, then the method."""
    if directory is None or result.reference is None:
        return history(result)
    results_dir = (directory / "../../../..").resolve()  # above <dataset>/<network>/<method>/<id>
    folder = results_dir / "references" / result.choices["dataset"] / result.choices["network"]
    for path in sorted(folder.glob("*.json")):
        try:
            about = read_reference_record(path)
        except ValueError:  # send the row although this file is damaged
            continue
        if about.seconds == result.reference.seconds:  # equal to the last bit: it is this row's reference
            return [*reference_curve(about.curve), *history(result)]
    return history(result)


def _is_there(known: Mapping[str, Any], result: Result, directories: Mapping[str, Path], networks: bool) -> bool:
    lacks_network = networks and _network(result, directories) is not None and not known.get("network")
    return known.get(DIGEST) == digest(result) and not lacks_network


def _network(result: Result, directories: Mapping[str, Path]) -> Path | None:
    path = directories[result.id] / NETWORK if result.is_ok and result.id in directories else None
    return path if path is not None and path.is_file() else None
