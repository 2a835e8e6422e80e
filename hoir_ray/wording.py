"""Words for trials: the same in the live view, the event lines and the commands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from hoir_ray.spec.parameters import Scalar

_PREFIXES = ("network.", "training.optimizer.", "training.", "data.")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Control characters but for tab and newline, marks that reverse a line, line separators, and halves of pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BARS = "▁▂▃▄▅▆▇█"
# How a terminal colours each state; the states that are failures are red.
STATE_STYLES = {"FINISHED": "green", "PRUNED": "yellow", "RUNNING": "cyan", "PENDING": "dim"}


def short_name(path: str) -> str:
    """A parameter's path without the part that everybody knows: `network.input.segments` is `input.segments`."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            shortened = path.removeprefix(prefix)
            return "optimizer" if path == "training.optimizer.name" else shortened
    return path


def printable(text: str) -> str:
    """Foreign text as one may print it: what would steer a terminal, or reorder a line, is written out as `\\x1b`."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), _COLOURS.sub("", text))


def number(value: float) -> str:
    """Four significant digits, whole numbers in full with thousands marked."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def settings(parameters: Mapping[str, Scalar], *, only: Sequence[str] | None = None) -> str:
    """`layer_type=fourier width=32`: parameters in the order given, those in `only` when it is given."""
    shown = {k: v for k, v in parameters.items() if only is None or k in only}
    return " ".join(f"{short_name(k)}={_value(v)}" for k, v in shown.items())


def sparkline(values: Sequence[float], *, width: int = 16) -> str:
    """A curve as `width` block characters at most, the lowest value lowest."""
    finite = [v for v in values if v == v and abs(v) != float("inf")]
    if not finite:
        return ""
    step = max(1.0, len(finite) / width)
    picked = [finite[min(len(finite) - 1, int((i + 1) * step) - 1)] for i in range(min(width, len(finite)))]
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(_BARS[int((v - low) / span * (len(_BARS) - 1))] for v in picked)


def mean_over_seeds(mean: float, deviation: float, *, num_seeds: int) -> str:
    """Mean, standard deviation and number of seeds: `27.1 ± 0.12 (3)`."""
    shown = f" ± {number(deviation)}" if num_seeds > 1 else ""
    return f"{number(mean)}{shown} ({num_seeds})"


def counts_by_state(counts: Mapping[str, int]) -> str:
    """`12 finished, 3 pruned`: trials by state, most first."""
    return ", ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items(), key=lambda item: -item[1]) if n)


def size(num_bytes: int) -> str:
    """`800 kB`, `1.2 MB` or `20 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes} bytes"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _value(value: Scalar) -> str:
    return number(value) if isinstance(value, float) else str(value)


def some(names: Sequence[str], *, most: int = 5) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def quoted(text: str, *, most: int = 60) -> str:
    """Foreign text in quotes, cut to `most` characters, control characters escaped."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")
