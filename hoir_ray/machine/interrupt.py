"""Ctrl-C and SIGTERM: the first one ends work in order, the second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(stop: Callable[[str], bool], *, signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Call `stop` with the name of a signal instead of ending the process.

    Outside the main thread, where Python sets no handlers, nothing changes. Starting Ray sets its own handler for
    SIGTERM, so this is to be entered again afterwards.

    Args:
        stop: Begins an orderly end and returns True; False, when one is under way already, raises KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in signals}

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not stop(signal.Signals(number).name):
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one set in C, which Python cannot set again
                signal.signal(number, handler)
