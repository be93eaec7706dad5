"""Walk trees of mappings, lists and plain leaves, as JSON and YAML files hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Place = tuple[str | int, ...]


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a copy of `value` with `function` applied to each leaf; keys become text, tuples become lists.

    >>> map_leaves(abs, {1: [-2, (3,)]})
    {'1': [2, [3]]}
    """
    if isinstance(value, Mapping):
        return {str(key): map_leaves(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_leaves(function, item) for item in value]
    return function(value)


def with_leaf(tree: Any, place: Sequence[str | int], value: Any) -> Any:
    """Return a copy of a tree of dicts and lists that differs at `place` and shares the rest.

    >>> with_leaf({"a": [1, 2], "b": 3}, ("a", 0), 5)
    {'a': [5, 2], 'b': 3}
    """
    if not place:
        return value
    copy = tree.copy()
    copy[place[0]] = with_leaf(tree[place[0]], place[1:], value)
    return copy


def leaves(value: Any, place: Place = (), *, whole_lists: bool = False) -> Iterator[tuple[Place, Any]]:
    """Yield the place (its keys and indices) and value of each leaf.

    With `whole_lists`, a list of plain values counts as one leaf. `place` is that of `value` itself.

    >>> list(leaves({"rank": {"of": "macs", "ranks": [1, 2]}}, whole_lists=True))
    [(('rank', 'of'), 'macs'), (('rank', 'ranks'), [1, 2])]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*place, key), whole_lists=whole_lists)
    elif isinstance(value, list) and not (whole_lists and not any(isinstance(i, Mapping | list) for i in value)):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index), whole_lists=whole_lists)
    else:
        yield place, value
