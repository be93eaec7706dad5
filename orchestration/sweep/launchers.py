"""Prepare the environment for processes that a launcher starts: Python path, threads, Ray's settings."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from orchestration.config import resolvers
from orchestration.config.point import Point
from orchestration.paths import python_path
from orchestration.store.owned_files import LOCK
from runtime.cores import RESERVED
from runtime.file_lock import owner_of
from runtime.process import ProcessId, descendants

POLL_SECONDS = 0.1


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

    def on_job_start(self, config: Any, **kwargs: Any) -> None:
        """Tell the process of a point, and those it starts, how many CPUs are reserved for it."""
        resolvers.register()  # a worker of Ray has composed nothing yet
        launcher = config.hydra.launcher
        reserved = launcher.ray.remote.get("num_cpus") if "ray" in launcher else launcher.get("cpus_per_task")
        if reserved is not None:
            os.environ[RESERVED] = str(max(1, int(reserved)))


def start_ray(options: DictConfig) -> None:
    """Start Ray, or join it; call it before installing signal handlers, because Ray installs its own."""
    import ray

    if not ray.is_initialized():
        arguments: Any = OmegaConf.to_container(options, resolve=True)
        ray.init(**arguments)


def stop_ray(points: Iterable[Point]) -> None:
    """Shut Ray down in this process, if it was started; running points first get SIGTERM and write their rows.

    Ray's own shutdown kills its workers a tenth of a second after it asks them to end, and Ray blocks SIGINT in them.
    A second signal ends the wait.
    """
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return
    try:
        locks = [point.directory / LOCK for point in points]
        asked: set[ProcessId] = set()
        while owners := _owners_among(descendants(), locks):
            if not asked:
                print(f"{len(owners)} running: stopping after this batch; repeat to stop now", flush=True)
            for owner in owners - asked:
                with suppress(OSError):
                    os.kill(owner.pid, signal.SIGTERM)
            asked |= owners
            time.sleep(POLL_SECONDS)
    finally:
        ray.shutdown()


def _owners_among(pids: set[int], locks: Iterable[Path]) -> set[ProcessId]:
    """Return the living holders of `locks` that are processes `pids` of this machine."""
    held = [owner for owner, is_alive in map(owner_of, locks) if is_alive]
    return {owner for owner in held if owner is not None and owner.is_here and owner.pid in pids}
