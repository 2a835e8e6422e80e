"""A picture as a function of position: where a pixel lies goes in, its colour comes out."""

from __future__ import annotations

from hoir_ray.spec.stored import ENLARGED
from hoir_ray.tasks.contract import TRAINING_METRICS, Task, UpstreamProgram, deferred
from hoir_ray.tasks.image.config import ImageConfig, ImageFacts, RenderOptions

TASK = Task(
    name="image",
    summary="one picture as a function of position, to be drawn again at any size",
    config=ImageConfig,
    facts=ImageFacts,
    data=deferred(__name__, "data:load"),
    num_samples=deferred(__name__, "data:num_samples"),
    network=deferred(__name__, "network:build_network"),
    num_parameters=deferred(__name__, "network:num_parameters"),
    original=deferred(__name__, "data:original"),
    num_pixels=deferred(__name__, "data:num_pixels"),
    metrics=TRAINING_METRICS | {"val_loss", "val_psnr_db", "val_ssim", "bits_per_pixel"},
    end_metrics=frozenset(ENLARGED),
    measure_end=deferred(__name__, "enlarged:measure_end"),
    unmeasured=deferred(__name__, "enlarged:unmeasured"),
    warnings=deferred(__name__, "enlarged:warnings_of"),
    score=deferred(__name__, "data:score"),
    pictures=deferred(__name__, "render:pictures"),
    picture_names=("preview", "comparison"),
    render_options=RenderOptions,
    render=deferred(__name__, "render:render"),
    views=deferred(__name__, "render:views"),
    panels=("original", "fit", "error"),
    colours=deferred(__name__, "render:colours"),
    upstream=UpstreamProgram(
        settings={
            "images": "data.image",
            "rotations": "data.num_rotations",
        },
        inputs=deferred(__name__, "upstream:inputs"),
        outputs=deferred(__name__, "upstream:outputs"),
    ),
)
