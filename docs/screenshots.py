"""Pictures of a report and of served pages for the docs, taken in the machine's own Chromium.

python docs/screenshots.py report.html docs/pictures
python docs/screenshots.py hoir-runs docs/pictures          `hoir serve`: the list of sweeps
"""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from queue import Queue

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from hoir_ray.serve import serve

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
VIEWS = {"light": (1200, 900), "dark": (1200, 900), "phone": (390, 844)}


def settle(page: Page) -> None:
    """Every chart is drawn when it comes into view."""
    for chart in page.query_selector_all("[data-chart]"):
        chart.scroll_into_view_if_needed()
        page.wait_for_selector(f"[data-chart={chart.get_attribute('data-chart')}][data-drawn]")
    page.evaluate("scrollTo(0, 0)")


def main() -> None:
    source, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        (shoot_pages if source.is_dir() else shoot_report)(browser, source, out)
        browser.close()


def shoot_report(browser: Browser, report: Path, out: Path) -> None:
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


def shoot_pages(browser: Browser, storage: Path, out: Path) -> None:
    stop, shown = threading.Event(), Queue[str]()

    def show(address: str, *, needs_token: bool) -> None:
        shown.put(address)

    thread = threading.Thread(target=serve, args=(str(storage),), kwargs={"port": 0, "stop": stop, "show": show})
    thread.start()
    page = browser.new_page(viewport={"width": 1200, "height": 620})
    try:
        page.goto(shown.get(timeout=60))
        page.wait_for_selector("html[data-ready]")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=out / "serve.png")
    finally:
        page.close()
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
