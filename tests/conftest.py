"""Fixtures for every test; the servers start only for tests that ask for them."""

from __future__ import annotations

import os
import sys

import pytest

pytest_plugins = ["tests.servers.fixtures", "tests.command", "tests.chromium"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with long tests start first, then those with slow ones; the quick ones fill what is left of the time.

    Tests that install are left out unless they are asked for.
    """
    if config.option.markexpr != "install":
        items[:] = [item for item in items if item.get_closest_marker("install") is None]
    long, slow = ({item.path for item in items if item.get_closest_marker(name)} for name in ("long", "slow"))
    items.sort(key=lambda item: (item.path not in long, item.path not in slow))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failed test at once: a run that is cut off has told it."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}\n")
        sys.stderr.flush()
