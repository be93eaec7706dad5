"""Describe where a number was measured: versions, device, threads, commit."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from runtime.distributed import group

PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "wandb", "numpy", "scipy", "scikit-learn")


def environment(device: torch.device) -> dict[str, Any]:
    """Return the environment of a row as plain data; `device` computes, of as many as there are processes."""
    is_cuda = device.type == "cuda"
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(device) if is_cuda else _processor(),
        "device_type": device.type,
        "num_devices": group().size,
        **(_cuda() if is_cuda else {}),
        "num_threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def _cuda() -> dict[str, Any]:
    """Return what the numbers of a GPU also depend on."""
    return {
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32": {
            "products": torch.backends.cuda.matmul.allow_tf32,
            "convolutions": torch.backends.cudnn.allow_tf32,
        },
    }


def _driver() -> str | None:
    try:
        line = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D*([\d.]+)", line)
    return found[1] if found else None


def commit() -> str | None:
    """Return the git commit of this source, with "-dirty" if files changed since; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        # An installed copy may lie inside somebody else's checkout: only a file that git tracks is this project's.
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if tracked.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
