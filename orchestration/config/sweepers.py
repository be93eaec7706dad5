"""The sweepers that are served. Any other would train points that nobody has planned and checked."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback

from orchestration.errors import ConfigError

SERVED = {
    "hydra_plugins.plan_sweeper.PlanSweeper": "plan (a grid)",
    "hydra_plugins.optuna_sweeper.OptunaSweeper": "optuna (a search)",
}


def require_served(name: str, target: str) -> None:
    """Raise `ConfigError` unless the sweeper of this name is one of ours, whose class is `target`."""
    if target not in SERVED:
        raise ConfigError(not_served(name))


def not_served(name: str) -> str:
    """Return the line for a sweeper that is refused."""
    return f"hydra/sweeper={name}: expected {' or '.join(SERVED.values())}, which check points before they run"


class OnlyServed(Callback):
    """Hydra callback named by conf/config.yaml: it is called before the sweeper of a command is made."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Exit with 1 and one line unless the sweeper is served."""
        chosen = config.hydra.sweeper
        try:
            require_served(config.hydra.runtime.choices.get("hydra/sweeper"), (chosen or {}).get("_target_", ""))
        except ConfigError as error:
            sys.exit(f"error: {error}")
