"""The code of the documents: every fenced block of README.md, docs/ and measured/README.md, with its page and line."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUTSIDE = ("README.md", "CONTRIBUTING.md", "measured/README.md")
PAGES = sorted([*OUTSIDE, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))])
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """The lines between two fences. `title` is the file that a reader should make of it."""

    where: str
    language: str
    title: str | None
    body: str


@dataclass(frozen=True)
class Command:
    """One command of a shell block, split as a shell does, without comments; `environment` stood before it."""

    where: str
    words: tuple[str, ...]
    environment: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(FENCE.findall(text)), f"{page}: a fence is not closed, or is indented"
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = TITLE.search(rest)
        line = text[: match.start()].count("\n") + 1
        found.append(Block(f"{page}:{line}", language, title and title[1], match["body"]))
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a shell block. Variables that a line of it sets are filled in below, as a shell does."""
    variables: dict[str, str] = {}
    found = []
    number = int(block.where.rpartition(":")[2])
    for line in block.body.replace("\\\n", " ").splitlines():
        number += 1
        words = shlex.split(_filled(line, variables), comments=True)
        set_here = [match for match in map(ASSIGNMENT.fullmatch, words) if match]
        if words and len(set_here) == len(words):
            variables |= {match[1]: match[2] for match in set_here}
        elif words:
            first = next(place for place, word in enumerate(words) if not ASSIGNMENT.fullmatch(word))
            where = f"{block.where.rpartition(':')[0]}:{number}"
            found.append(Command(where, tuple(words[first:]), tuple(words[:first])))
    return found


def _filled(line: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        line = re.sub(rf"\$({name}\b|{{{name}}})", lambda _, value=value: value, line)
    return os.path.expandvars(line) if "$" not in line else line
