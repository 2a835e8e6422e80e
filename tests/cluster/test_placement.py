"""Reservations of dead actors are released, and the cluster's capacity is counted in trials."""

from __future__ import annotations

import sys
import time
from collections import Counter

import pytest
import ray
from ray import cloudpickle
from ray.util.placement_group import placement_group, placement_group_table

from hoir_ray.cluster.cluster import Capacity, Cluster, connect
from hoir_ray.cluster.placement import release_orphans
from hoir_ray.errors import RequestError
from hoir_ray.spec.schema import Resources

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a trial's process has not the tests on its path


class Owner:
    """As Ray Train's controller, which reserves places for workers."""

    def reserve(self, cpus: int) -> bool:
        self.group = placement_group([{"CPU": cpus}])
        return bool(self.group.wait(5))


def states() -> dict[str, int]:
    return Counter(group["state"] for group in placement_group_table().values())


@pytest.mark.slow
def test_what_dead_actors_reserved_or_waited_for_is_given_back() -> None:
    with connect():
        kept = placement_group([{"CPU": 0.5}])
        assert kept.wait(30)
        living, placed, waiting = (ray.remote(num_cpus=0)(Owner).remote() for _ in range(3))
        assert ray.get([living.reserve.remote(0.5), placed.reserve.remote(1), waiting.reserve.remote(1000)]) == [
            True,
            True,
            False,
        ]
        assert release_orphans() == []
        for owner in (placed, waiting):
            ray.kill(owner)
        released: list[str] = []
        end = time.monotonic() + 30
        while len(released) < 2 and time.monotonic() < end:
            released += release_orphans()
            time.sleep(0.1)
        assert len(released) == 2
        assert states() == {"CREATED": 2, "REMOVED": 2}
        assert release_orphans() == []


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(), 12 + 4),
        (Resources(cpus=2), 6 + 2),
        (Resources(gpus=0.25), 4),
        (Resources(gpus=0.25, cpus=0.5), 8),
        (Resources(gpus=1), 2),
        (Resources(gpus=0.5, cpus=2), 2),
        (Resources(workers=2, gpus=1), 1),
        (Resources(workers=3, cpus=4), 1),
        (Resources(workers=3, gpus=1), 0),
        (Resources(cpus=13), 0),
    ],
)
def test_trials_are_counted_on_a_mixed_cluster(resources: Resources, slots: int) -> None:
    mixed = Capacity(({"CPU": 0.0}, {"CPU": 12.0}, {"CPU": 4.0, "GPU": 2.0}))
    assert mixed.slots(resources) == slots


def test_where_ray_starts_machines_as_many_are_asked_for_as_allowed() -> None:
    scaled_to_zero = Cluster(lambda: Capacity(({"CPU": 0.0},)))
    with pytest.raises(RequestError, match=r"2 worker\(s\) with 1 CPU\(s\) and 1 GPU\(s\) each, which fits nowhere"):
        scaled_to_zero.refuse_unplaceable(Resources(workers=2, gpus=1))
    growing = Resources(gpus=1, concurrent_trials=16, autoscaled=True)
    scaled_to_zero.refuse_unplaceable(growing)
    assert scaled_to_zero.slots(growing) == 16
    assert Cluster(lambda: Capacity(({"CPU": 4.0},) * 2)).slots(Resources(concurrent_trials=16)) == 8


def test_capacity_is_shown_by_kinds_of_machines() -> None:
    assert str(Capacity(({"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}))) == (
        "2 x 4 CPUs, 0 GPUs; 8 CPUs, 2 GPUs"
    )
