"""Frozen configuration models, and the dotted paths that a sweep YAML uses to reach into them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

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


_MOST_FINDINGS = 20


def explain(error: ValidationError, *, known: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Pydantic's findings as (dotted path, rule and value got) pairs, worded for a user.

    Args:
        known: Paths that exist, from which an unknown key's nearest neighbour is named.
    """
    findings = []
    items = error.errors()
    for item in items[:_MOST_FINDINGS]:
        path = _written(item["loc"], known=known)
        if item["type"] == "extra_forbidden":
            findings.append((path, f"unknown key{_did_you_mean(path, known)}"))
        elif item["type"] == "missing":
            findings.append((path, "is needed and was not given"))
        else:
            rule = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            shown = "" if isinstance(item["input"], Mapping) else f", got {shorten(item['input'])}"
            findings.append((path, f"{rule}{shown}"))
    if len(items) > _MOST_FINDINGS:
        findings.append(("others", f"{len(items) - _MOST_FINDINGS} more complaints"))
    return findings


def shorten(value: object) -> str:
    """A value as it is written, cut to 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _written(location: Iterable[int | str], *, known: Iterable[str]) -> str:
    """The path as a user writes it: pydantic also names the member of a union that it tried."""
    parts = [str(p) for p in location if not str(p).startswith("function-")]
    prefixes = {k.rsplit(".", keep)[0] for k in known for keep in range(k.count(".") + 1)}
    for end in range(1, len(parts)):
        parent, member = ".".join(parts[:end]), ".".join(parts[: end + 1])
        has_children = any(p.startswith(f"{parent}.") for p in prefixes)
        if has_children and end + 1 < len(parts) and member not in prefixes:
            return ".".join(parts[:end] + parts[end + 1 :])
    return ".".join(parts)


def _did_you_mean(path: str, known: Iterable[str]) -> str:
    parent, _, last = path.rpartition(".")
    siblings = {k.removeprefix(f"{parent}.").split(".")[0] for k in known if not parent or k.startswith(f"{parent}.")}
    if last in siblings:
        return f" here: '{last}' goes with another choice of {parent}"
    if nearest(last, siblings):
        return "." + nearest(last, siblings)
    return f". Known here: {', '.join(sorted(siblings))}" if siblings else ""


def config_paths(config: type[BaseModel], *, prefix: str = "") -> list[str]:
    """List the dotted paths to plain values in `config`, through optional parts and all members of a union."""
    paths: list[str] = []
    for name, info in config.model_fields.items():
        models = list(_models(info.annotation))
        if not models:
            paths.append(prefix + name)
        for model in models:
            paths += [p for p in config_paths(model, prefix=f"{prefix}{name}.") if p not in paths]
    return paths


def fields_at(config: type[BaseModel], path: str) -> list[TypeAdapter[Any]]:
    """Adapters that check a value at `path`; several when a union's members share the name, none when unknown."""
    name, _, rest = path.partition(".")
    info = config.model_fields.get(name)
    if info is None:
        return []
    if rest:
        return [field for model in _models(info.annotation) for field in fields_at(model, rest)]
    annotation: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    return [TypeAdapter(annotation)]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from _models(argument)


# What is no path although it stands where one may: a sample, or something of another scheme. Colons occur in names.
_ADDRESS = re.compile(r"sample:|[A-Za-z][A-Za-z0-9+.-]+://")


class _InputPath:
    """Marks a config's string as naming a file or folder that is read."""


InputPath = Annotated[str, _InputPath()]
# Several of them; one alone may be written without brackets.
InputPaths = Annotated[tuple[InputPath, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


def absolute_paths(config: type[BaseModel], values: Mapping[str, Any], *, base: Path) -> dict[str, Any]:
    """`values` with every `InputPath` field of `config` made absolute, relative ones being taken from `base`.

    Names with a scheme, such as `sample:astronaut` or `s3://bucket/key`, stay as they are.
    """
    return map_paths(config, values, lambda path: str((base / Path(path).expanduser()).absolute()))


def map_paths(config: type[BaseModel], values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """`values` with every file and folder that an `InputPath` field of `config` names replaced by `change` of it."""
    changed = dict(values)
    for name, info in config.model_fields.items():
        if name in changed and _is_input_path(info.annotation, info.metadata):
            changed[name] = _map_path(changed[name], change)
    return changed


def _is_input_path(annotation: Any, metadata: Iterable[Any] = ()) -> bool:
    if any(isinstance(m, _InputPath) for m in metadata):
        return True
    return any(_is_input_path(a, getattr(a, "__metadata__", ())) for a in get_args(annotation))


def _map_path(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_map_path(v, change) for v in value)
    if not isinstance(value, str) or not value or _ADDRESS.match(value):
        return value
    return change(value)
