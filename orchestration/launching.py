"""What processes that a launcher starts elsewhere need of this one: where the suite is, and what Ray may do."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

ROOT = Path(__file__).parent.parent


class Launching(Callback):
    """Named by the files of conf/launcher; what the user has set stays, but for the threads of a worker."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Set the environment that this process and those of the launcher share."""
        os.environ["PYTHONPATH"] = python_path()
        ray = config.hydra.launcher.get("ray")
        if ray is None:
            return
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray gives a worker as many as it has CPUs, unless this says otherwise
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        given = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
        if ray.init.address is None and not given and not (Path.home() / ".ray" / "auth_token").exists():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else Ray writes one into the home folder


def python_path() -> str:
    """`PYTHONPATH` with this suite first, which need not be installed."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
