"""The record of one trial: its parameters, state, curve and history, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field

from hoir_ray.config import Config
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.parameters import Scalar

State = Literal["PENDING", "RUNNING", "FINISHED", "PRUNED", "FAILED", "TIMEOUT", "OOM"]


RESULTS: frozenset[State] = frozenset(("FINISHED", "PRUNED"))
ENDED: frozenset[State] = RESULTS | {"FAILED", "TIMEOUT", "OOM"}


PROMOTED = "promoted"  # in the history of a trial that was stopped early, where older versions read over it

MODELS = "models"  # model packs: one folder for each attempt that came to its end


def trial_of(model: str) -> str:
    """The trial whose model pack is below a key such as `models/t0012-1f0c9a3e/config.json`."""
    return model.split("/")[1].partition("-")[0]


def picture_of(model: str) -> str:
    """Key of the picture that is published with a model pack, under the same fencing token; it outlives the pack."""
    trial, _, token = model.split("/")[1].partition("-")
    return f"trials/{trial}/render-{token}.png"


def now() -> str:
    """The present moment, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class TrialRecord(Config):
    """Record of one trial.

    Attributes:
        trial: Its name, such as `t0012`; also its folder in storage.
        parameters: Dotted path -> value, as drawn.
        reason: Why it is in its state, for a person to read.
        attempt: How often it was started.
        num_failures: How many of its attempts ended by the trial's own fault.
        num_preemptions: How many ended because their machine was lost, which is nobody's fault.
        curve: One row per validated epoch: `epoch` and its metrics.
        best: The row of the best epoch by the sweep's first metric.
        picture: Key of the picture of the attempt that counts.
        replicate_of: The trial whose settings it runs again with another seed; such a trial is no part of the search.
        history: What happened to it, in order, each line with its time.
    """

    # NaN belongs into a curve: it is why a trial failed. The aliases are the names that version 0.1 wrote.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, validate_by_name=True)

    trial: str
    number: int
    parameters: dict[str, Scalar]
    state: State = "PENDING"
    reason: str = ""
    attempt: int = 0
    num_failures: int = Field(default=0, validation_alias=AliasChoices("num_failures", "charged"))
    num_preemptions: int = Field(default=0, validation_alias=AliasChoices("num_preemptions", "losses"))
    seed: int = 0
    replicate_of: str | None = None
    node: str = ""
    num_parameters: int | None = None
    batch_size: int | None = None
    curve: tuple[dict[str, float], ...] = ()
    best: dict[str, float] | None = None
    created_at: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None
    model: str | None = None
    picture: str | None = None
    history: tuple[str, ...] = ()

    @property
    def picture_key(self) -> str:
        """Key of its picture; without a fencing token where version 0.1 wrote the record."""
        return self.picture or f"trials/{self.trial}/render.png"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def failed(self) -> bool:
        """True once it has ended without a result: FAILED, TIMEOUT or OOM."""
        return self.ended and self.state not in RESULTS

    @property
    def is_replicate(self) -> bool:
        """True if it runs another trial again with another seed."""
        return self.replicate_of is not None

    @property
    def is_evidence(self) -> bool:
        """True if the search learns from it: finished or stopped early, and no replicate."""
        return self.state in RESULTS and not self.is_replicate

    @property
    def is_promoted(self) -> bool:
        """True once it was resumed after it was stopped early; early stopping then leaves it alone."""
        return any(event.partition(" ")[2].startswith(PROMOTED) for event in self.history)

    @property
    def epochs(self) -> int:
        """Epochs trained so far."""
        return int(self.curve[-1]["epoch"]) if self.curve else 0

    def with_curve(self, curve: Iterable[Mapping[str, float]], *, metric: MetricSpec) -> TrialRecord:
        """Replace the curve, and with it the best row."""
        rows = tuple(dict(row) for row in curve)
        return self.change(curve=rows, best=best_row(rows, metric=metric))

    def with_stored(self, stored: Mapping[str, float]) -> TrialRecord:
        """A copy with metrics of the trial's end, such as of the stored form, in the row of the best epoch."""
        if self.best is None:
            return self
        best = {**self.best, **stored}
        return self.change(best=best, curve=tuple(best if row["epoch"] == best["epoch"] else row for row in self.curve))

    def with_row(self, row: Mapping[str, float], *, metric: MetricSpec) -> TrialRecord:
        """One epoch more; an epoch that is trained again takes the place of what was reported from there on."""
        kept, known = self.curve, [self.best] if self.best is not None else []
        if self.epochs >= row["epoch"]:
            kept = tuple(r for r in kept if r["epoch"] < row["epoch"])
            known = list(kept)
        best = best_row([*known, row], metric=metric)
        return self.change(curve=(*kept, dict(row)), best=best)

    def promoted(self, why: str, *, epoch: int) -> TrialRecord:
        """A stopped trial that waits to be continued from its checkpoint of `epoch`."""
        reason = f"{PROMOTED} at epoch {epoch}: {why}"
        return self.change(reason, state="PENDING", reason=reason, ended_at=None)

    def change(self, event: str = "", **fields: object) -> TrialRecord:
        """A copy with `fields` changed and `event` written into its history."""
        if event:
            fields["history"] = (*self.history, f"{now()} {event}")
        return self.model_copy(update=fields)


def progress(record: TrialRecord) -> tuple[int, int, int]:
    """Grows with every change of a record; of two versions, the one with more is the newer."""
    return (record.attempt, len(record.history), len(record.curve))


def best_row(curve: Iterable[Mapping[str, float]], *, metric: MetricSpec) -> dict[str, float] | None:
    """The row of a curve in which `metric` is best; rows without it, or where it is NaN, do not count."""
    best: dict[str, float] | None = None
    for row in curve:
        value = row.get(metric.name)
        if value is not None and value == value and (best is None or metric.better(value, best[metric.name])):
            best = dict(row)
    return best
