"""Frozen configuration models, and the dotted paths that a sweep YAML uses to reach into them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hoir_ray.errors import SpecError


class Config(BaseModel):
    """One frozen object is YAML schema, hyperparameters of a checkpoint and what `render` reads back.

    Unknown keys are errors, numbers must be finite, and values are hashable, so that a config can be a cache key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A ` Did you mean 'x'?` for the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths into nested dictionaries: `{"a.b": 1}` becomes `{"a": {"b": 1}}`.

    Raises:
        SpecError: If one path is a prefix of another, such as `a` and `a.b`.
    """
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        node = nested
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise SpecError(f"{path}: '{parent}' is set to {child!r} and cannot hold '{last}' as well")
            node = child
        if last in node:
            raise SpecError(f"{path}: given twice, once as a whole and once by its parts")
        node[last] = value
    return nested


def flatten(nested: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries into dotted paths; the inverse of `nest`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, prefix=f"{path}."))
        else:
            flat[path] = value
    return flat


def explain(error: ValidationError, *, known: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Pydantic's findings as (dotted path, rule and value got) pairs, worded for a user.

    Args:
        known: Paths that exist, from which an unknown key's nearest neighbour is named.
    """
    findings = []
    for item in error.errors():
        parts = [str(p) for p in item["loc"] if not (isinstance(p, str) and p.startswith("function-"))]
        path = ".".join(parts)
        if item["type"] == "extra_forbidden":
            findings.append((path, f"unknown key{_did_you_mean(path, known)}"))
        elif item["type"] == "missing":
            findings.append((path, "is needed and was not given"))
        else:
            rule = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            shown = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
            findings.append((path, f"{rule}{shown}"))
    return findings


def _did_you_mean(path: str, known: Iterable[str]) -> str:
    parent, _, last = path.rpartition(".")
    siblings = {k.removeprefix(f"{parent}.").split(".")[0] for k in known if not parent or k.startswith(f"{parent}.")}
    return "." + nearest(last, siblings) if nearest(last, siblings) else f". Known here: {', '.join(sorted(siblings))}"
