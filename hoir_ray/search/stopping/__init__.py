"""Early stopping, a rule per file; `build_rule` picks the one that `early_terminate` names."""

from __future__ import annotations

from collections.abc import Sequence

from hoir_ray.search.stopping.asha import Asha
from hoir_ray.search.stopping.forecast import Forecast
from hoir_ray.search.stopping.median import MedianStop
from hoir_ray.search.stopping.mo_asha import MoAsha
from hoir_ray.search.stopping.rule import NeverStop, StoppingRule
from hoir_ray.spec.conditions import STATIC_METRICS, Condition, parse_condition
from hoir_ray.spec.early_terminate import AshaSpec, EarlyTerminate, ForecastSpec, MedianSpec, MoAshaSpec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.schema import SweepSpec


def rule_of(spec: SweepSpec) -> StoppingRule:
    """The rule of a sweep, over the metrics and constraints that an epoch can say something of."""
    known = [parse_condition(text) for text in spec.constraints]
    return build_rule(
        spec.early_terminate,
        metrics=(spec.epoch_metric, *spec.epoch_metrics[1:]),
        constraints=[c for c in known if not c.names <= STATIC_METRICS],
        compares=not spec.searches_size,
    )


def build_rule(
    spec: EarlyTerminate,
    *,
    metrics: Sequence[MetricSpec],
    constraints: Sequence[Condition] = (),
    compares: bool = True,
) -> StoppingRule:
    """The rule that `early_terminate` asks for; all but `mo_asha` and `forecast` look at the first metric alone.

    Args:
        constraints: For `forecast`, which stops what will break one.
        compares: For `forecast`, whether trials compete by the metrics.
    """
    if isinstance(spec, MoAshaSpec):
        return MoAsha(spec, metrics=metrics)
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metrics[0])
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metrics[0])
    if isinstance(spec, ForecastSpec):
        return Forecast(spec, metrics=metrics, constraints=constraints, compares=compares)
    return NeverStop()
