"""The forks that stand for commands leave the process that they come from whole."""

from __future__ import annotations

from pathlib import Path

from tests.commands import Started


def use_temporary_folder() -> None:
    """Write where wandb.Table does: in a folder that is made when wandb is imported, and removed when Python ends."""
    from wandb.sdk.data_types._private import MEDIA_TMP

    (Path(MEDIA_TMP.name) / "table.json").write_text("{}")


def test_the_end_of_one_command_takes_nothing_from_the_next():
    for _ in range(2):
        with Started(use_temporary_folder) as started:
            done = started.wait()
        assert done.returncode == 0, done.stderr
