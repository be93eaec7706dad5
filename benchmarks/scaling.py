"""Measure the load of a point on planning, the folder of results and checkpoints; compute that of many points at once.

    python -m benchmarks.scaling [--minutes 30] [--mib 98]

Measured here: the CPU's time to compose and check a point; how often one point (digits, a small network, lc_svd)
opens, stats, renames, removes or lists something in the folder of results; how large its checkpoints are against its
network. Computed from these: the load of 8, 64 and 1,000 points at a time, each of `--minutes`, on networks of `--mib`
(ResNet-50's parameters are 98 MiB). Opens within torch's own writer are counted once, when the file is moved.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from orchestration.config import resolvers
from orchestration.config.point import Point
from orchestration.store.status import read_status
from orchestration.sweep.fast_compose import Composer
from runtime.console import console

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch is loaded
ROOT = Path(__file__).parent.parent
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "os.listdir", "os.utime", "os.link")
MIB = 2**20


class Watch:
    """Counts what happens below `folder`, by kind; `moved` are the largest sizes of files put in their place."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.moved: Counter[str] = Counter()
        self.is_on = True
        sys.addaudithook(self._audit)
        stat: Any = os.stat

        def counted(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
            self._note("stat", path)
            return stat(path, *arguments, **options)

        os.stat = counted

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and arguments:
            self._note(event, arguments[0])
            if event == "os.rename" and self.is_on and self.folder in str(arguments[0]):
                self.is_on = False
                name = Path(os.fsdecode(arguments[1])).name
                self.moved[name] = max(self.moved[name], os.path.getsize(arguments[0]))
                self.is_on = True

    def _note(self, event: str, path: Any) -> None:
        if self.is_on and self.folder in str(path):
            self.counts[event] += 1


def main() -> None:
    """Measure one point, print the load of many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--mib", type=float, default=98)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        resolvers.register()
        kind_ms, planning_ms = _planning(folder)
        # First the reference, and a point that writes no checkpoint; then one that writes one an epoch.
        from orchestration.run.run_point import run_point

        console.quiet = True
        run_point(_point(folder, "method=reference"))
        watch = Watch(folder)
        run_point(_point(folder, "checkpoint_seconds=86400"))
        accesses = sum(watch.counts.values())
        by_kind = ", ".join(f"{event.removeprefix('os.')} {count}" for event, count in watch.counts.most_common())
        point = _point(folder, "checkpoint_seconds=0", "force=true")
        network_bytes = run_point(point).reference.num_bytes  # type: ignore[union-attr]
        ratio = watch.moved["checkpoint.pt"] / network_bytes
    print(f"planning: {planning_ms:.1f} ms of the CPU a point, {kind_ms:.0f} ms for the first of a kind")
    print(f"results folder: {accesses} accesses a point ({by_kind})")
    print(f"checkpoint: {ratio:.1f} times the bytes of the network (lc_svd)")
    print(f"points of {arguments.minutes:g} minutes, networks of {arguments.mib:g} MiB, checkpoint_seconds=60 (600):")
    for num in (8, 64, 1000):
        per_second = num / (arguments.minutes * 60)
        stored = num / 60 * ratio * arguments.mib
        print(
            f"  {num:>5} at a time: {per_second * 3600:>6.0f} points an hour, planned in "
            f"{per_second * 3600 * planning_ms / 1000:.2f} s; {per_second * accesses:.1f} accesses a second; "
            f"checkpoints {stored:.0f} ({stored / 10:.0f}) MiB a second"
        )


def _planning(folder: str, num: int = 500) -> tuple[float, float]:
    """Milliseconds of the CPU to plan the first point of a kind, and each further one."""
    loader = GlobalHydra.instance().config_loader()
    base = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
    composer = Composer(loader, base)
    began = time.process_time()
    for seed in range(num + 1):
        read_status(composer([f"results_dir={folder}/results", f"seed={seed}"]))
        if seed == 0:
            first = time.process_time() - began
    return first * 1000, (time.process_time() - began - first) / num * 1000


def _point(folder: str, *overrides: str) -> Point:
    tiny = ("logger=none", "num_threads=1", "schedule.reference.epochs=1", "schedule.penalty.num_steps=3")
    wanted = [f"results_dir={folder}/results", *tiny, *overrides]
    config: DictConfig = compose("config", overrides=wanted, return_hydra_config=True)
    return Point.from_hydra(config, config.hydra)


if __name__ == "__main__":
    main()
