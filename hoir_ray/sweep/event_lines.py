"""Events of a sweep as plain lines, for logs, pipes and notebooks: one for each start, end, retry and new best."""

from __future__ import annotations

import time
from typing import IO

from hoir_ray import wording
from hoir_ray.cluster.cluster import Cluster
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import PROMOTED, TrialRecord
from hoir_ray.spec.space import Space
from hoir_ray.sweep.driving.driver import Driver


class EventLines:
    """One plain line for each start, end, retry and new best."""

    def __init__(self, driver: Driver, cluster: Cluster, *, out: IO[str]) -> None:
        self._driver, self._out = driver, out
        self._best = next((r.trial for r in driver.board.leaders), None)
        slots = cluster.slots(driver.spec.resources)
        self._say(f"sweep {driver.spec.name}: {slots} trial{'s' if slots > 1 else ''} at a time")
        for record in driver.records.values():
            if not record.ended and record.reason.startswith(PROMOTED):  # before anybody listened
                self._say(f"{record.trial} {record.reason}")

    def changed(self, record: TrialRecord, event: str) -> None:
        if event == "started":
            what = (
                f"{record.replicate_of} with seed {record.seed}"
                if record.is_replicate
                else varied_settings(record, self._driver.space)
            )
            self._say(f"{record.trial} started: {what}")
        elif event in ("ended", "retried"):
            verb = record.state if event == "ended" else "will be tried again"
            self._say(f"{record.trial} {verb}: {record.reason}")
        elif event == "promoted":
            self._say(f"{record.trial} {record.reason}")
        if event == "ended" and record.state == "FINISHED":
            self._say_its_place(record)

    def _say_its_place(self, record: TrialRecord) -> None:
        spec = self._driver.spec
        broken = broken_constraint(record, spec)
        if broken is not None:
            self._say(f"{record.trial} is not feasible: {broken} does not hold")
            return
        leaders = self._driver.board.leaders
        shown = ", ".join(f"{m.name} {wording.number(metrics_of(record)[m.name])}" for m in spec.metrics)
        if len(spec.metrics) > 1 and record.trial in [r.trial for r in leaders]:
            self._say(f"{record.trial} is on the front, of {len(leaders)} by now: {shown}")
        elif len(spec.metrics) == 1 and leaders and leaders[0].trial != self._best:
            self._best = leaders[0].trial
            self._say(f"{self._best} is the best so far: {shown}")

    def close(self) -> None:
        """Do nothing: every line was flushed as it was printed."""

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {wording.printable(text)}", file=self._out, flush=True)


def varied_settings(record: TrialRecord, space: Space) -> str:
    """A trial's settings without those that are the same in every trial."""
    varied = [d.path for d in space.dimensions if len(d.corners()) > 1]
    return wording.settings(record.parameters, only=varied)
