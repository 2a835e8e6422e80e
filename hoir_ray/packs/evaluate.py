"""Metrics of a model pack on its own data or on other data: `hoir evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hoir_ray.config import config_paths, input_paths, nearest
from hoir_ray.errors import RequestError
from hoir_ray.packs.pack import Pack
from hoir_ray.tasks.contract import TaskConfig, read_config
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import predict

_log = logging.getLogger(__name__)


def measure(pack: Pack, settings: Sequence[str]) -> dict[str, float]:
    """A pack's metrics on its own validation data, or on other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data, or the pack does not know its data.
        DataError: If the data cannot be loaded.
    """
    config, data = _config_and_data(pack, settings)
    prediction, target = predict(pack.network, data.val)
    return {
        **pack.task.score(prediction, target, data),
        **pack.task.measure(pack.network, data),
        **pack.task.measure_end(pack.network, config, data, True),
    }


def with_picture(pack: Pack, settings: Sequence[str], *, picture: str | None) -> list[str]:
    """Settings of the data with `data.image=...` for a picture, where the task is of one.

    Raises:
        RequestError: If it is not, naming the data that it has.
    """
    if picture is None:
        return list(settings)
    names = _input_names(pack.config)
    if "image" not in names:
        raise RequestError(
            f"--image: networks of task '{pack.task.name}' are not of one picture; name their data instead, as "
            f"{' or '.join(f'data.{name}=...' for name in names)}"
        )
    return [*settings, f"data.image={picture}"]


def data_of(pack: Pack, settings: Sequence[str]) -> TaskData:
    """A pack's own data, or other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data, or the pack does not know its data.
        DataError: If the data cannot be loaded.
    """
    return _config_and_data(pack, settings)[1]


def _config_and_data(pack: Pack, settings: Sequence[str]) -> tuple[TaskConfig, TaskData]:
    config = config_on(pack, settings)
    data = pack.task.data(config)
    _check_comparable(pack, config, data, settings)
    return config, data


def config_on(pack: Pack, settings: Sequence[str]) -> TaskConfig:
    """A pack's config, on its own data or on other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data, or the pack does not know its data.
    """
    for text in settings:
        if not text.startswith("data."):
            raise RequestError(f"'{text}': only the data can be another, such as data.image=photo.jpg")
    overridden = {text.partition("=")[0] for text in settings}
    unknown = [path for path in pack.missing if path not in overridden]
    if unknown:
        raise RequestError(f"{pack.folder}: does not name its data; give it as {unknown[0]}=...")
    known = [path for path in config_paths(type(pack.config)) if path.startswith("data.")]
    for name in (text.partition("=")[0] for text in settings):
        if name in known:
            continue
        raise RequestError(
            f"{name}: task '{pack.task.name}' has no such data.{nearest(name, known)} It has: {', '.join(known)}"
        )
    start = {"network": pack.config.network.model_dump(), "training": pack.config.training.model_dump()}
    data_fields = {f"data.{k}": v for k, v in pack.config.model_dump()["data"].items()}
    return read_config(
        pack.task, settings, start={**start, **{k: v for k, v in data_fields.items() if k not in overridden}}
    )


def _check_comparable(pack: Pack, config: TaskConfig, data: TaskData, settings: Sequence[str]) -> None:
    """Refuse another shape where the network represents one picture, and say so where it is another picture."""
    own, other = pack.facts.model_dump(), data.facts.model_dump()
    if data.facts.num_pixels is None or not settings or not {"height", "width"} <= own.keys() & other.keys():
        return
    height, width, other_height, other_width = own["height"], own["width"], other["height"], other["width"]
    rounded = 1 / min(height, width) + 1 / min(other_height, other_width)  # sides are whole pixels
    if abs(other_width / other_height / (width / height) - 1) > rounded:
        raise RequestError(
            f"{' '.join(settings)}: is {other_width} x {other_height} pixels, and {pack.folder} is one picture of "
            f"{width} x {height}; only the same picture, at any size, can be compared with it"
        )
    trained_on, measured_on = _inputs(pack.config), _inputs(config)
    if trained_on != measured_on and not set(pack.missing) & trained_on.keys():
        _log.warning(
            "the network is the picture %s; measured is how near it comes to %s, which says little if that is another",
            " ".join(trained_on.values()),
            " ".join(measured_on.values()),
        )


def _inputs(config: TaskConfig) -> dict[str, str]:
    data = config.model_dump()["data"]
    return {f"data.{name}": str(data[name]) for name in _input_names(config)}


def _input_names(config: TaskConfig) -> list[str]:
    data: Any = type(config).model_fields["data"].annotation
    return input_paths(data)
