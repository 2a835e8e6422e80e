"""The config of the W&B tracker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hoir_ray.config import Config as FrozenConfig


class Config(FrozenConfig):
    """Under `trackers: {wandb: ...}`. The key comes from WANDB_API_KEY or `wandb login`, never from here.

    `finish_timeout_s` bounds how long the end of a trial waits for uploads. Pictures are sent at most every
    `images_every_s` seconds, and the newest ones at the end. With `views` a sweep makes a saved view at its start and a
    report at its end.
    """

    project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")] = "hoir"
    entity: str | None = None
    mode: Literal["online", "offline", "disabled"] = "online"
    tags: tuple[str, ...] = ()
    finish_timeout_s: float = Field(default=30.0, gt=0)
    images_every_s: float = Field(default=30.0, ge=0)
    views: bool = True
