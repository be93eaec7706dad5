"""Bring rows of an earlier schema to the identity of today: what they computed stays, what they are called changes.

Rows before schema 1.2 keep import paths of this project in their configuration, and their ids are digests of those. A
row's command is composed anew, and its values are put over what that gives. Options that the row does not know yet get
today's values, which mean what its code did, or what `YOUNGER` says; `GONE` says what became of others. A row whose
command composes to other classes is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from evaluation.result import SCHEMA_VERSION, write_json
from orchestration.config import resolvers
from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point, without
from orchestration.paths import CONF
from orchestration.store.owned_files import LOCK, ROW
from runtime.digest import digest_json
from runtime.file_lock import owner_of
from runtime.json_file import read_json
from runtime.messages import one_line

BEFORE = ("1.0", "1.1")
# Rows of these have the ids of today.
TODAY = ("1.2", SCHEMA_VERSION)
# Options that these rows do not have and whose default today is not what their code did. By (group, option): rows with
# this one get the override that says what they did.
YOUNGER = {("method", "choose_ranks"): "method.choose_dense=every_step"}
# Options that are gone, by (group, option): the overrides that say the same today, with the value of the row.
GONE = {("decomposition", "sweeps"): ("decomposition.max_sweeps={}", "decomposition.tolerance=0.0")}
# Classes that changed their names while rows held them.
RENAMED = {"Trainer": "TrainerConfig", "Profile": "TrainerConfig"}


def migrate(folders: Sequence[Path]) -> Iterator[str]:
    """Migrate all rows below `folders`, each with the folder of its files; yield a line for each row that is left.

    Rows of today's schema are passed over, so that the command may be repeated, also after it was killed.
    """
    resolvers.register()
    composed: dict[tuple[str, ...], Point] = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for path in sorted({path.resolve() for folder in folders for path in folder.rglob(ROW)}):
            try:
                _migrate_row(path, composed)
            except (KeyError, TypeError, AttributeError) as error:
                yield f"{path}: not migrated: expected a row as run.py writes it ({type(error).__name__}: {error})"
            except Exception as error:
                lines = error_lines(error) or ([one_line(error)] if isinstance(error, ValueError) else [])
                if not lines:
                    raise
                yield f"{path}: not migrated: {'; '.join(lines)}"


def _migrate_row(path: Path, composed: dict[tuple[str, ...], Point]) -> None:
    row = read_json(path)
    if row["schema_version"] in TODAY:
        return
    if row["schema_version"] not in BEFORE:
        raise ValueError(f"schema {row['schema_version']}, expected one of {', '.join((*BEFORE, *TODAY))}")
    if row["id"] != digest_json({"config": row["config"], "choices": row["choices"]}):
        raise ValueError("its id is no digest of its configuration: somebody has edited it")
    row["overrides"] += [said for (group, option), said in YOUNGER.items() if option in row["config"][group]]
    for (group, option), said in GONE.items():
        if (value := row["config"].get(group, {}).get(option)) is not None:
            row["overrides"] += [override.format(value) for override in said]
            row["config"] = without(row["config"], (f"{group}.{option}", f"method.{group}.{option}"))
    overrides = tuple(override for override in row["overrides"] if not override.startswith("seed="))
    if overrides not in composed:  # once for all seeds: the stored one is put over it
        config = compose("config", list(overrides), return_hydra_config=True)
        composed[overrides] = Point.unchecked(config, config.hydra)
    point = composed[overrides]
    point = replace(point, config=_over(row["config"], point.config, "")).checked()
    if (chosen := {group: row["choices"].get(group) for group in point.choices}) != point.choices:
        raise ValueError(f"its command chooses {point.choices} today, it chose {chosen}")
    owner, is_alive = owner_of(path.parent / LOCK)
    if is_alive:
        raise ValueError(f"it is being run: {owner}")
    folder = path.parent
    if folder.name == row["id"]:  # a point's folder has its id
        folder = folder.with_name(point.id)
        if folder.exists():
            raise ValueError(f"{folder} exists: another row computes the same")
        path.parent.rename(folder)  # before the row: killed in between, the next start finds a row to migrate
    renamed = {"id": point.id, "variant": point.variant, "config": point.identity, "schema_version": SCHEMA_VERSION}
    write_json(folder / ROW, row | renamed)


def _over(stored: Any, today: Any, place: str) -> Any:
    """Return `today` with the values of `stored`; raises `ValueError` where their classes differ."""
    if not isinstance(stored, Mapping) or not isinstance(today, Mapping):
        return stored
    was, now = (str(node.get("_target_", "")).rpartition(".")[2] for node in (stored, today))
    if was and RENAMED.get(was, was) != now:
        raise ValueError(f"{place}: its command composes {now} today, it was {was}")
    known = {key: value for key, value in stored.items() if not key.startswith("_")}
    if gone := sorted(set(known) - set(today)):
        raise ValueError(f"{place or 'the configuration'}: there is no {', '.join(gone)} any more")
    return {**today, **{key: _over(value, today[key], f"{place}.{key}".lstrip(".")) for key, value in known.items()}}
