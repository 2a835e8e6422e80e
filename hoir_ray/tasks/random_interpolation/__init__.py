"""A generative model: each pixel from random others around it, learned from a folder of pictures."""

from __future__ import annotations

from hoir_ray.tasks.contract import TRAINING_METRICS, Task, UpstreamProgram, deferred
from hoir_ray.tasks.random_interpolation.config import (
    RandomInterpolationConfig,
    RandomInterpolationFacts,
    RenderOptions,
)

# Of what is drawn coarse to fine, which only the sampler `nearest` learns.
_DRAWN = frozenset({"val_patch_distance", "val_reconstruction_psnr_db"})

TASK = Task(
    name="random_interpolation",
    summary="a pixel from random others around it, learned from a folder, to draw pictures from noise or from pictures",
    config=RandomInterpolationConfig,
    facts=RandomInterpolationFacts,
    data=deferred(__name__, "data:load"),
    num_samples=deferred(__name__, "data:num_samples"),
    pictured="validation pictures, above what the network draws from a part of their pixels",
    network=deferred(__name__, "network:build_network"),
    num_parameters=deferred(__name__, "network:num_parameters"),
    metrics=TRAINING_METRICS | {"val_loss", "val_psnr_db"} | _DRAWN,
    score=deferred(__name__, "data:score"),
    measure=deferred(__name__, "quality:measure"),
    unmeasured=lambda config, names: (
        {} if config.data.sampler == "nearest" else dict.fromkeys(names & _DRAWN, "data.sampler has to be nearest")
    ),
    pictures=deferred(__name__, "render:pictures"),
    picture_names=("preview", "noise"),
    render_options=RenderOptions,
    render=deferred(__name__, "render:render"),
    upstream=UpstreamProgram(
        settings={
            "folder": "data.folder",
            "image_size": "data.size",
            "num_feature_pixels": "data.num_feature_pixels",
            "rotations": "data.num_rotations",
            "split_frac": "data.train_fraction",
        },
        inputs=deferred(__name__, "upstream:inputs"),
        outputs=deferred(__name__, "upstream:outputs"),
        fixed={"data.sampler": "radial"},
    ),
)
