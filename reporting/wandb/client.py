"""Configure wandb's client with time limits, explain its errors, and write a row to a W&B run."""

from __future__ import annotations

import os
import signal
from configparser import ConfigParser, Error
from contextlib import suppress
from pathlib import Path
from typing import Any

from evaluation.result import Result
from reporting.wandb.names import final_config, layer_table, summary
from runtime.messages import one_line
from runtime.process import children
from runtime.worker import Worker

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
ADDRESS = "WANDB_BASE_URL"
SERVICE = "wandb-core"
DROP_SECONDS = 10.0
NO_KEY = "no API key for W&B; run `wandb login` or set WANDB_API_KEY"


def prepare() -> None:
    """Make wandb quiet and limit its waiting; call this before anything else of wandb."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would look up a host even offline
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def comes_from_outside(error: Exception) -> bool:
    """Return whether wandb, its server or the network failed, and not this suite."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith("wandb")


def explain(error: Exception) -> str:
    """Return what went wrong between wandb and its server, and what to do, in one line."""
    text = one_line(error)
    if "api_key" in text.lower().replace(" ", "_"):
        return NO_KEY
    return f"W&B at {base_url()} does not take it ({type(error).__name__}: {text[:200]})"


def base_url() -> str:
    """Return the address of the server that wandb uses; this asks no service process, which may be gone."""
    import wandb

    return next((address for _, address in addresses()), str(wandb.Settings().base_url))


def addresses() -> list[tuple[str, str]]:
    """Return the servers' addresses that are set and where, in the order in which wandb prefers them."""
    found = [(ADDRESS, os.environ[ADDRESS])] if os.environ.get(ADDRESS) else []
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    for path in (Path("wandb") / "settings", folder / "settings"):
        parser = ConfigParser()
        try:
            parser.read(path, encoding="utf-8")
            found.append((str(path), parser["default"]["base_url"]))
        except (Error, KeyError, OSError, UnicodeDecodeError):  # a file without one, or no file
            continue
    return found


def has_service() -> bool:
    """Return whether wandb's service process, through which this one speaks to the server, is there and not stopped."""
    return any(not child.is_stopped for child in children(SERVICE))


def kill_service() -> None:
    """End wandb's service process at once, also one that is stopped; what it has not sent is lost."""
    for child in children(SERVICE):
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def drop_client(worker: Worker) -> None:
    """Kill wandb's service process and forget it: the next run starts a fresh one."""
    import wandb

    kill_service()
    with suppress(Exception):  # it reports the end that this asked for
        worker.call(wandb.teardown, DROP_SECONDS)
    os.environ.pop("WANDB_SERVICE", None)
    wandb.run = None  # Lightning's logger would take it for its own


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
