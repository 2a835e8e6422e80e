"""Signals while a sweep runs: the first one stops it in order, the next one at once."""

from __future__ import annotations

from collections.abc import Callable

from hoir_ray.sweep.driving.driver import Driver

INTERRUPTED = 130


def leave(name: str) -> bool:
    """An `on_interrupt` callback for the time in which nothing trains: there is nothing to wait for."""
    return False


def stop_by_signal(driver: Driver) -> Callable[[str], bool]:
    """An `on_interrupt` callback: the first signal stops the sweep, and the next one is not taken."""
    names: list[str] = []

    def stop(name: str) -> bool:
        if names:
            return False
        names.append(name)
        driver.stop(f"interrupted by {name}", exit_code=INTERRUPTED)
        return True

    return stop
