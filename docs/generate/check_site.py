"""Check that no page of a built site loads anything from the network by itself: python docs/generate/check_site.py site

A link that a reader may click is no matter. Looked at are the attributes of HTML that a browser follows unasked, and
the addresses in style sheets. Scripts are looked at in tests/test_site.py, by a browser.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

OUTSIDE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)

# Attributes that are followed unasked, of whatever element; `href` is, of a <link> that is none of these.
LOADED = {"src", "srcset", "poster", "data", "background"}
ONLY_SAID = {"canonical", "next", "prev", "author", "license", "alternate"}


def main() -> None:
    """Exits with 1 and a line for each address."""
    folder = Path(sys.argv[1])
    pages = sorted(folder.rglob("*.html"))
    if not pages:
        sys.exit(f"error: no page below {folder}")
    problems = [f"{path}: {address}" for path in [*pages, *sorted(folder.rglob("*.css"))] for address in loaded(path)]
    for problem in problems:
        print(f"error: {problem} would be loaded from the network", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(pages)} pages in {folder}/, none of which loads anything from the network; open {folder}/index.html")


def loaded(path: Path) -> list[str]:
    """The addresses outside that a page or a style sheet loads by itself."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return STYLE.findall(text)
    parser = _Loads()
    parser.feed(text)
    return parser.found


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect addresses outside."""
        self.in_style = tag == "style"
        given = {name: value or "" for name, value in attrs}
        names = set(LOADED)
        if tag == "link" and not ONLY_SAID & set(given.get("rel", "").split()):
            names.add("href")
        if "mermaid" in given.get("class", "").split():
            self.found.append("the script that draws Mermaid diagrams")
        self.found += [given[name] for name in names & given.keys() if OUTSIDE.match(given[name])]
        self.found += STYLE.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Collect those of style sheets inside a page."""
        if self.in_style:
            self.found += STYLE.findall(data)


if __name__ == "__main__":
    main()
