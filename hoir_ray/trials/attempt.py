"""One attempt at a trial, as plain values that travel to the host that runs it."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import Field

from hoir_ray.config import Config
from hoir_ray.results.record import MODELS


class Attempt(Config):
    """One attempt at one trial.

    Attributes:
        cpus: For each worker, as `gpus`.
        measures_stored_form: Whether metrics of the stored form are asked for.
        measures_end: Whether the task's own metrics of a trial's end are, whatever they take.
        inputs: Paths of the config that are in storage, as in the spec.
        unsaved: A folder for what storage does not take.
        token: Fences this attempt's model pack off from those of other attempts, which may still run somewhere.
    """

    sweep: str
    trial: str
    attempt: int
    task: str
    config: dict[str, Any]
    inputs: dict[str, str] = {}
    metric: str
    goal: Literal["minimize", "maximize"]
    measures_stored_form: bool = False
    measures_end: bool = False
    storage_uri: str
    endpoint_url: str | None
    trackers: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    workers: int
    cpus: float
    gpus: float = 0
    memory_limit: int | None
    unsaved: str
    token: str = Field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def model(self) -> str:
        """Key of its model pack; the record names the attempt that counts."""
        return f"{MODELS}/{self.trial}-{self.token}"
