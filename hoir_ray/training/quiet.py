"""Lightning without its advice: what it says at the start of every fit would be said by every trial of a sweep."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("lightning.pytorch", "lightning.fabric")
_ADVICE = (
    r".*create_graph=True will create a reference cycle.*",  # the cycle is broken at the end of each step
    r".*GPU available but not used.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Errors pass; notices about hardware, ranks and settings that we chose on purpose do not."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
