"""Early stopping, a rule per file; `build_rule` picks the one that `early_terminate` names."""

from __future__ import annotations

from collections.abc import Sequence

from hoir_ray.search.stopping.asha import Asha
from hoir_ray.search.stopping.forecast import Forecast
from hoir_ray.search.stopping.median import MedianStop
from hoir_ray.search.stopping.mo_asha import MoAsha
from hoir_ray.search.stopping.rule import NeverStop, StoppingRule
from hoir_ray.spec.early_terminate import AshaSpec, EarlyTerminate, ForecastSpec, MedianSpec, MoAshaSpec
from hoir_ray.spec.schema import MetricSpec


def build_rule(spec: EarlyTerminate, *, metrics: Sequence[MetricSpec]) -> StoppingRule:
    """The rule that `early_terminate` asks for; all but `mo_asha` and `forecast` look at the first metric alone."""
    if isinstance(spec, MoAshaSpec):
        return MoAsha(spec, metrics=metrics)
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metrics[0])
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metrics[0])
    if isinstance(spec, ForecastSpec):
        return Forecast(spec, metrics=metrics)
    return NeverStop()
