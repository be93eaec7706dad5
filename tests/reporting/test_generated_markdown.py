"""Parts of Markdown made from rows; and that the committed ones say what the committed rows say."""

from __future__ import annotations

import re

import pytest

from reporting.generated_markdown import PART, rebuild, rebuilt
from tests.commands import run_command
from tests.conftest import ROOT

TEXT = """# Title
<!-- report.py measured/a --across share -->
old
<!-- end -->
between
<!-- report.py 'measured/b c' -->
<!-- end -->
after
"""


def test_parts_are_replaced_and_nothing_else():
    asked = []
    new = rebuilt(TEXT, lambda command: asked.append(command) or f"| {len(asked)} |\n")
    assert asked == [["measured/a", "--across", "share"], ["measured/b c"]]
    assert new == TEXT.replace("old\n", "\n| 1 |\n\n").replace("c' -->\n", "c' -->\n\n| 2 |\n\n")
    assert rebuilt(new, lambda command: "| 1 |" if "--across" in command else "| 2 |") == new


def test_a_file_is_written_only_if_it_changes(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    assert rebuild(path, lambda command: "x")
    before = path.stat().st_mtime_ns
    assert not rebuild(path, lambda command: "x")
    assert path.stat().st_mtime_ns == before
    path.write_text("no part")
    with pytest.raises(ValueError, match=r"README.md: expected a part .* found none"):
        rebuild(path, lambda command: "x")


def documents() -> list[str]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "measured").rglob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in found if PART.search(path.read_text(encoding="utf-8"))]


def test_documents_say_what_the_rows_say(tmp_path):
    """`make report` changes nothing."""
    assert {"README.md", "docs/reference/mnist.md"} <= set(documents()) and len(documents()) >= 4
    before = {path: (ROOT / path).read_text(encoding="utf-8") for path in documents()}
    figures = re.findall(r"^<!-- report\.py .*--figure (\S+)", "\n".join(before.values()), re.MULTILINE)
    assert figures
    drawn = {path: (ROOT / path).read_text(encoding="utf-8") for path in figures}
    for entry in ("conf", "measured", "docs", *(p.name for p in ROOT.glob("*.py"))):
        (tmp_path / entry).symlink_to(ROOT / entry)
    (tmp_path / "docs").unlink()
    for path, text in before.items():
        copy = tmp_path / "copies" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    copies = [f"copies/{path}" for path in before]
    done = run_command("report.py", "--rebuild", *copies, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path}: up to date" for path in copies], "run `make report`"
    for path, text in drawn.items():
        digest = re.search(r"rows [0-9a-f]{12}", (tmp_path / path).read_text(encoding="utf-8"))
        assert digest and digest[0] in text, f"{path} is of other rows; run `make report`"
