"""Chromium for the tests that open a page; they are skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

WAIT_MS = 150_000  # on a busy machine; what is waited for comes
ARGUMENTS = [
    "--no-sandbox",  # in containers, where tests run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("no chromium on this machine; scripts/ci-prepare installs it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


class Watched:
    """A page with everything that it complained of, and every request that would have left it."""

    def __init__(self, page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: self.requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]")


@pytest.fixture
def watched(chromium):
    """`watched(width=..., height=..., color_scheme=...)` opens an empty page."""
    contexts = []

    def new(*, width: int = 1200, height: int = 900, color_scheme: str = "light") -> Watched:
        contexts.append(
            chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=color_scheme, has_touch=width < 500
            )
        )
        contexts[-1].set_default_timeout(WAIT_MS)
        return Watched(contexts[-1].new_page())

    yield new
    for context in contexts:
        context.close()
