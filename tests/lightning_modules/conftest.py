"""Points in miniature, without the seconds that say nothing about methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from decompositions.layers.int8 import require_kernels
from evaluation import latency


@pytest.fixture(autouse=True)
def quick_latency(monkeypatch):
    """Measure each latency in one short round: a row's own takes longer than all the training of a test."""
    monkeypatch.setattr(latency, "NUM_ROUNDS", 1)
    monkeypatch.setattr(latency, "SECONDS_PER_ROUND", 1e-4)


@pytest.fixture(scope="module")
def trained_references(tmp_path_factory):
    """A folder of references that the tests of a module have trained."""
    return tmp_path_factory.mktemp("references")


@pytest.fixture
def share_references(trained_references, tmp_path):
    """Take the references of all points under `tmp_path / "results"` from the module's folder, or train them there."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "references").symlink_to(trained_references, target_is_directory=True)


@pytest.fixture
def needs_int8():
    """Skip a test of static quantisation on a processor without VNNI, where the method itself refuses to run."""
    try:
        require_kernels(static=True)
    except ValueError as error:
        cpuinfo = Path("/proc/cpuinfo")
        if not cpuinfo.exists() or "vnni" in cpuinfo.read_text():
            raise
        pytest.skip(str(error))
