"""Ctrl-C and SIGTERM, the first of which ends work in order and the second at once; the end of the process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NATIVE_THREAD = "hoir-native-call"  # name of a thread as long as it may be in native code


@contextmanager
def on_interrupt(stop: Callable[[str], bool], *, signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Call `stop` with the name of a signal instead of ending the process.

    Outside the main thread, where Python sets no handlers, nothing changes.

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


def end_process(code: int) -> NoReturn:
    """Exit; at once where a thread was left in native code, which crashes when the interpreter is taken down."""
    if any(thread.name == NATIVE_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
