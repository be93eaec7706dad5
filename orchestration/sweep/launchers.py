"""Prepare the environment for processes that a launcher starts: Python path, threads, Ray's settings."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from orchestration.paths import python_path


class Launching(Callback):
    """Hydra callback named by conf/launcher; it keeps what the user has set, except OMP_NUM_THREADS for Ray."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Set the environment that this process and the launcher's processes share."""
        os.environ["PYTHONPATH"] = python_path()
        ray = config.hydra.launcher.get("ray")
        if ray is None:
            if not config.plan and shutil.which("srun") is None:
                sys.exit("error: launcher=slurm: expected srun on the path, found none; is this a login node?")
            return
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray gives a worker as many as it has CPUs, unless this says otherwise
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        given = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
        if ray.init.address is None and not given and not (Path.home() / ".ray" / "auth_token").exists():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else Ray writes one into the home folder


def start_ray(options: DictConfig) -> None:
    """Start Ray, or join it; call it before installing signal handlers, because Ray installs its own."""
    import ray

    if not ray.is_initialized():
        arguments: Any = OmegaConf.to_container(options, resolve=True)
        ray.init(**arguments)


def stop_ray() -> None:
    """Shut Ray down in this process, if it was started."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
