"""Durations and sizes as a sweep YAML writes them: `90s`, `6h`, `512MiB`."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


_SIZES = {f"{u}{i}": (1024 if i else 1000) ** n for n, u in enumerate("KMGT", start=1) for i in ("", "i")}


def seconds(value: object) -> float:
    """`90s`, `20m`, `6h`, `2d`, `1h30m` or a plain number of seconds.

    Raises:
        ValueError: For anything else, or a duration that is not positive.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        total = float(value) if abs(value) < 1e15 else math.inf
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if not parts or "".join(n + u for n, u in parts) != str(value):
            raise ValueError("must be a duration such as 90s, 20m or 6h")
        total = sum(float(n) * _UNITS[u] for n, u in parts)
    if not 0 < total < math.inf:
        raise ValueError("must be a positive duration")
    return total


Duration = Annotated[float, BeforeValidator(seconds)]


def size_bytes(value: object) -> int:
    """`512MiB`, `4GiB`, `4GB` or a plain number of bytes.

    Raises:
        ValueError: For anything else, or less than 16 MiB, in which nothing can be trained.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?)B", str(value))
        if match is None:
            raise ValueError("must be a size such as 512MiB or 4GiB")
        total = int(min(float(match[1]), 1e15) * _SIZES[match[2]])
    if total < _SIZES["Mi"] * 16:
        raise ValueError("must be at least 16MiB")
    return total


Size = Annotated[int, BeforeValidator(size_bytes)]
