"""Rewrite two forms of command lines that Hydra refuses although their meaning is plain."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

MULTIRUN = ("-m", "--multirun")


def normalize_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `-m` first and, in a sweep, `rank.keep=0.9` written as `rank.keep=choice(0.9)`.

    Hydra applies the fixed values of a sweep before it knows the swept groups, and refuses a key that only the options
    to come have (`-m method=svd,lc_svd rank=fixed,fixed rank.ranks=3`).
    """
    flags = [argument for argument in arguments if argument in MULTIRUN]
    rest = [argument for argument in arguments if argument not in MULTIRUN]
    # A launcher reads what the trainer asks for before there are points.
    fixed = "trainer." if flags and not any(a.startswith("trainer=") and "," in a for a in rest) else "hydra."
    if not flags:
        return rest
    return flags + [each if each.lstrip("+").startswith(fixed) else _as_choice(each) for each in rest]


def _as_choice(argument: str) -> str:
    key, separator, value = argument.partition("=")
    if argument.lstrip("+").startswith(("-", "~", "hydra.")) or "." not in key or not separator or not value:
        return argument
    if "'" in value or '"' in value:
        return argument  # a sweep takes one layer of quotes away
    try:
        is_sweep = OverridesParser.create().parse_override(argument).is_sweep_override()
    except HydraException:
        return argument  # refused later, with its reason
    return argument if is_sweep else f"{key}=choice({value})"
