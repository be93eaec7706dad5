"""Compose the points of a sweep exactly as Hydra does, in a hundredth of its time.

Hydra takes some fifty milliseconds a point, nearly all of it for choosing and merging files. Here points that differ
only in plain values of plain keys are a family, which is composed once, with a mark in the place of each value; what
Hydra makes of the marks shows where the values go. A key is plain if all that depends on it are copies (`${rank}`);
where anything else does, or may, the points are composed one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, Node, OmegaConf

from orchestration.config import resolvers
from orchestration.config.point import Point
from runtime.decimals import as_meant
from runtime.json_trees import Place, leaves, map_leaves, with_leaf

# Resolvers of interpolations that read no more of a configuration than their arguments and `resolvers.READS`.
KNOWN = {"scaled", "oc.env"}
INTERPOLATION = r"\$\{([^{}]+)\}"  # with none inside it


@dataclass(frozen=True)
class Family:
    """Points that differ in plain values: one of them, unchecked, with a mark for each value, and the marks' places."""

    point: Point
    places: list[list[Place]]


class Composer:
    """Compose combinations of overrides on the configuration of a sweep."""

    def __init__(self, loader: ConfigLoader, base: DictConfig) -> None:
        self.loader = loader
        self.base = base
        self.groups = {str(group) for group in base.hydra.runtime.choices}
        self.parser = OverridesParser.create()
        self._parsed: dict[str, tuple[str, Any] | None] = {}
        self._families: dict[tuple[str, ...], Family | None] = {}

    def __call__(self, overrides: Sequence[str]) -> Point:
        """Compose and check one point; raises what Hydra raises, and `ConfigError`."""
        plain = [self._plain(override) for override in overrides]
        # A list takes another way through Hydra than a number: the family knows which it is.
        kinds = tuple(
            override if value is None else f"{value[0]}={'[]' if isinstance(value[1], list) else ''}"
            for override, value in zip(overrides, plain, strict=True)
        )
        if kinds not in self._families:
            self._families[kinds] = self._family(overrides, plain)
        family = self._families[kinds]
        if family is None:
            config = self.loader.load_sweep_config(self.base, list(overrides))
            return Point.from_hydra(config, config.hydra)
        settings = family.point.config
        for (_, value), places in zip(filter(None, plain), family.places, strict=True):
            for place in places:
                settings = with_leaf(settings, place, value)
        task = tuple(override for override in overrides if not override.lstrip("+~").startswith("hydra."))
        return replace(family.point, config=settings, overrides=task).checked()

    def _plain(self, override: str) -> tuple[str, Any] | None:
        """Return key and value of an override that gives a plain value to a key; None for any other override."""
        if override not in self._parsed:
            self._parsed[override] = self._parse(self.parser.parse_override(override))
        return self._parsed[override]

    def _parse(self, override: Override) -> tuple[str, Any] | None:
        key = override.key_or_group
        is_group = key in self.groups or "/" in key or override.package is not None
        if is_group or override.type != OverrideType.CHANGE or override.is_sweep_override() or key.startswith("hydra."):
            return None
        value = map_leaves(as_meant, override.value())
        items = value if isinstance(value, list) else [value]
        return (key, value) if key != resolvers.READS and all(map(_is_plain, items)) else None

    def _family(self, overrides: Sequence[str], plain: Sequence[tuple[str, Any] | None]) -> Family | None:
        """Compose a family with marks; return None if the places of its values cannot be told."""
        keys = [value[0] for value in plain if value is not None]
        if len(set(keys)) < len(keys) or any(a.startswith(f"{b}.") for a in keys for b in keys):
            return None
        marks = [f"mark{number:03d}of{len(keys):03d}" for number in range(len(keys))]
        unused = iter(marks)
        marked = [
            override if value is None else f"{value[0]}={_marked(next(unused), value[1])}"
            for override, value in zip(overrides, plain, strict=True)
        ]
        try:
            config = self.loader.load_sweep_config(self.base, marked)
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            if not all(_is_untyped(own, key) for key in keys) or not _is_all_known(OmegaConf.to_container(own)):
                return None
            point = Point.unchecked(config, config.hydra)
        except Exception:  # Hydra, or a resolver, takes no such value: it will say so of the real ones
            return None
        places: list[list[Place]] = [[] for _ in keys]
        for place, leaf in leaves(point.config, whole_lists=True):
            for number, mark in enumerate(marks):
                if mark in str(place) or (mark in str(leaf) and leaf not in (mark, [mark])):
                    return None
                if leaf in (mark, [mark]):
                    places[number].append(place)
        return Family(point, places)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, bool | int | float)


def _marked(mark: str, value: Any) -> str:
    return f"[{mark}]" if isinstance(value, list) else mark


def _is_untyped(config: DictConfig, key: str) -> bool:
    """Return True if the node keeps any value as it is; a typed node would convert it."""
    parent, _, last = key.rpartition(".")
    container = OmegaConf.select(config, parent) if parent else config
    node = container._get_node(int(last) if OmegaConf.is_list(container) else last)
    return isinstance(node, Node) and node._metadata.ref_type is Any


def _is_all_known(unresolved: Any) -> bool:
    """Return True if each interpolation is a copy, or calls a resolver that reads no other key of the configuration."""
    for _, leaf in leaves(unresolved, whole_lists=True):
        for text in leaf if isinstance(leaf, list) else [leaf]:
            if not isinstance(text, str) or "${" not in text:
                continue
            # Text around an interpolation is harmless: `_family` rejects marks inside longer text.
            calls = re.findall(INTERPOLATION, text)
            if "${" in re.sub(INTERPOLATION, "", text) or any(
                ":" in call and call.partition(":")[0] not in KNOWN for call in calls
            ):
                return False
    return True
