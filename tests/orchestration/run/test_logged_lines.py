"""Lines of history outlive a killed process, and are known when they are logged again."""

from __future__ import annotations

import pytest

from orchestration.run.logged_lines import STEP, LoggedLines

ORIGIN = {"commit": "abc", "force": False}


def line(step: int, loss: float = 1.0) -> dict:
    return {"method/train_loss": loss, STEP: step}


@pytest.fixture
def begin(tmp_path):
    def begin(origin=ORIGIN, first=0, folder="run-1") -> LoggedLines:
        return LoggedLines(tmp_path / "logged.jsonl", origin, first, tmp_path / folder)

    return begin


def test_what_was_logged_is_there_and_known_in_the_next_process(begin, tmp_path):
    one = begin(first=7)
    assert all(one.add(each) for each in (line(1), line(2), {"joint/step": 0, "joint/violation": 0.5, STEP: 2}))
    two = begin(first=0, folder="run-2")
    assert two.lines == [line(1), line(2), {"joint/step": 0, "joint/violation": 0.5, STEP: 2}]
    assert two.first == 7, "the run had seven lines from before"
    assert two.earlier_folders == [tmp_path / "run-1"]
    assert not two.add(line(2, loss=1.0000001)), "computed again, on a GPU with other last bits"
    assert not two.add({"joint/step": 0, "joint/violation": 0.5, STEP: 2})
    assert two.add({"joint/step": 1, "joint/violation": 0.5, STEP: 2})
    assert two.add({"reference/train_loss": 1.0, STEP: 2})
    assert two.add(line(3))
    three = begin()
    assert len(three.lines) == 6
    assert three.earlier_folders == [tmp_path / "run-1", tmp_path / "run-2"]


def test_equal_lines_of_one_process_are_all_kept(begin):
    """A method of the user's may log as it likes."""
    assert begin().add(line(1)) and begin().add(line(1)) is False
    lines = begin()
    assert [lines.add(line(1)) for _ in range(3)] == [False, True, True]


def test_a_torn_last_line_is_logged_again(begin, tmp_path):
    begin().add(line(1))
    with (tmp_path / "logged.jsonl").open("a") as file:
        file.write('{"method/train_loss": 0.')
    again = begin()
    assert again.lines == [line(1)]
    assert again.add(line(2))
    assert begin().lines == [line(1), line(2)]


@pytest.mark.parametrize("content", ["", "{}\n", "[]\n", "{\n", None])
def test_another_origin_or_a_damaged_file_begins_anew(begin, tmp_path, content):
    begin().add(line(1))
    if content is not None:
        (tmp_path / "logged.jsonl").write_text(content)
    again = begin(origin=ORIGIN if content is not None else {**ORIGIN, "commit": "def"}, first=3)
    assert (again.lines, again.first, again.earlier_folders) == ([], 3, [])
    assert again.add(line(1))


def test_a_file_that_cannot_be_written_stops_no_run(tmp_path, capsys):
    (tmp_path / "file").touch()
    lines = LoggedLines(tmp_path / "file" / "logged.jsonl", ORIGIN, 0, tmp_path)
    assert lines.add(line(1)) and lines.add(line(2))
    assert "".join(capsys.readouterr().out.split()).count("nohistoryforW&Bafterakill") == 1
