"""The comparison of a sweep in the terminal."""

from __future__ import annotations

import re

from reporting.terminal import print_comparison
from tests.made_rows import result


def test_a_sweep_keeps_its_columns_at_eighty_characters_and_its_rows_in_a_log(monkeypatch, capsys):
    rows = [
        result(s, variant="v" * 5, choices={"dataset": "digits", "network": "lenet300", "method": "lc_svd"})
        for s in (0, 1)
    ]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_comparison([*rows, result(2, "diverged: nan", variant="v" * 5, compressed=None)])
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= 80
    for word in ("2 ok", "diverged", "params", "nonzero", "MACs", "speed"):
        assert word in printed
    monkeypatch.delenv("FORCE_COLOR")
    print_comparison(rows)
    assert any("lc_svd" in line and "2 ok" in line for line in capsys.readouterr().out.splitlines())
