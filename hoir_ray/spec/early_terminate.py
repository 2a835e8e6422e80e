"""Early stopping as a sweep YAML names it: `early_terminate: {type: asha, ...}`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hoir_ray.config import Config


class AshaSpec(Config):
    """Asynchronous successive halving: at epochs `min_iter * eta**k` only the best 1/`eta` so far continue.

    Attributes:
        min_iter: The first rung; unless given, a third of the epochs of the longest trial, before which good settings
            cannot be told from others.
    """

    type: Literal["asha"]
    min_iter: int | None = Field(default=None, ge=1)
    max_iter: int | None = Field(default=None, ge=1)
    eta: int = Field(default=3, ge=2)


class MoAshaSpec(AshaSpec):
    """ASHA with the trials at a rung ranked by all metrics: by non-domination, then by distance to others."""

    type: Literal["mo_asha"]  # type: ignore[assignment]


class MedianSpec(Config):
    """Stop a trial whose best value is worse than the median of the others' means up to the same epoch."""

    type: Literal["median"]
    min_iter: int = Field(default=1, ge=1)
    min_trials: int = Field(default=5, ge=1)


class ForecastSpec(Config):
    """Stop a trial once its expected end plus two standard deviations is behind the best, or its front out of reach.

    Attributes:
        min_iter: The first epoch at which that may happen; unless given, a third of the epochs of the longest trial.
    """

    type: Literal["forecast"]
    min_iter: int | None = Field(default=None, ge=1)


class NoStopSpec(Config):
    type: Literal["none"] = "none"


EarlyTerminate = AshaSpec | MoAshaSpec | MedianSpec | ForecastSpec | NoStopSpec
