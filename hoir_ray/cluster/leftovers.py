"""Ends and removes what sweeps of this user have left here whose driver and reaper were killed together."""

from __future__ import annotations

import shutil
from pathlib import Path

from hoir_ray.cluster import reaper
from hoir_ray.machine.temporary import RAY, folders_of, left_folder


def remove_leftovers(*places: Path) -> None:
    """Kill the processes of every private Ray in these places whose driver is dead, and remove its folder."""
    for folder in (f for place in set(places) for f in folders_of(RAY, within=place)):
        with left_folder(folder) as is_left:
            if is_left:
                reaper.end_users(str(folder))
                shutil.rmtree(folder, ignore_errors=True)
