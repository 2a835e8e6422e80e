"""Messages from a trial to the driver: where it runs, its epochs, and how it ended; they travel as JSON texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from hoir_ray.config import Config
from hoir_ray.results.record import State

Row = dict[str, float]


class _Message(Config):
    # NaN belongs into a row: it is why a trial failed.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="constants")

    def to_json(self) -> str:
        return self.model_dump_json()


class Arrived(_Message):
    """Workers of a group have their processes: each one sends its own, and the trial passes them on all at once.

    Attributes:
        workers: Ray's id of the node and a name of the process, for each worker.
    """

    kind: Literal["arrived"] = "arrived"
    workers: tuple[tuple[str, str], ...]


class Placed(_Message):
    """The first message of every attempt, before it trains.

    Attributes:
        node: Host and process.
        notes: What it noticed on the way, such as a broken checkpoint.
        curve: The rows of the epochs up to the checkpoint from which it resumes; later ones will be trained again.
    """

    kind: Literal["placed"] = "placed"
    node: str
    notes: tuple[str, ...] = ()
    curve: tuple[Row, ...] = ()


class EpochEnded(_Message):
    """A validated epoch: `epoch` and its metrics."""

    kind: Literal["epoch_ended"] = "epoch_ended"
    row: Row


class Finished(_Message):
    """The trial trained to its own end.

    Attributes:
        model: Key of its model pack.
        stored: Metrics of its end: those of its stored form, where one was made, and the task's own.
        unsaved: Why storage did not take the pack, which was then put aside; None if all is well.
    """

    kind: Literal["finished"] = "finished"
    reason: str
    model: str | None
    stored: dict[str, float] = {}
    unsaved: str | None = None


class Preempted(_Message):
    """The trial leaves its machine with its state written, to be resumed elsewhere."""

    kind: Literal["preempted"] = "preempted"
    reason: str


class Failed(_Message):
    """An attempt broke.

    Attributes:
        error: The traceback, or what Ray says of a process that died.
        retry: Whether another attempt may fare better.
        is_preemption: Whether its machine was lost, which is no fault of the trial.
        batch_size: With which it ran out of memory.
    """

    kind: Literal["failed"] = "failed"
    reason: str
    error: str | None = None
    state: State = "FAILED"
    retry: bool = True
    is_preemption: bool = False
    batch_size: int | None = None


class StorageFailed(_Message):
    """Storage could not be read or written; the trial can be resumed once it can."""

    kind: Literal["storage_failed"] = "storage_failed"
    reason: str


Message = Annotated[
    Arrived | Placed | EpochEnded | Finished | Preempted | Failed | StorageFailed, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Message)


def parse_message(text: str) -> Message:
    """Read one back from its JSON.

    Raises:
        pydantic.ValidationError: If it is not a message.
    """
    return _ADAPTER.validate_json(text)
