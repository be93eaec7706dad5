"""The errors that a user can mend, each told in one line."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration that must not run; one line per problem."""


class NotHere(ConfigError):
    """This machine lacks the data or the devices of a point; others may have them. `advice` is for this machine."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what}{advice}")
        self.what = what


class RunsElsewhere(Exception):
    """Another process is running the point: it is left alone."""
