"""A searched parameter as the YAML writes it: a value, a choice or a range, and when it applies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hoir_ray.config import Config

Scalar = bool | int | float | str | None


Distribution = Literal["uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values"]


class ParameterCase(Config):
    """One way a parameter is drawn: a fixed value, a choice of values, or a range; `when` says when it applies."""

    when: dict[str, tuple[Scalar, ...]] = {}
    value: Scalar = None
    values: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    min: int | float | None = None
    max: int | float | None = None
    distribution: Distribution | None = None
    q: int | float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, case: object) -> object:
        if not isinstance(case, (Mapping, ParameterCase)):
            raise ValueError(
                f"must be a mapping, such as {{value: {case}}} or {{values: [...]}} or {{min: ..., max: ...}}"
            )
        return case

    @field_validator("when", mode="before")
    @classmethod
    def _scalars_are_lists_of_one(cls, when: object) -> object:
        if not isinstance(when, Mapping):
            return when
        return {k: v if isinstance(v, (list, tuple)) else (v,) for k, v in when.items()}

    @model_validator(mode="after")
    def _one_kind(self) -> ParameterCase:
        kinds = {"value", "values"} & self.model_fields_set
        is_range = bool({"min", "max"} & self.model_fields_set)
        if len(kinds) + is_range != 1:
            raise ValueError("needs exactly one of 'value', 'values', or 'min' with 'max'")
        if not is_range:
            for name in ("distribution", "q"):
                if name in self.model_fields_set:
                    raise ValueError(f"'{name}' goes with 'min' and 'max'")
            if self.values is not None and len(set(map(repr, self.values))) != len(self.values):
                raise ValueError(f"'values' holds the same value twice: {list(self.values)}")
            return self
        self._check_range()
        return self

    def _check_range(self) -> None:
        if self.min is None or self.max is None:
            raise ValueError("a range needs both 'min' and 'max'")
        if self.min > self.max:
            raise ValueError(f"'min' must not be above 'max', got min {self.min} and max {self.max}")
        if self.is_log and self.min <= 0:
            raise ValueError(f"a log range must stay above zero, got min {self.min}")
        if (self.distribution or "").startswith("q_") and self.q is None:
            raise ValueError(f"'{self.distribution}' needs 'q', the step")

    @property
    def is_log(self) -> bool:
        return self.distribution in ("log_uniform_values", "q_log_uniform_values")
