"""A trial's story as lines of text: what it tried, what happened to it, and why it ended as it did."""

from __future__ import annotations

from hoir_ray import wording
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import SweepSpec


def tell(record: TrialRecord, spec: SweepSpec) -> list[str]:
    """Settings, curve, end, attempts, history and the last error; times are UTC."""
    name, during = spec.metric.name, spec.epoch_metric.name
    lines = [f"{record.trial} {record.state}" + (f": {record.reason}" if record.reason else ""), "", "settings"]
    lines += [f"  {path} = {value}" for path, value in record.parameters.items()]
    facts = {"parameters": record.num_parameters, "batch size": record.batch_size, "seed": record.seed}
    lines += [f"  {what}: {value:,}" for what, value in facts.items() if value is not None]
    if record.is_replicate:
        lines.append(f"  the settings of {record.replicate_of} with another seed")
    values = [row[during] for row in record.curve if during in row]
    if values:
        ends = f"{wording.number(values[0])} -> {wording.number(values[-1])}"
        lines += ["", f"{during}, {record.epochs} epochs", f"  {wording.sparkline(values, width=48)}  {ends}"]
    if record.best is not None and name in record.best:
        lines.append(f"  best {wording.number(record.best[name])} at epoch {int(record.best['epoch'])}")
    lines += ["", f"history: {_attempts(record)}"]
    lines += [f"  {line[:19].replace('T', ' ')}  {line.partition(' ')[2]}" for line in record.history]
    if record.model:
        lines += ["", f"model: {record.model}"]
    if record.error:
        lines += ["", "last error", *(f"  {line}" for line in record.error.strip().splitlines()[-12:])]
    return lines


def _attempts(record: TrialRecord) -> str:
    parts = [f"{record.attempt} attempt{'s' if record.attempt != 1 else ''}"]
    if record.num_failures:
        parts.append(f"{record.num_failures} failed by its own fault")
    if record.num_preemptions:
        parts.append(f"{record.num_preemptions} lost with a machine")
    return ", ".join(parts)
