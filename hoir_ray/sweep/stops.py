"""Stops of a sweep from outside: by a signal, by whoever took it over, and where Ray has died or finds no place."""

from __future__ import annotations

from collections.abc import Callable

from hoir_ray.cluster.cluster import Cluster, needs
from hoir_ray.storage import BackgroundUploader, Lock
from hoir_ray.sweep.driving.driver import Driver

INTERRUPTED = 130


def leave(name: str) -> bool:
    """Have `on_interrupt` raise at the first signal, for the time in which nothing trains and is waited for."""
    return False


def stop_by_signal(driver: Driver) -> Callable[[str], bool]:
    """Make a callback of `on_interrupt`: the first signal stops the sweep, and the next raises KeyboardInterrupt."""
    names: list[str] = []

    def stop(name: str) -> bool:
        if names:
            return False
        names.append(name)
        driver.stop(f"interrupted by {name}", exit_code=INTERRUPTED)
        return True

    return stop


def look_outside(driver: Driver, lock: Lock, uploader: BackgroundUploader) -> None:
    """Stop where somebody else took the sweep over, and note where the ledger is not being saved."""
    if lock.lost.is_set():
        driver.stop("somebody else has taken this sweep over with --force", exit_code=1)
    elif uploader.failures:
        driver.storage_failed(str(next(iter(uploader.failures.values()))))


def stop_dead(driver: Driver, cluster: Cluster) -> None:
    """Stop where a process of Ray's has died; a sweep that is ending anyway keeps its reason and exit code."""
    if cluster.death and driver.stop_reason is None:
        driver.stop(f"{cluster.death}; the same command resumes", exit_code=1)


def stop_unplaced(driver: Driver, cluster: Cluster) -> None:
    """Stop where nothing trains and a trial has waited too long for its place: nothing will ever be placed."""
    limit, waiting = driver.spec.failures.placement_timeout, driver.unplaced()
    if len(waiting) < len(driver.running):
        return
    for name, waited_s in waiting.items():
        if limit is not None and waited_s > limit:
            reason = (
                f"Ray found no place for {name} within failures.placement_timeout {limit:g} s: it needs "
                f"{needs(driver.spec.resources)}; Ray has {cluster.capacity()}"
            )
            driver.stop(reason, exit_code=1)
