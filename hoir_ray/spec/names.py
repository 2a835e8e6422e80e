"""Names of sweeps, which are folders in storage."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def check_sweep_name(name: str) -> str:
    """Return `name` itself, when a sweep can have it.

    Raises:
        ValueError: Saying the rule.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or ".." in name:
        raise ValueError(
            "must be 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit, without '..': "
            "it names a folder in storage"
        )
    return name


SweepName = Annotated[str, AfterValidator(check_sweep_name)]
