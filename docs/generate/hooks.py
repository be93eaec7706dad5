"""MkDocs calls these functions: pages from files outside docs/, API pages from docstrings, tables from conf/.

A page of docs/ may be read as plain Markdown too. So links are written as they are between files of the repository,
and rewritten here for the site; `<!-- table conf/rank -->` is a comment there and a table here.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parents[2]))  # the suite, which the tables ask
sys.path.insert(0, str(Path(__file__).parent))

from api_pages import api_pages
from reference_tables import DIRECTIVES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

# Pages of the site that are files elsewhere: {page: file}.
ELSEWHERE = {"index.md": ROOT / "README.md", "contributing.md": ROOT / "CONTRIBUTING.md"}
ELSEWHERE |= {"changelog.md": ROOT / "CHANGELOG.md", "measured/index.md": ROOT / "measured" / "README.md"}
ELSEWHERE |= {f"measured/{path.parent.name}.md": path for path in sorted((ROOT / "measured").glob("*/table.md"))}

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<text>!?\[[^\]\n]*\])\((?P<target>[^)\s]+)\)")
DIRECTIVE = re.compile(r"^<!-- (?P<name>table|files|fields|row|published)(?: (?P<argument>\S+))? -->$", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for page, path in ELSEWHERE.items():
        text = path.read_text(encoding="utf-8")
        if not text.lstrip().startswith("# ") and path.name == "table.md":
            text = f"# {path.parent.name}: all columns\n\n{text}"
        files.append(File.generated(config, page, content=text))
    for page, text in api_pages(ROOT).items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the tables and rewrite the links."""
    name = page.file.src_uri
    source = ELSEWHERE.get(name, DOCS / name)
    text = DIRECTIVE.sub(lambda match: _made(match, source), markdown)
    return text if name.startswith("api/") else relinked(text, source, name)


def _made(match: re.Match[str], source: Path) -> str:
    try:
        return DIRECTIVES[match["name"]](ROOT, match["argument"])
    except (OSError, ValueError) as error:
        raise PluginError(f"{source}: {match[0]}: {error}") from None


def relinked(text: str, source: Path, page: str) -> str:
    """`text` of the file `source` with its links as the page `page` needs them; code is left as it is."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [_relinked(text[end : fence.start()], source, page), fence[0]]
        end = fence.end()
    return "".join([*parts, _relinked(text[end:], source, page)])


def _relinked(text: str, source: Path, page: str) -> str:
    return LINK.sub(lambda match: _link(match, source, page), text)


def _link(match: re.Match[str], source: Path, page: str) -> str:
    target, _, anchor = match["target"].partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return match[0]
    path = Path(os.path.normpath(source.parent / target))
    pages = {file: name for name, file in ELSEWHERE.items()}
    if path.is_dir() and path / "README.md" in pages:
        path = path / "README.md"
    if path in pages:
        found = pages[path]
    elif path.is_file() and path.is_relative_to(DOCS):
        found = path.relative_to(DOCS).as_posix()
    elif path.exists():
        return match["text"].removeprefix("[").removesuffix("]")  # a file of the repository that is no page
    else:
        raise PluginError(f"{source}: the link {match['target']} leads nowhere")
    relative = os.path.relpath(found, Path(page).parent).replace(os.sep, "/")
    return f"{match['text']}({relative}{'#' if anchor else ''}{anchor})"
