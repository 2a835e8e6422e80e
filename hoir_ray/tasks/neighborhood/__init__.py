"""A filter learned from a picture: the block inside a ring of pixels, to be applied again and again to any other."""

from __future__ import annotations

from hoir_ray.tasks.contract import TRAINING_METRICS, Task, UpstreamProgram, deferred
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig, NeighborhoodFacts, RenderOptions

TASK = Task(
    name="neighborhood",
    summary="a block of pixels from the ring around it, applied over and over to another picture or to noise",
    config=NeighborhoodConfig,
    facts=NeighborhoodFacts,
    data=deferred(__name__, "data:load"),
    num_samples=deferred(__name__, "data:num_samples"),
    pictured="a part of the first picture; each of its blocks redrawn once; and redrawn eight times",
    network=deferred(__name__, "network:build_network"),
    num_parameters=deferred(__name__, "network:num_parameters"),
    metrics=TRAINING_METRICS | {"val_loss", "val_psnr_db", "val_other_psnr_db"},
    score=deferred(__name__, "data:score"),
    pictures=deferred(__name__, "render:pictures"),
    picture_names=("preview", "noise"),
    render_options=RenderOptions,
    render=deferred(__name__, "render:render"),
    upstream=UpstreamProgram(
        settings={
            "images": "data.images",
            "data.width": "data.width",
            "data.outside": "data.outside",
        },
        inputs=deferred(__name__, "upstream:inputs"),
        outputs=deferred(__name__, "upstream:outputs"),
    ),
)
