"""From a model pack to pictures and measurements: what `hoir render` and `hoir evaluate` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hoir_ray.checkpoint import Pack
from hoir_ray.config import explain, nearest
from hoir_ray.errors import RequestError
from hoir_ray.pictures import save_frames
from hoir_ray.single import config_from
from hoir_ray.training.predict import predict


def draw(pack: Pack, flags: Mapping[str, Any], *, out: Path) -> tuple[Path, tuple[int, int, int]]:
    """Draw with a pack's network and write the picture.

    Args:
        flags: The task's own render options, those that were given.

    Returns:
        The file, and (frames, height, width).

    Raises:
        RequestError: For a flag that the task does not have, or a value that it refuses.
    """
    known = pack.task.render_options.model_fields
    for name in flags:
        if name not in known:
            shown = ", ".join(f"--{k.replace('_', '-')}" for k in known)
            near = nearest(name, known)
            raise RequestError(
                f"--{name.replace('_', '-')}: task '{pack.task.name}' does not take it.{near} It takes: {shown}"
            )
    try:
        options = pack.task.render_options.model_validate(dict(flags))
    except ValidationError as error:
        lines = [f"--{path.replace('_', '-')}: {complaint}" for path, complaint in explain(error)]
        raise RequestError("\n".join(lines)) from None
    with torch.inference_mode():
        frames = pack.task.render(pack.network, pack.config, pack.facts, options)
    save_frames(frames, out)
    return out, (frames.shape[0], frames.shape[1], frames.shape[2])


def measure(pack: Pack, settings: Sequence[str]) -> dict[str, float]:
    """A pack's metrics on its own validation data, or on other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data.
        DataError: If the data cannot be loaded.
    """
    for text in settings:
        if not text.startswith("data."):
            raise RequestError(f"'{text}': only the data can be another, such as data.image=photo.jpg")
    start = {"network": pack.config.network.model_dump(), "training": pack.config.training.model_dump()}
    data_fields = {f"data.{k}": v for k, v in pack.config.model_dump()["data"].items()}
    overridden = {text.partition("=")[0] for text in settings}
    config = config_from(
        pack.task, settings, start={**start, **{k: v for k, v in data_fields.items() if k not in overridden}}
    )
    data = pack.task.data(config)
    prediction, target = predict(pack.network, data.val)
    return pack.task.score(prediction, target, data)
