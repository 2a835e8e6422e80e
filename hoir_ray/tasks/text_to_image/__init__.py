"""An associative dictionary: many pictures in one network, each called up by its caption."""

from __future__ import annotations

from hoir_ray.tasks.contract import TRAINING_METRICS, Task, deferred
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig, TextToImageFacts, upgrade

TASK = Task(
    name="text_to_image",
    summary="many pictures in one network, each called up by its caption",
    config=TextToImageConfig,
    facts=TextToImageFacts,
    data=deferred(__name__, "data:load"),
    num_samples=deferred(__name__, "data:num_samples"),
    pictured="pairs of an original, on the left, and what the network draws of its caption",
    network=deferred(__name__, "network:build_network"),
    num_parameters=deferred(__name__, "network:num_parameters"),
    metrics=TRAINING_METRICS | {"val_loss", "val_psnr_db", "val_psnr_worst_db"},
    score=deferred(__name__, "data:score"),
    pictures=deferred(__name__, "render:pictures"),
    picture_names=("preview", "comparison"),
    render_options=RenderOptions,
    render=deferred(__name__, "render:render"),
    views=deferred(__name__, "render:views"),
    upgrade=upgrade,
)
