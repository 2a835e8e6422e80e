"""The sizes of networks that a sweep's constraints leave, known from the configs alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hoir_ray.spec.conditions import Condition

NUM_BETWEEN = 500


def feasible_sizes(conditions: Sequence[Condition], *, smallest: int, largest: int) -> tuple[int, int] | None:
    """The least and the greatest number of parameters, of those between two, that break no condition; None if all do.

    Looked at are the two ends, places spread evenly between them, and each number that a condition names.
    """
    named = {round(float(n)) for c in conditions for n in re.findall(r"\d+(?:\.\d*)?(?:[eE][-+]?\d{1,2})?", c.text)}
    step = max(1, (largest - smallest) // NUM_BETWEEN)
    sizes = {smallest, largest, *range(smallest, largest, step), *(n + d for n in named for d in (-1, 0, 1))}
    left = [n for n in sizes if smallest <= n <= largest and all(c.holds({"num_parameters": n}) for c in conditions)]
    return (min(left), max(left)) if left else None
