"""`notify:` of a sweep YAML: commands and addresses that are told how the sweep ended."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator

from hoir_ray.errors import RequestError
from hoir_ray.machine.addresses import check_web_address
from hoir_ray.machine.loopback import is_loopback

MAX_TARGETS = 10
_RULE = "must be a command, a list of its words, an https:// address, or $NAME of the environment that holds one"


def check_target(target: object) -> str | tuple[str, ...]:
    """Return a target as it is kept: an address, a command as one line or as words, or `$NAME` of the environment.

    Raises:
        ValueError: Saying the rule. An address may hold no user, password or query, as the YAML is kept with results.
    """
    if isinstance(target, (list, tuple)):
        words = tuple(target)
        if not words or not all(isinstance(w, str) and "\0" not in w for w in words) or not words[0].strip():
            raise ValueError(_RULE)
        return words
    if not isinstance(target, str) or not target.strip() or "\0" in target:
        raise ValueError(_RULE)
    if is_address(target):
        try:
            check_web_address(target, source="address")
        except RequestError as error:
            rule = str(error).removeprefix("address: ").partition(", got ")[0]
            raise ValueError(f"{rule}; put an address with a secret into the environment, and give $ITS_NAME") from None
        check_encrypted(target)
    elif variable_of(target) is None:
        split_command(target)
    return target


_Target = Annotated[Any, PlainValidator(check_target, json_schema_input_type=str | list[str])]
# A list is one of targets; a single command or address may be written without brackets.
NotifyTargets = Annotated[
    tuple[_Target, ...],
    BeforeValidator(lambda v: (v,) if isinstance(v, str) else v),
    Field(max_length=MAX_TARGETS),
]


def variable_of(target: str) -> str | None:
    """The variable of the environment that holds the target, for `$NAME`."""
    found = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", target)
    return found[1] if found else None


def is_address(target: str) -> bool:
    """Return whether a target is an address, of whatever scheme, and not a command."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", target) is not None


def check_encrypted(url: str) -> None:
    """Refuse plain http to other machines.

    Raises:
        ValueError: Saying the rule.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError("must be an https:// address; http:// is for localhost alone")


def split_command(line: str) -> tuple[str, ...]:
    """The words of a command, as a shell would read them; nothing in them is expanded.

    Raises:
        ValueError: If there is none, or a quote is not closed.
    """
    try:
        words = tuple(shlex.split(line))
    except ValueError as error:
        raise ValueError(f"is no command: {str(error).lower()}") from None
    if not words or not words[0]:
        raise ValueError(_RULE)
    return words
