"""A run as the server of `tests/wandb_server.py` keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Run:
    """A run on the server. `entity` was asked for, `steps` are the lines of its history, `files` what was uploaded."""

    name: str
    project: str
    entity: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    times_opened: int = 0

    def table(self, key: str) -> dict[str, Any]:
        """A table of the summary, from the file that was uploaded for it."""
        return json.loads(self.files[self.summary[key]["path"]])

    @property
    def values(self) -> dict[str, Any]:
        """The configuration without wandb's own entries."""
        return {key: entry["value"] for key, entry in self.config.items() if key != "_wandb"}
