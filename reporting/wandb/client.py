"""wandb's own client, told to be patient for a while and not for ever; and what of a row every run gets at its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evaluation.result import Result
from reporting.wandb.names import known_at_the_end, layers, summary

# wandb would try again for hours. A row is on disk before its mirror is written, so nothing is lost by giving up.
# What the environment says already goes first.
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
    """Make wandb quiet and bounded in time; to be called before anything of it."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would look a host up even offline
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def comes_from_outside(error: Exception) -> bool:
    """Whether wandb, its server or the network is what failed, and not this suite."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith("wandb")


def is_mistake(error: Exception) -> bool:
    """Whether the user can mend it: a missing login, a name that W&B does not take."""
    import wandb

    return isinstance(error, wandb.errors.UsageError)


def one_line(error: Exception) -> str:
    """What went wrong between wandb and its server, in a line."""
    text = " ".join(str(error).split())
    if is_mistake(error) and "api_key" in text.lower().replace(" ", "_"):
        return NO_KEY
    return f"W&B at {base_url()} does not take it ({type(error).__name__}: {text[:200]})"


def base_url() -> str:
    """The server that wandb speaks to."""
    import wandb

    return str(wandb.setup().settings.base_url)


def write_row(run: Any, result: Result, network: Path | None = None) -> None:
    """Give a run what its row knows: configuration, table of layers, summary, and, if asked, the compressed network."""
    import wandb

    run.config.update(known_at_the_end(result), allow_val_change=True)
    columns, lines = layers(result)
    if lines:
        run.log({"layers": wandb.Table(columns=[*columns], data=lines)})
    if network is not None and network.is_file():
        artifact = wandb.Artifact(f"network-{result.id}", type="network")
        artifact.add_file(str(network), name=network.name)
        run.log_artifact(artifact)
    run.summary.update(summary(result) | ({"network": True} if network is not None and network.is_file() else {}))
