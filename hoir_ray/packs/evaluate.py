"""Metrics of a model pack on its own data or on other data: `hoir evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from hoir_ray.config import config_paths, nearest
from hoir_ray.errors import RequestError
from hoir_ray.packs.pack import Pack
from hoir_ray.tasks.contract import TaskConfig, read_config
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import predict


def measure(pack: Pack, settings: Sequence[str]) -> dict[str, float]:
    """A pack's metrics on its own validation data, or on other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data, or the pack does not know its data.
        DataError: If the data cannot be loaded.
    """
    config = config_on(pack, settings)
    data = pack.task.data(config)
    prediction, target = predict(pack.network, data.val)
    return {
        **pack.task.score(prediction, target, data),
        **pack.task.measure(pack.network, data),
        **pack.task.measure_end(pack.network, config, data, True),
    }


def data_of(pack: Pack, settings: Sequence[str]) -> TaskData:
    """A pack's own data, or other data given as `data.x=y`.

    Raises:
        RequestError: If a setting is not about data, or the pack does not know its data.
        DataError: If the data cannot be loaded.
    """
    data: TaskData = pack.task.data(config_on(pack, settings))
    return data


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
