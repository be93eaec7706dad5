"""What must be right before anything is sent to Weights & Biases: the server's address, the project, a key.

Nothing is sent to find out. wandb itself reports an address that is no URL and then takes its public default, with the
key that was meant for another server.
"""

from __future__ import annotations

import os

from reporting.wandb.client import NO_KEY, addresses, base_url, prepare
from runtime.messages import one_line


def require_address(project: str) -> None:
    """Raise `ValueError` in one line for an address of the server or a name of the project that wandb does not take."""
    prepare()
    import wandb

    for place, address in addresses():
        try:
            wandb.Settings(base_url=address)
        except (ValueError, wandb.errors.Error) as error:
            raise ValueError(f"{place}: expected the URL of a W&B server, got {address!r} ({_reason(error)})") from None
    try:
        wandb.Settings(project=project)
    except (ValueError, wandb.errors.Error) as error:
        raise ValueError(f"W&B's project {project!r}: {_reason(error)}") from None


def require_key() -> None:
    """Raise `ValueError` in one line if there is no key for the server: nobody would be there to type one."""
    if os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    import wandb

    try:
        from wandb.sdk.lib.wbauth import authenticate_session
    except ImportError:  # before wandb 0.23
        has_key = bool(wandb.api.api_key)
    else:
        host = wandb.Settings(base_url=base_url()).base_url
        try:
            has_key = bool(authenticate_session(host=host, source="", prompt=False, update_session=False))
        except wandb.errors.AuthenticationError as error:
            raise ValueError(f"{one_line(error)}; run `wandb login`") from None
    if not has_key:
        raise ValueError(NO_KEY)


def _reason(error: Exception) -> str:
    """Return what pydantic says of the first field, or the message."""
    details = error.errors() if hasattr(error, "errors") else []
    return str(details[0]["msg"]) if details else one_line(error)
