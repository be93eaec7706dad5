"""Group results into variants, the seeds of one experiment, and give each a name that tells it from the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.name import experiment_name
from evaluation.result import Result
from reporting.tasks import Tasks, plain_task


@dataclass(frozen=True)
class Variant:
    """All seeds of one experiment under a name of its own; `at` is its value of the setting `across`.

    The name begins with the `base`, `task/method`, without marks and settings.
    """

    name: str
    results: list[Result]
    at: Any = None
    task: str = ""
    base: str = ""

    @property
    def is_smoke(self) -> bool:
        """True if its accuracies mean nothing."""
        return self.results[0].is_smoke


# The mark of a method whose paper was not at hand, and its meaning; that of rows of a few batches.
MARK, FOOTNOTE = " †", "† a reconstruction: the paper's text was not at hand."
SMOKE, SMOKE_FOOTNOTE = " ‡", "‡ a smoke run of a few batches (trainer.limit_batches): its accuracy means nothing."
MARKS = (SMOKE, MARK)
# The groups whose option is a setting, and what is no setting of its own beside one: files of metrics set it.
GROUPS = ("rank", "schedule", "metric")
FOLLOWING = {"metric": ("method.normalize",)}
Options = Collection[tuple[str, str]]


def unmarked(name: str) -> str:
    """Return the name of a variant without its `MARKS`."""
    for mark in MARKS:
        name = name.replace(mark, "")
    return name


def variants(results: Iterable[Result], across: str | None = None, reconstructions: Options = ()) -> list[Variant]:
    """Group results that differ only in their seed; name each group by its choices and the settings that tell it apart.

    A setting that ends with `across` ("share": `rank.share` in one method, `method.share` in another) is left out of
    the names; of a group ("metric") its option is. A name with one of the `reconstructions`, `(group, option)`, among
    its choices is marked. Raises `ValueError` if several settings of one experiment end with `across`.
    """
    groups: dict[str, list[Result]] = {}
    results = list(results)
    for result in results:
        groups.setdefault(result.variant, []).append(result)
    named = Tasks(results)
    tasks = {variant: named(group[0]) for variant, group in groups.items()}
    settings = {variant: _settings(group[0]) for variant, group in groups.items()}
    at = {variant: _taken_out(own, across) for variant, own in settings.items()}
    base = {
        variant: tasks[variant] + experiment_name(group[0].choices).removeprefix(plain_task(group[0].choices))
        for variant, group in groups.items()
    }
    names = _told_apart(base, settings)
    names = _told_apart(names, settings, at)  # then by settings that some of the others lack
    names = _told_apart(names, settings, at, unless_absent=False)
    for variant, group in groups.items():  # at the end: a mark tells nobody in what two experiments differ
        if any(choice in reconstructions for choice in group[0].choices.items()):
            names[variant] = base[variant] + MARK + names[variant].removeprefix(base[variant])
        if group[0].is_smoke:
            names[variant] += SMOKE
    return [
        Variant(names[variant], sorted(group, key=lambda r: r.seed), at[variant], tasks[variant], base[variant])
        for variant, group in groups.items()
    ]


def _told_apart(
    names: dict[str, str],
    settings: dict[str, dict[str, Any]],
    at: Mapping[str, Any] | None = None,
    *,
    unless_absent: bool = True,
) -> dict[str, str]:
    """Append to each name the settings that not all variants of that name (and the same value of `at`) share."""
    alike: dict[Any, list[dict[str, Any]]] = {}
    places = {variant: (name, at and shown(at[variant])) for variant, name in names.items()}
    for variant, place in places.items():
        alike.setdefault(place, []).append(settings[variant])
    return {
        variant: name + _difference(settings[variant], alike[places[variant]], unless_absent)
        for variant, name in names.items()
    }


def _taken_out(settings: dict[str, Any], across: str | None) -> Any:
    """Remove the setting that ends with `across` and return its value; a mapping of values is one value."""
    if across is None:
        return None
    if across in GROUPS and across in settings:
        for key in FOLLOWING.get(across, ()):
            settings.pop(key, None)
        return settings.pop(across)
    ends = {key: f".{key}.".index(f".{across}.") + len(across) for key in settings if f".{across}." in f".{key}."}
    whole = {key[:end]: [k for k in ends if k[:end] == key[:end]] for key, end in ends.items()}
    if len(whole) > 1:
        raise ValueError(
            f"{across}: expected the name of one setting, got one of {', '.join(sorted(whole))}; say which"
        )
    values = {key: settings.pop(key) for keys in whole.values() for key in keys}
    if len(values) == 1 and next(iter(values)) in whole:
        return next(iter(values.values()))
    return ", ".join(f"{key.split('.')[-1]}: {value}" for key, value in values.items()) or None


def _difference(own: dict[str, Any], all_of_this_name: Sequence[dict[str, Any]], unless_absent: bool) -> str:
    """Return the settings of one variant that not all variants of its name share, as text.

    The settings of a group are compared among the variants with the same option of it. With `unless_absent` a setting
    that some variants lack, because older code wrote them, is left out.
    """
    missing = object()

    def differs(key: str) -> bool:
        group = key.split(".")[0]
        comparable = [o for o in all_of_this_name if key == group or o.get(group) == own.get(group)]
        values = [other.get(key, missing) for other in comparable]
        return any(value != own[key] for value in values) and not (unless_absent and missing in values)

    return "".join(f" {key}={shown(value)}" for key, value in own.items() if differs(key))


def shown(value: Any) -> str:
    """Return a value as text; `1` and `1.0` are one value and look alike."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(result: Result) -> dict[str, Any]:
    """Return `{"rank": "cost", "rank.weight": 0.5, …}`: the option of each group, then all values."""
    choices = {"metric": "identity"} | result.choices  # older rows know no other
    groups: dict[str, Any] = {group: choices[group] for group in GROUPS if group in choices}
    return groups | _flat(result.config)


def _flat(config: Any, place: str = "") -> dict[str, Any]:
    """Return `{"rank.weight": 0.5, …}`, without the seed, and without what a method repeats of its groups.

    A `_target_` is left out, and so is the `_name_` of a group, which is among the choices. A `_name_` further inside
    is the option that was chosen there: `schedule.reference.decay._name_: cosine` becomes the setting
    `schedule.reference.decay=cosine`.
    """
    outer, _, key = place.rpartition(".")
    if place in ("seed", "method.rank", "method.decomposition", "method.metric") or key == "_target_":
        return {}
    if key == "_name_":
        return {outer: config} if "." in outer else {}
    if not isinstance(config, dict):
        return {place: config}
    return {k: v for key, item in config.items() for k, v in _flat(item, f"{place}.{key}" if place else key).items()}
