"""What a table may hold together: rows of one network on the same data.

Two folders of images are both `image_folder`, and the files under one name may change: within a network, data sets are
told apart by their names and by the fingerprint in each row's signature.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.result import Result
from runtime.messages import printable

NUM_DIGITS = 6  # of a fingerprint: enough to tell a few apart
NUM_LETTERS = 40  # of a name, which may become part of a file's
UNKNOWN = "unknown"


def plain_task(choices: Mapping[str, str]) -> str:
    """Return `dataset/network`, as published rows say it."""
    return f"{choices['dataset']}/{choices['network']}"


class Tasks:
    """Name the task of each of some results: `mnist/lenet5`, where data differ `image_folder(cats)@0a1b2c/lenet5`."""

    def __init__(self, results: Iterable[Result]) -> None:
        results = list(results)
        self._fingerprints: dict[str, set[str]] = {}  # of the rows of one configuration of their data
        for result in results:
            if (known := _fingerprint(result)) is not None:
                self._fingerprints.setdefault(_configured(result), set()).add(known)
        self._names: dict[str, set[str | None]] = {}
        self._known: dict[tuple[str, str | None], set[str]] = {}
        for result in results:
            task, name = plain_task(result.choices), _name(result)
            self._names.setdefault(task, set()).add(name)
            if (known := _fingerprint(result)) is not None:
                self._known.setdefault((task, name), set()).add(known)

    def __call__(self, result: Result) -> str:
        """Return the name of a result's task."""
        task, name = plain_task(result.choices), _name(result)
        label = result.choices["dataset"]
        if len(self._names.get(task, ())) > 1 and name is not None:
            label += f"({printable(name)[:NUM_LETTERS]})"
        if len(self._known.get((task, name), ())) > 1:
            label += f"@{self._guessed(result)}"
        return f"{label}/{result.choices['network']}"

    def _guessed(self, result: Result) -> str:
        """Return the fingerprint of a row's data, shortened; of a row that failed early, that of rows like it."""
        if (known := _fingerprint(result)) is not None:
            return known[:NUM_DIGITS]
        alike = self._fingerprints.get(_configured(result), set())
        return next(iter(alike))[:NUM_DIGITS] if len(alike) == 1 else UNKNOWN


def by_task(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group results by their task, the network and its data, in alphabetical order."""
    tasks: dict[str, list[Result]] = {}
    results = list(results)
    name = Tasks(results)
    for result in results:
        tasks.setdefault(name(result), []).append(result)
    return dict(sorted(tasks.items()))


def only_task(results: Iterable[Result]) -> str | None:
    """Return the dataset and network of the results if they share it, so that names can omit it; else None."""
    tasks = by_task(results)
    return next(iter(tasks)) if len(tasks) == 1 else None


def _fingerprint(result: Result) -> str | None:
    return result.signature.get("data")


def _name(result: Result) -> str | None:
    name = _dataset(result).get("name")
    return name if isinstance(name, str) else None


def _configured(result: Result) -> str:
    return json.dumps([result.choices["dataset"], _dataset(result)], sort_keys=True)


def _dataset(result: Result) -> dict[str, Any]:
    dataset = result.config.get("dataset", {})
    return dataset if isinstance(dataset, dict) else {}
