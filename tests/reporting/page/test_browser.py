"""The page in a real browser, opened from disk: no network, no error, keyboard, narrow windows, dark mode.

Skipped where there is no Chromium; Debian's is `apt-get install chromium`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from reporting.page import write_page
from tests.reporting.page.page_rows import EVIL, PUBLISHED, committed, many, odd

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


# Those of two networks, a failed one and a diverged one; what the tests expect is counted here.
ROWS = [row for row in committed() if row.choices["network"] in ("lenet300", "lenet5")]
SHOWN = [*odd(next(row for row in ROWS if row.choices["method"] == "tt")), *ROWS]


def having(**choices: str) -> int:
    return sum(choices.items() <= row.choices.items() for row in SHOWN)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The page of the rows above, beside a folder whose name a browser must be told."""
    folder = tmp_path_factory.mktemp("a report #1")
    home = folder / "runs & more" / ROWS[0].id
    home.mkdir(parents=True)
    (home / "result.json").write_text("{}")
    write_page(folder / "index.html", SHOWN, PUBLISHED, {("method", "ntt")}, {ROWS[0].id: home})
    return folder / "index.html"


# A script that throws never says that it is ready: one error is told at once, and not after a minute for each test.
READY_AFTER_AN_ERROR = """
for (const kind of ["error", "unhandledrejection"])
  addEventListener(kind, () => (document.documentElement.dataset.ready = ""));
"""


@pytest.fixture
def open_page(browser, site):
    """Open the page; at the end nothing may have been said on the console, nor asked of the network."""
    said: list[str] = []
    contexts = []

    def opened(address: str = "", path: Path = site, width: int = 1300, height: int = 900, dark: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or said.append(request.url)
        )
        context.add_init_script(READY_AFTER_AN_ERROR)
        page.goto(path.as_uri() + address)
        page.wait_for_selector("html[data-ready]", state="attached")
        assert said == []
        page.wait_for_selector(".task[open] .chart svg.marks")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def lines(page) -> int:
    return page.locator("#table tbody tr").count()


def counts(page) -> dict[str, int]:
    return dict(
        page.locator("#counts div").evaluate_all(
            "all => all.map(d => [d.children[0].textContent, +d.children[1].textContent])"
        )
    )


def narrow(page, change) -> None:
    """Change a filter and wait until the page has followed."""
    before = page.locator("#table table").element_handle()
    change()
    page.wait_for_function("table => !table.isConnected", arg=before)


def cells(page, rows: str) -> list[list[str]]:
    return page.locator(rows).evaluate_all("all => all.map(tr => [...tr.children].map(td => td.textContent))")


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_counts_and_statuses_are_shown_without_any_network(open_page):
    page = open_page()
    methods, settings = {row.choices["method"] for row in SHOWN}, {row.variant for row in SHOWN}
    assert counts(page) == {
        "runs": len(SHOWN), "ok": len(ROWS), "diverged": 1, "failed": 1,
        "networks": 2, "methods": len(methods), "settings": len(settings),
    }  # fmt: skip
    assert lines(page) == len(settings)
    said = page.locator(".task[open] > summary").inner_text()
    assert f"{having(network='lenet300')} runs · " in said and "1 diverged" in said and "1 failed" in said
    assert page.locator(".task[open] .chart svg.marks").count() == 4


def test_filters_narrow_everything_and_come_off(open_page):
    page = open_page()
    narrow(page, lambda: page.locator("[name=network][value=lenet5]").check())
    assert counts(page)["runs"] == having(network="lenet5")
    assert page.locator(".task").count() == 1
    narrow(page, lambda: page.locator("[name=method][value=lc_svd]").check())
    assert counts(page)["runs"] == having(network="lenet5", method="lc_svd")
    narrow(page, lambda: page.get_by_role("button", name="Show everything").click())
    assert counts(page)["runs"] == len(SHOWN)
    narrow(page, lambda: page.locator("#text").fill("share=0.05 admm_svd"))
    assert counts(page)["runs"] == sum(
        "rank.share=0.05" in row.overrides for row in SHOWN if row.choices["method"] == "admm_svd"
    )
    narrow(page, lambda: page.locator("#text").fill(""))
    narrow(page, lambda: page.locator("[name=status][value=diverged]").check())
    assert counts(page)["runs"] == 1 and page.locator("#table tbody .number").first.inner_text() == "–"


def test_the_table_sorts_by_number_both_ways_with_the_unknown_last(open_page):
    page = open_page()
    page.locator("#lines").select_option("runs")
    column = page.locator("#table thead th").evaluate_all("all => all.findIndex(th => th.textContent === 'top-1 [%]')")
    for order, way in (("ascending", 1), ("descending", -1)):
        page.locator("#table [data-sort='top-1 [%]']").click()
        assert page.locator("#table th[aria-sort]").get_attribute("aria-sort") == order
        cells = page.locator("#table tbody tr").evaluate_all(
            "(all, i) => all.map(tr => tr.children[i].textContent)", column
        )
        assert len(cells) == len(SHOWN) and cells[-2:] == ["–", "–"]
        numbers = [way * float(cell) for cell in cells[:-2]]
        assert numbers == sorted(numbers)


def test_a_mark_says_what_it_is_and_opens_its_run(open_page):
    page = open_page("#method=lc_svd&network=lenet5")
    mark = page.locator(".task[open] .chart svg .mark-symbol path[aria-roledescription=point]").first
    mark.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "lc_svd" in page.locator("#vg-tooltip-element").inner_text()
    mark.click()
    page.wait_for_selector("dialog[open]")
    assert "mnist/lenet5/lc_svd" in page.locator("#run-title").inner_text()


def test_a_run_opens_and_closes_by_keyboard(open_page):
    page = open_page("#method=lc_svd&network=lenet300&lines=runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "runs"
    assert counts(page)["runs"] == having(network="lenet300", method="lc_svd")  # the filters stay
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#table tbody a')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] .chart svg.marks")
    text = page.locator("dialog").inner_text()
    assert "python run.py dataset=mnist" in text and "Penalty μ" in text and "validation top-1 [%]" in text
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    assert page.evaluate("document.activeElement.matches('#table tbody a')")


def test_everything_that_takes_the_focus_has_a_name(open_page):
    page = open_page()
    page.locator("#table tbody a").first.click()
    nameless = """() => [...document.querySelectorAll("a, button, input, select, summary, [tabindex]")].filter(
        (e) => !(e.ariaLabel || e.labels?.[0]?.textContent || e.getAttribute("aria-labelledby") || e.textContent.trim())
    ).map((e) => e.outerHTML.slice(0, 99))"""
    assert page.evaluate(nameless) == []


def test_links_lead_to_the_files(open_page):
    page = open_page(f"#run={ROWS[0].id}")
    link = page.locator("dialog a", has_text="result.json")
    assert Path(unquote(urlparse(link.evaluate("a => a.href")).path)).read_text() == "{}"


def test_two_runs_are_compared_column_by_column(open_page):
    page = open_page("#network=lenet5&lines=runs")
    boxes = page.locator("#table tbody input")
    boxes.nth(0).check()
    boxes.last.check()
    head, *rest = cells(page, "#difference > .scroll tr")
    assert head == ["", "A", "B", "B against A"]
    values = {name: cells for name, *cells in rest}
    a, b, change = values["top-1 [%]"]
    assert float(change.replace("−", "-").removesuffix(" points")) == pytest.approx(float(b) - float(a), abs=0.011)
    assert "settings differ" in page.locator("#difference summary").inner_text()
    boxes.nth(0).uncheck()
    assert page.locator("#difference table").count() == 0


def test_two_methods_are_compared_at_equal_size(open_page):
    page = open_page()
    page.locator("#a").select_option("method svd")
    page.locator("#b").select_option("method lc_svd")
    assert "pairs of settings that pass the filters" in page.locator("#difference").inner_text()
    pairs = cells(page, "#difference details tbody tr")
    assert len(pairs) > 3 and all(0.79 < float(a) / float(b) < 1.27 for _, a, b, *_ in pairs)
    by_seed = [line[-1] for line in pairs]
    assert any(re.fullmatch(r"tie \(.+ ± .+, p = .+\)", text) for text in by_seed), by_seed
    assert "corrected by Holm" in page.locator("#difference").inner_text()
    narrow(page, lambda: page.locator("#text").fill("share=0.05"))
    small = cells(page, "#difference details tbody tr")
    assert small and all(float(a) > 15 for _, a, *_ in small)


def test_text_of_rows_stays_text(open_page):
    page = open_page("#status=failed&lines=runs")
    page.locator("#table tbody a").click()
    page.wait_for_selector("dialog[open]")
    assert EVIL in page.locator("dialog").inner_text()
    assert EVIL in page.locator("#facets").inner_text()
    assert page.title() == "Compressed networks, compared"
    assert page.locator("img").count() == 0


def test_an_address_brings_back_what_was_chosen(open_page):
    page = open_page("#network=lenet5&method=svd&sort=epochs&down=1&ratio=MACs+ratio")
    assert counts(page)["runs"] == having(network="lenet5", method="svd")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("epochs")
    assert page.locator("#ratio").input_value() == "MACs ratio"
    narrow(page, lambda: page.locator("[name=method][value=tt]").check())
    assert "method=tt" in page.evaluate("location.hash")


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("dark", [False, True])
def test_narrow_windows_and_dark_mode(open_page, width, dark):
    page = open_page(width=width, height=740, dark=dark)
    assert fits(page)
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark
    page.locator("#table tbody a").nth(20).click()
    page.wait_for_selector("dialog[open]")
    assert fits(page) and page.evaluate("document.querySelector('dialog').scrollWidth <= window.innerWidth")


def test_a_thousand_runs_are_shown_and_filtered(open_page, tmp_path):
    write_page(tmp_path / "index.html", many(1000))
    page = open_page(path=tmp_path / "index.html")
    page.locator("#lines").select_option("runs")
    assert lines(page) == 1000
    narrow(page, lambda: page.locator("[name=network][value=lenet5]").check())
    assert lines(page) == sum(row.choices["network"] == "lenet5" for row in many(1000))
