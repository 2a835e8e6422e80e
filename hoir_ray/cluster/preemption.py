"""Notice of preemption: whether a machine of this trial is about to be drained."""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager

from hoir_ray.cluster.placement import draining_nodes

LOOK_EVERY_S = 2.0


class Preemption:
    """Notice of preemption for a trial's machines; asks Ray no more than every few seconds.

    Attributes:
        told: Why this process itself is to leave, once somebody has said so.
        watched: Whether a trial is under way that looks here at the end of each epoch.
    """

    def __init__(self) -> None:
        self.told, self.watched = "", False
        self._looked_at = 0.0
        self._leaving: Set[str] = frozenset()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The time in which a trial can be told to leave."""
        self.told, self.watched = "", True
        try:
            yield
        finally:
            self.watched = False

    def reason(self, nodes: Set[str]) -> str | None:
        """Return the reason to requeue a trial on these nodes, by Ray's ids, or None."""
        if self.told:
            return self.told
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._leaving = draining_nodes().keys()
            self._looked_at = time.monotonic()
        return "its machine is about to go" if nodes & self._leaving else None


preemption = Preemption()  # of this process, whose signal handler and whose trial meet here
