"""The facts of a task's data that a model pack remembers; every task defines a model for them."""

from __future__ import annotations

from pydantic import Field

from hoir_ray.config import Config


class Facts(Config):
    """Plain JSON values that drawing needs when the data is no longer at hand.

    Attributes:
        num_pixels: Of the one picture that the network represents; None where it represents several, or none.
    """

    num_pixels: int | None = Field(default=None, ge=1)
