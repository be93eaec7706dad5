"""One row in the terminal."""

from __future__ import annotations

from reporting.print_result import comparison_rows, print_result
from tests.made_rows import measure, result


def test_a_row_in_the_terminal_says_what_got_worse(tmp_path, capsys):
    slower = measure(88.5, 25, latency_ms={"1": 1.0, "256": 1.0})
    rows = {row[0]: row[3] for row in comparison_rows(measure(), slower)}
    assert rows["test top-1 [%]"] == "-1.50 points"
    assert rows["parameters"] == "4.00× smaller"
    assert rows["latency, batch 1 [ms]"] == "2.00× slower"
    assert rows["latency, batch 256 [ms]"] == "2.00× faster"
    print_result(result(), tmp_path)
    printed = capsys.readouterr().out
    assert "fc1: rank 3" in printed
    assert str(tmp_path) in printed
    assert "latency, batch 1 [ms]" in printed, "rich takes words in brackets for markup"
