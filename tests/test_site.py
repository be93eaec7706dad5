"""The site: every kind of address that a page would load by itself is seen; API pages and tables follow the tree."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.documents import ROOT

sys.path.insert(0, str(ROOT / "docs" / "generate"))

from api_pages import api_pages, targets
from check_site import loaded
from reference_tables import DIRECTIVES, description

PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://a.org/b.js"></script>', ["https://a.org/b.js"]),
        ('<link rel="stylesheet" href="//a.org/b.css">', ["//a.org/b.css"]),
        ('<link rel="preconnect" href="https://a.org">', ["https://a.org"]),
        ('<img src="http://a.org/b.png">', ["http://a.org/b.png"]),
        ("<style>@import 'https://a.org/c.css'; p { background: url(https://a.org/d) }</style>",
         ["https://a.org/c.css", "https://a.org/d"]),
        ('<p style="background: url(https://a.org/d)">', ["https://a.org/d"]),
        ('<pre class="mermaid">', ["the script that draws Mermaid diagrams"]),
        ('<a href="https://a.org">a</a> https://a.org <link rel="canonical" href="https://a.org">', []),
        ('<script src="b.js"></script><img src="data:image/png;base64,AA==">', []),
    ],
)  # fmt: skip
def test_what_a_page_loads_by_itself_is_seen(text, found, tmp_path):
    (tmp_path / "page.html").write_text(text)
    assert loaded(tmp_path / "page.html") == found


def test_every_target_and_role_has_its_api_page():
    pages = api_pages(ROOT)
    text = "".join(pages.values())
    for group in ("dataset", "network", "method", "decomposition", "rank", "metric", "decay"):
        for target in targets(ROOT, group):
            assert f"::: {target.rpartition('.')[0]}\n" in text
    for module in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
        owner = module if (ROOT / f"{module.replace('.', '/')}.py").is_file() else module.rpartition(".")[0]
        assert importlib.util.find_spec(owner), module
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in pages if name not in nav] == []


def test_every_page_is_in_the_navigation_and_every_table_can_be_made():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [path.name for path in PAGES if str(path.relative_to(ROOT / "docs")) not in nav] == []
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    made = [found for found in re.findall(r"^<!-- (\w+)(?: (\S+))? -->$", text, re.MULTILINE) if found[0] in DIRECTIVES]
    assert len(made) > 20
    for name, argument in made:
        assert len(DIRECTIVES[name](ROOT, argument or None).splitlines()) > 2


def test_a_file_without_a_description_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("# @package _global_\n_target_: a.B\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: expected a first line that says what it is"):
        description(tmp_path / "mine.yaml")


@pytest.mark.slow
def test_the_site_opens_from_disk_and_its_search_works(tmp_path):
    """In a browser without a network: pages ask for files only, and the search finds a page."""
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    playwright = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("no chromium on the path")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    check = [sys.executable, str(ROOT / "docs/generate/check_site.py"), str(tmp_path / "site")]
    assert subprocess.run(check, capture_output=True).returncode == 0
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium)
        page = browser.new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in ("api/formats.html", "reference/published.html", "index.html"):
            page.goto((tmp_path / "site" / name).as_uri())
        page.click(".md-search__input")
        page.keyboard.type("tensor train")
        page.wait_for_function("document.querySelectorAll('.md-search-result__item').length > 0")
        browser.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
