"""Configure wandb's client with time limits, explain its errors, and write a row to a W&B run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evaluation.result import Result
from reporting.wandb.names import final_config, layer_table, summary
from runtime.messages import one_line

# wandb would retry for hours. A row is on disk before it is sent to W&B, so nothing is lost by giving up.
# Variables that the environment sets already keep their values.
ENVIRONMENT = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_INIT_TIMEOUT": "60",
    "WANDB_FINISH_TIMEOUT": "180",
    "WANDB_FINISH_TIMEOUT_RAISES": "true",
    "WANDB_HTTP_TIMEOUT": "20",
    "WANDB__GRAPHQL_RETRY_MAX": "3",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB__FILE_STREAM_TIMEOUT_SECONDS": "20",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "3",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "5",
}
NO_KEY = "no API key for W&B; run `wandb login` or set WANDB_API_KEY"


def prepare() -> None:
    """Make wandb quiet and limit its waiting; call this before anything else of wandb."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would look up a host even offline
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def comes_from_outside(error: Exception) -> bool:
    """Return whether wandb, its server or the network failed, and not this suite."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith("wandb")


def is_mistake(error: Exception) -> bool:
    """Return whether the user can correct it: a missing login, a name that W&B does not accept."""
    import wandb

    return isinstance(error, wandb.errors.UsageError)


def explain(error: Exception) -> str:
    """Return what went wrong between wandb and its server, and what to do, in one line."""
    text = one_line(error)
    if is_mistake(error) and "api_key" in text.lower().replace(" ", "_"):
        return NO_KEY
    return f"W&B at {base_url()} does not take it ({type(error).__name__}: {text[:200]})"


def base_url() -> str:
    """Return the address of the server that wandb uses."""
    import wandb

    return str(wandb.setup().settings.base_url)


def write_row(run: Any, result: Result, network: Path | None = None) -> None:
    """Write a row to its W&B run: configuration, table of layers, summary, and the file `network` unless it is None."""
    import wandb

    run.config.update(final_config(result), allow_val_change=True)
    columns, lines = layer_table(result)
    if lines:
        run.log({"layers": wandb.Table(columns=[*columns], data=lines)})
    if network is not None and network.is_file():
        artifact = wandb.Artifact(f"network-{result.id}", type="network")
        artifact.add_file(str(network), name=network.name)
        run.log_artifact(artifact)
    run.summary.update(summary(result) | ({"network": True} if network is not None and network.is_file() else {}))
