"""`target:` of a sweep YAML: the smallest file of a wanted quality, or the best picture of a wanted size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from hoir_ray.config import Config
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.stored import STORED

QUALITIES = ("stored_psnr_db", "stored_ssim")


class Target(Config):
    """The aim for the stored form of the result; exactly one metric is given.

    Attributes:
        stored_psnr_db, stored_ssim: At least so much; the file is to be as small as it can be.
        stored_bytes, stored_bits_per_pixel: At most so much; the picture is to be as good as it can be.
        margin: The sweep ends once its last `patience` trials bettered the result by less than this share of it;
            unless given, when the budget is used up.
        patience: Trials.
    """

    stored_psnr_db: float | None = Field(default=None, gt=0, le=200)
    stored_ssim: float | None = Field(default=None, gt=0, lt=1)
    stored_bytes: float | None = Field(default=None, ge=1, le=1e12)
    stored_bits_per_pixel: float | None = Field(default=None, gt=0, le=1e6)
    margin: float | None = Field(default=None, gt=0, lt=1)
    patience: int = Field(default=20, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _one_metric(self) -> Target:
        given = [name for name in STORED if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"takes one of {', '.join(STORED)}, such as target: {{stored_psnr_db: 32}}; got "
                f"{' and '.join(given) or 'none'}"
            )
        return self

    @property
    def metric(self) -> str:
        """The metric that has a limit."""
        return next(name for name in STORED if getattr(self, name) is not None)

    @property
    def objective(self) -> MetricSpec:
        """The metric that is made as good as it can be within the limit."""
        if self.metric in QUALITIES:
            return MetricSpec(name="stored_bytes", goal="minimize")
        return MetricSpec(name="stored_psnr_db", goal="maximize")

    @property
    def constraint(self) -> str:
        """The limit as a constraint."""
        return f"{self.metric} {'>=' if self.metric in QUALITIES else '<='} {getattr(self, self.metric):.12g}"


def with_target(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sweep with the objective and the constraint that its `target` stands for.

    A target that is none is left to the schema, which says what is wrong with it.

    Raises:
        ValueError: For a target beside another objective.
    """
    try:
        target = Target.model_validate(sweep["target"])
    except ValidationError:
        return {**sweep, "metrics": [{"name": "val_loss"}]}
    given, constraints = sweep.get("metrics"), sweep.get("constraints") or []
    if given is not None and [MetricSpec.model_validate(m) for m in given] != [target.objective]:
        raise ValueError(
            f"target: leave out 'metric'; {target.constraint} with the best {target.objective.name} is what is searched"
        )
    if isinstance(constraints, (list, tuple)) and target.constraint not in constraints:
        constraints = [*constraints, target.constraint]
    return {**sweep, "metrics": [target.objective], "constraints": constraints}
