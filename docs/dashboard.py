"""Make the picture of the dashboard for the README from the committed rows.

python docs/dashboard.py          needs the test extra and a Chromium; writes docs/figures/dashboard.png
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "figures" / "dashboard.png"
sys.path.insert(0, str(ROOT))  # a script sees its own folder only


def main() -> None:
    """Write the page, open it with one network chosen, and take its picture."""
    from orchestration.config.published import experiments, reconstructions
    from reporting.page import write_page
    from reporting.rows import read_rows

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("error: expected chromium on the path, found none; apt-get install chromium")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "index.html"
        write_page(page_file, read_rows([ROOT / "measured"]).results, experiments(()), reconstructions())
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, device_scale_factor=1.5)
        page.goto(f"{page_file.as_uri()}#dataset=mnist&network=lenet300")
        page.wait_for_function("document.querySelectorAll('.task[open] .chart svg.marks').length === 4")
        page.screenshot(path=PICTURE)
        browser.close()
    Image.open(PICTURE).quantize(256).save(PICTURE, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main()
