"""The metrics of a trial at its best epoch."""

from __future__ import annotations

from hoir_ray.results.record import TrialRecord


def metrics_of(record: TrialRecord) -> dict[str, float]:
    """The best epoch's metrics, and the number of parameters, which is known without one."""
    extra = {"num_parameters": float(record.num_parameters)} if record.num_parameters is not None else {}
    return {**extra, **(record.best or {})}
