"""Early stopping, a rule per file; `build_rule` picks the one that `early_terminate` names."""

from __future__ import annotations

from collections.abc import Sequence

from hoir_ray.search.stopping.asha import Asha
from hoir_ray.search.stopping.median import MedianStop
from hoir_ray.search.stopping.mo_asha import MoAsha
from hoir_ray.search.stopping.rule import NeverStop, StoppingRule
from hoir_ray.spec.schema import AshaSpec, MedianSpec, MetricSpec, MoAshaSpec, NoStopSpec


def build_rule(spec: AshaSpec | MoAshaSpec | MedianSpec | NoStopSpec, *, metrics: Sequence[MetricSpec]) -> StoppingRule:
    """The rule that `early_terminate` asks for; all but `mo_asha` look at the first metric alone."""
    if isinstance(spec, MoAshaSpec):
        return MoAsha(spec, metrics=metrics)
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metrics[0])
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metrics[0])
    return NeverStop()
