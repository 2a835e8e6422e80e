"""Where Ray puts things: what it still reserves for trials that have ended, and which machines are about to go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager

import ray

LOOK_EVERY_S = 2.0


def leaving_nodes() -> dict[str, int]:
    """Ray's ids of nodes that are being drained -> when they go, in milliseconds since 1970; 0 if that is not known."""
    return dict(ray._private.state.state.get_draining_nodes())


def release_orphans() -> list[str]:
    """Give back placement groups of this sweep whose owner is dead; returns their ids.

    Ray keeps a placement group until the whole Ray job ends, even when the actor that made it has died; what a killed
    trial had reserved for its workers would be missing for every later trial.
    """
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    own_job = ray.get_runtime_context().get_job_id()
    removed = PlacementGroupTableData.REMOVED
    released = []
    for row in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        by_an_actor = not ray.ActorID(group.creator_actor_id).is_nil()
        is_orphan = by_an_actor and group.creator_actor_dead and group.state != removed
        if is_orphan and group.creator_job_id.hex() == own_job:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
            released.append(group.placement_group_id.hex())
    return released


class Departures:
    """Whether one of a trial's machines is about to go; asks Ray no more than every few seconds.

    Attributes:
        told: Why this process itself is to leave, once somebody has said so.
        watched: Whether a trial is under way that looks here at the end of each epoch.
    """

    def __init__(self) -> None:
        self.told, self.watched = "", False
        self._looked_at = 0.0
        self._leaving: Set[str] = frozenset()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The time in which a trial can be told to leave."""
        self.told, self.watched = "", True
        try:
            yield
        finally:
            self.watched = False

    def reason(self, nodes: Set[str]) -> str | None:
        """Why a trial on these nodes, by Ray's ids, had better move, or None."""
        if self.told:
            return self.told
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._leaving = leaving_nodes().keys()
            self._looked_at = time.monotonic()
        return "its machine is about to go" if nodes & self._leaving else None


departures = Departures()  # of this process, whose signal handler and whose trial meet here
