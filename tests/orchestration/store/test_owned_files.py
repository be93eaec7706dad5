"""An owner that stood still at any moment, and was taken for dead, takes nothing away when it goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import zipfile

import pytest

from evaluation.result import Measure, Result, read_result
from orchestration.errors import RunsElsewhere
from orchestration.store import claim as claim_module
from orchestration.store.claim import Claim, claim
from orchestration.store.owned_files import CONFIG, LOCK, NETWORK, ROW, OwnedFiles
from orchestration.store.point_files import finished, new_row
from runtime.file_lock import DEAD_AFTER_SECONDS, Lock
from runtime.process import ProcessId
from runtime.zip_records import records_digest

MEASURE = Measure(90.0, None, 0.5, 90.0, 10, 10, 40, {"1": 1.0}, {"1": 1.0}, 1, 1.0)
STEPS = [(os, "replace"), (os, "rename"), (os, "unlink"), (os, "link"), (claim_module.Claim, "require_ours")]


def row_of(own: Claim, who: str, status: str = "ok") -> Result:
    """Write a network and return a row: what a run does between its beginning and its end."""
    row = new_row(own.point, "stub") | {"reference": MEASURE, "compressed": MEASURE, "tags": [who]}
    if status == "ok":
        with zipfile.ZipFile(own.pending_network, "w") as file:
            file.writestr("weights", who)
        row["network_digest"] = records_digest(own.pending_network)
    return Result(**row, status=status, seconds=0.0, environment={})


def run(own: Claim, who: str, status: str = "ok") -> Result:
    own.begin()
    row = row_of(own, who, status)
    return own.store(row) or row


def sleeping_owner(point) -> Claim:
    """A claim of a process on another machine, as far as this one can see."""
    owner = dataclasses.replace(ProcessId.this_process(), place="elsewhere")
    path = point.directory / LOCK
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    then = time.time() - 2 * DEAD_AFTER_SECONDS
    os.utime(path, (then, then))
    return Claim(point, Lock(path, owner), keeps_row=False)


def before_step(patched, number: int, act) -> list[str]:
    """Call `act` before the step `number` of what changes files, or looks at the lock; list the steps."""
    steps: list[str] = []

    def watch(owner, name):
        real = getattr(owner, name)

        def step(*arguments, **options):
            steps.append(name)
            if len(steps) == number:
                act()
            return real(*arguments, **options)

        patched.setattr(owner, name, step)

    for owner, name in STEPS:
        watch(owner, name)
    return steps


@pytest.mark.parametrize("status", ["ok", "failed: as told"])
@pytest.mark.parametrize("earlier", [None, "failed: before", "another point's"])
def test_the_row_of_who_took_over_stays(make_point, monkeypatch, tmp_path, status, earlier):
    whole, number, num_steps = make_point(), 0, 1
    while number < num_steps:
        number += 1
        point = dataclasses.replace(whole, config=whole.config | {"results_dir": str(tmp_path / str(number))})
        point.directory.mkdir(parents=True)
        if earlier is not None:
            claim(point, lambda own: run(own, "earlier", "ok" if earlier == "another point's" else earlier))
            if earlier == "another point's":
                path = point.directory / ROW
                path.write_text(path.read_text().replace(point.id, "0" * 12))
        sleeper = sleeping_owner(point)
        with monkeypatch.context() as patched:

            def take_over(point=point, patched=patched):
                patched.undo()
                claim(point, lambda own: run(own, "other"))

            steps = before_step(patched, number, take_over)
            try:
                run(sleeper, "sleeper", status)
                was_stopped = False
            except RunsElsewhere:
                was_stopped = True
        num_steps = max(num_steps, len(steps) + 1)  # the last round is one that nobody interrupts
        if number == num_steps and len(steps) < number:
            assert not was_stopped
            assert read_result(point.directory / ROW).status == status
            break
        kept = finished(point)
        assert kept is not None, (number, steps)
        if was_stopped:
            assert kept.tags == ["other"], (number, steps)
        claim(point, lambda own: pytest.fail("it is done"))
        names = {path.name.removesuffix(".unusable") for path in point.directory.iterdir()}
        assert names == {ROW, NETWORK, CONFIG}, (number, steps, names)
    assert num_steps > 5, "hardly any moment was tried"


def test_what_killed_owners_left_is_removed_and_nothing_else(tmp_path):
    token, other = "a" * 32, "b" * 32
    left = [f"{ROW}.{other}", f"{NETWORK}.{other}", f"{ROW}.old.{other}", f".{CONFIG}.{other}.17.42", f"{NETWORK}.new"]
    kept = [ROW, NETWORK, CONFIG, f"{ROW}.{token}", f"{ROW}.unusable", "run.log", "checkpoint.pt", f"notes.{other}"]
    for name in left + kept:
        (tmp_path / name).touch()
    OwnedFiles(tmp_path, token, lambda: None).clear_others()
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
