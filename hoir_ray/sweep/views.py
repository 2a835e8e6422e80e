"""Views of a sweep outside of this program, which it sets up at its start and its end; W&B's are the only ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space
from hoir_ray.storage import Storage

Say = Callable[[str], object]


class Views(Protocol):
    """Set up beside the sweep. None of these raises, and none waits without a limit."""

    def start(self) -> None:
        """Set up what is watched while the sweep runs."""

    def finish(self, records: Sequence[TrialRecord]) -> None:
        """Set up what tells of the sweep once it has ended."""

    def close(self) -> None:
        """End what is still being set up."""


class NoViews:
    """A sweep that is watched nowhere else."""

    def start(self) -> None: ...

    def finish(self, records: Sequence[TrialRecord]) -> None: ...

    def close(self) -> None: ...


def views_of(spec: SweepSpec, storage: Storage, *, space: Space, pictures: Sequence[str], say: Say) -> Views:
    """The views that the sweep's trackers ask for."""
    if "wandb" not in spec.trackers:
        return NoViews()
    from hoir_ray.sweep.wandb_views import WandbViews  # here because it loads the tracker, which takes seconds
    from hoir_ray.trackers.wandb import Config

    config = Config.model_validate(spec.trackers["wandb"])
    return WandbViews(spec, storage, config, space=space, pictures=pictures, say=say) if config.views else NoViews()
