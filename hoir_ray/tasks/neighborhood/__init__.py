"""A filter learned from a picture: the block inside a ring of pixels, to be applied again and again to any other."""

from __future__ import annotations

from hoir_ray.task import Task
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig
from hoir_ray.tasks.neighborhood.data import load, score
from hoir_ray.tasks.neighborhood.network import build_network, num_parameters
from hoir_ray.tasks.neighborhood.render import RenderOptions, pictures, render

TASK = Task(
    name="neighborhood",
    summary="a block of pixels from the ring around it, applied over and over to another picture or to noise",
    config=NeighborhoodConfig,
    data=load,
    network=build_network,
    num_parameters=num_parameters,
    score=score,
    pictures=pictures,
    render_options=RenderOptions,
    render=render,
)
