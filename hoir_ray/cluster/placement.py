"""Ray's placement groups and draining nodes: reservations of ended trials are released."""

from __future__ import annotations

import ray


def draining_nodes() -> dict[str, int]:
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
