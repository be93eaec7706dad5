"""The errors that a user can mend, each told in one line."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration that must not run; one line per problem."""


class RunsElsewhere(Exception):
    """Another process is running the point: it is left alone."""
