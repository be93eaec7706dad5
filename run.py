"""Run one point, or with -m a sweep, of dataset × network × method.

python run.py                                                the default: digits, a small network, lc_svd
python run.py dataset=mnist network=lenet300 method=lc_cur rank.weight=0.3
python run.py -m method=svd,lc_svd,lc_cur seed=0,1,2         all combinations
"""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from orchestration import scaled
from orchestration.point import Point
from orchestration.schema import ConfigError

scaled.register()
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the memory profiler; read when torch is loaded


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> str:
    """Check the composed configuration, run it, print its row; the status tells a sweep how it went."""
    hydra_config = HydraConfig.get()
    try:
        point = Point.from_hydra(config, hydra_config)
        from orchestration.job import run_point  # torch and Lightning: only once the configuration is accepted

        result = run_point(point)
    except ConfigError as error:
        if hydra_config.mode == RunMode.MULTIRUN:
            raise
        sys.exit("\n".join(f"error: {problem}" for problem in str(error).splitlines()))
    if hydra_config.mode == RunMode.MULTIRUN:
        return result.status
    from evaluation.print_result import print_result

    print_result(result, point.directory)
    if not result.is_ok:
        sys.exit(1)
    return result.status


if __name__ == "__main__":
    main()
