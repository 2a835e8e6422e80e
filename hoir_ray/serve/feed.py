"""Sweeps and reports that the pages show, read at most every two seconds however many people look."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from hoir_ray.report.page import build_report
from hoir_ray.results.management.storage_root import StorageRoot, SweepEntry
from hoir_ray.results.sweep_results import SweepResults

FRESH_S = 2.0
MAX_REPORTS = 8  # kept; one of a thousand trials has 10 MB


class Feed:
    """The sweeps of a root and their reports. May be asked by several threads."""

    def __init__(self, root: StorageRoot) -> None:
        self.root = root
        self._reading, self._drawing = threading.Lock(), threading.Lock()
        self._entries: list[SweepEntry] = []
        self._read_at = float("-inf")
        self._reports: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def entries(self) -> list[SweepEntry]:
        """The sweeps, two seconds old at most.

        Raises:
            HoirError: If the root cannot be read.
        """
        with self._reading:  # whoever comes meanwhile waits for the same answer
            if time.monotonic() - self._read_at >= FRESH_S:
                self._entries = self.root.sweeps()
                self._read_at = time.monotonic()
            return self._entries

    def sweep(self, name: str) -> SweepResults:
        """The sweep of that name.

        Raises:
            HoirError: If there is none, or it cannot be read.
        """
        return self.root.open(name)

    def report(self, name: str) -> bytes:
        """The sweep's report."""
        sweep = self.sweep(name)
        version = sweep.version
        with self._drawing:  # one at a time: a report takes all of a processor
            if (name, version) not in self._reports:
                self._reports[name, version] = build_report(sweep).encode()
                while len(self._reports) > MAX_REPORTS:
                    self._reports.popitem(last=False)
            self._reports.move_to_end((name, version))
            return self._reports[name, version]
