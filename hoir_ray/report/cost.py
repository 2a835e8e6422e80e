"""Cost of a sweep: time, devices, and the share that went into training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hoir_ray.report.chart import seconds_between
from hoir_ray.results.record import State, TrialRecord
from hoir_ray.spec.schema import Resources


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Times in seconds.

    Attributes:
        busy_s: During which at least one trial was under way; pauses between two runs of the sweep do not count.
        trial_s: The trials' own times added up, from their first start to their end.
        training_s: The part of these in which networks were trained and validated.
        device_hours: `trial_s` times the devices of a trial, in hours.
        device: What these are: `GPU` or `CPU core`.
        epochs, all_epochs: Trained, and what would have been, had no trial been stopped early.
        by_state: State -> number of trials and their `trial_s`.
    """

    busy_s: float
    trial_s: float
    training_s: float
    device_hours: float
    device: str
    epochs: int
    all_epochs: int
    by_state: dict[State, tuple[int, float]]

    @property
    def overhead(self) -> float | None:
        """The share of the trials' time that was not training; None when no time was measured."""
        return max(0.0, 1.0 - self.training_s / self.trial_s) if self.trial_s else None


def cost_of(records: Sequence[TrialRecord], *, resources: Resources) -> Cost:
    """Added up from the ledger."""
    times = {r.trial: seconds_between(r.started_at, r.ended_at) for r in records}
    trial_s = sum(times.values())
    on_gpu = resources.gpus > 0
    devices = (resources.gpus if on_gpu else resources.cpus) * resources.workers
    by_state: dict[State, tuple[int, float]] = {}
    for record in records:
        number, seconds = by_state.get(record.state, (0, 0.0))
        by_state[record.state] = number + 1, seconds + times[record.trial]
    return Cost(
        busy_s=_union([(r.started_at, r.ended_at) for r in records if r.started_at and r.ended_at]),
        trial_s=trial_s,
        training_s=sum(r.curve[-1].get("train_time_s", 0.0) for r in records if r.curve),
        device_hours=trial_s * devices / 3600,
        device="GPU" if on_gpu else "CPU core",
        epochs=sum(r.epochs for r in records),
        all_epochs=sum(_full_length(r, records) for r in records if r.curve),
        by_state=by_state,
    )


def _full_length(record: TrialRecord, records: Sequence[TrialRecord]) -> int:
    """Epochs that a stopped trial would have had: its own setting, or else the longest trial's."""
    if record.state != "PRUNED":
        return record.epochs
    own = record.parameters.get("training.max_epochs")
    return own if isinstance(own, int) else max(r.epochs for r in records)


def _union(spans: list[tuple[str, str]]) -> float:
    """Length in seconds of what the spans cover together."""
    total, reached = 0.0, datetime.min
    for start, end in sorted((datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in spans):
        begin, stop = start.replace(tzinfo=None), end.replace(tzinfo=None)
        total += max(0.0, (stop - max(begin, reached)).total_seconds())
        reached = max(reached, stop)
    return total
