"""Rebuild the parts of Markdown files that are generated from rows, between two comments:

    <!-- report.py measured/lenet300 --across share -->
    … what that command prints …
    <!-- end -->

So no table in the README is written by hand, and a test fails when a table and the rows disagree. A command with
`--figure docs/figures/lenet300.svg` draws the figure anew, and the part shows it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from runtime.atomic import atomic_write

PART = re.compile(r"(<!-- report\.py (?P<command>.+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def rebuilt(text: str, made: Callable[[list[str]], str]) -> str:
    """Return `text` with every part replaced by what `made` returns for the arguments of its command."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{made(shlex.split(match['command'])).strip()}\n\n{match[4]}"

    return PART.sub(part, text)


def rebuild(path: Path, made: Callable[[list[str]], str]) -> bool:
    """Bring a file up to date and return whether it changed; raise `ValueError` for a file without such a part."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text in UTF-8") from None
    if not PART.search(text):
        raise ValueError(f"{path}: expected a part <!-- report.py … --> to <!-- end -->, found none")
    try:
        new = rebuilt(text, made)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if new == text:
        return False
    with atomic_write(path) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True
