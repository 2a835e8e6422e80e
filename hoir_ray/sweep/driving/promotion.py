"""Promotion of stopped trials: which ones can be continued, by the model's choice or by hand. No Ray."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hoir_ray import wording
from hoir_ray.errors import RequestError
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.gaussian_process.promotion import Promotion


class Promotable:
    """Stopped trials with a checkpoint; each can be continued once.

    Attributes:
        names: Of the trials.
    """

    def __init__(self, records: Iterable[TrialRecord]) -> None:
        self.names: set[str] = set()
        for record in records:
            self.end(record)

    def end(self, record: TrialRecord) -> None:
        """Take in a trial that has ended, and that writes a checkpoint if it was stopped early."""
        if record.state == "PRUNED" and not record.is_replicate and not record.is_promoted:
            self.names.add(record.trial)
        else:
            self.names.discard(record.trial)


def promoted(record: TrialRecord, promotion: Promotion, *, several: bool) -> TrialRecord:
    """The record of a trial that the model chose, with its predicted end by the first metric beside the best one."""
    why = f"predicted {wording.number(promotion.predicted)} ± {wording.number(promotion.deviation)}"
    why += ", near the front" if several else f" against best {wording.number(promotion.best)}"
    return record.promoted(why, epoch=record.epochs)


def promoted_by_hand(
    records: Mapping[str, TrialRecord], names: Collection[str], *, checkpoints: Mapping[str, int]
) -> dict[str, TrialRecord]:
    """The records of `names` as trials that wait to be continued.

    Args:
        checkpoints: Trial -> epoch of its newest complete checkpoint in storage.

    Raises:
        RequestError: With a line for each one that cannot be.
    """
    problems = [(name, _obstacle(records.get(name), has_checkpoint=name in checkpoints)) for name in names]
    if refused := [f"--promote {name}: {why}" for name, why in problems if why]:
        raise RequestError("\n".join(refused))
    return {name: records[name].promoted("asked for by hand", epoch=checkpoints[name]) for name in names}


def _obstacle(record: TrialRecord | None, *, has_checkpoint: bool) -> str | None:
    if record is None:
        return "no such trial in this sweep; `hoir trials` lists them"
    if record.state == "FINISHED":
        return "it finished; only a trial that was stopped early (PRUNED) can be resumed"
    if record.failed:
        return f"it failed ({record.state}: {record.reason}); only a trial that was stopped early (PRUNED) can be"
    if not record.ended:
        return "it has not ended; the sweep resumes it anyway"
    if not has_checkpoint:
        return "it has no checkpoint in storage any more, or was stopped before its first one"
    return None
