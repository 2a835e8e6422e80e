"""The sweep: search space, searcher, stopping, trials and workers. The only home of Ray and Optuna."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoir_ray.notebook import FoundSweep
    from hoir_ray.spec import SweepSpec


class _Sweep(ModuleType):
    """`hoir_ray.sweep` names this package and, in a notebook, what one does with it."""

    def __call__(
        self, spec: SweepSpec | Mapping[str, Any] | str | Path, *, address: str | None = None, add_trials: int = 0
    ) -> FoundSweep:
        """Run a sweep given as a YAML file, its contents, or a spec, and open what it found; as `hoir sweep`."""
        from hoir_ray.sweep.call import run

        return run(spec, address=address, add_trials=add_trials)


sys.modules[__name__].__class__ = _Sweep
