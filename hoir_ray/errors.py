"""Errors that a user can act on; each becomes one line on stderr and an exit code.

HoirError
├── RequestError        exit 2: what was asked for cannot be done as it was written
│   ├── SpecError       a sweep YAML, an override or a parameter of it
│   ├── DataError       a picture, folder or table that cannot be represented
│   └── PackError       a model pack or checkpoint that is missing, broken or not what its manifest says
├── StorageError        exit 4: storage cannot be reached, read or written
├── WorkError           exit 1: the work was started and failed
│   └── DivergedError   a loss or metric became NaN or infinite
└── StoppedError        exit 130: the user or a scheduler ended it
"""

from __future__ import annotations

import re

_SECRETS = (
    (re.compile(r"(?<![\w/:])[^\s/@:'\"]+:(?!//)[^\s@'\"]+@(?=[\w.-]+)"), "***@"),
    (re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)(?:[^/@\s'\":]*:[^@\s'\"]*|[^/@\s'\"]+)@"), r"\1***@"),
    (
        re.compile(r"([?&;][^=&\s]*(?:token|key|secret|password|signature|credential)[^=&\s]*=)[^&\s'\"]+", re.I),
        r"\1***",
    ),
)


def masked(text: str) -> str:
    """Replace by *** what stands before the host in an address, and the values in a query that are named as secrets."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


class HoirError(Exception):
    """Root of the errors that are shown as one line, without a traceback. Secrets in addresses are masked."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))


class RequestError(HoirError):
    """The request was wrong; nothing was started and nothing was changed."""

    exit_code = 2


class SpecError(RequestError):
    """A sweep YAML, an override or one of its parameters breaks a rule."""


class DataError(RequestError):
    """A picture, folder or table is missing or cannot be represented."""


class PackError(RequestError):
    """A model pack or checkpoint is missing, broken or differs from its manifest."""


class StorageError(HoirError):
    """A storage location cannot be reached, read or written."""

    exit_code = 4


class WorkError(HoirError):
    """The work was started and did not succeed."""


class DivergedError(WorkError):
    """A loss or metric became NaN or infinite during training."""


class StoppedError(HoirError):
    """The work was ended by a signal; its message says what is kept."""

    exit_code = 130
