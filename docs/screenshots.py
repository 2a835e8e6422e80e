"""Pictures of a report for the README, taken in the machine's own Chromium.

python docs/screenshots.py report.html docs/pictures
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
VIEWS = {"light": (1200, 900), "dark": (1200, 900), "phone": (390, 844)}


def settle(page: Page) -> None:
    """Every chart is drawn when it comes into view."""
    for chart in page.query_selector_all("[data-chart]"):
        chart.scroll_into_view_if_needed()
        page.wait_for_selector(f"[data-chart={chart.get_attribute('data-chart')}][data-drawn]")
    page.evaluate("scrollTo(0, 0)")


def main() -> None:
    report, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for name, (width, height) in VIEWS.items():
            viewport: ViewportSize = {"width": width, "height": height}
            context = browser.new_context(viewport=viewport, color_scheme="dark" if name == "dark" else "light")
            page = context.new_page()
            page.goto(report.as_uri())
            settle(page)
            page.focus("[data-chart=front]")
            page.keyboard.press("End")
            page.screenshot(path=out / f"report-{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
