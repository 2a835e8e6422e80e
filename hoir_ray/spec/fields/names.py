"""Names of sweeps, which are folders in storage."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def is_sweep_name(name: str) -> bool:
    """Return whether a sweep can have this name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None and ".." not in name


def check_sweep_name(name: str) -> str:
    """Return `name` itself, when a sweep can have it.

    Raises:
        ValueError: Saying the rule.
    """
    if not is_sweep_name(name):
        raise ValueError(
            "must be 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit, without '..': "
            "it names a folder in storage"
        )
    return name


SweepName = Annotated[str, AfterValidator(check_sweep_name)]
