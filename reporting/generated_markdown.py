"""Parts of Markdown files that are made from rows: between two comments, the first of which says how.

    <!-- report.py measured/lenet300 --across share -->
    … what that command prints …
    <!-- end -->

So a table in the README is never written by hand, and a test sees when it and the rows disagree. Where the command is
one of a figure, `--figure docs/figures/lenet300.svg`, the part is the image, and the figure is drawn anew.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

PART = re.compile(r"(<!-- report\.py (?P<command>.+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def rebuilt(text: str, made: Callable[[list[str]], str]) -> str:
    """`text` with every part replaced by what `made` returns for the arguments of its command."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{made(shlex.split(match['command'])).strip()}\n\n{match[4]}"

    return PART.sub(part, text)


def rebuild(path: Path, made: Callable[[list[str]], str]) -> bool:
    """Bring a file up to date; returns whether it was changed. Raises `ValueError` for a file without such a part."""
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(new, encoding="utf-8")
    os.replace(temporary, path)
    return True
