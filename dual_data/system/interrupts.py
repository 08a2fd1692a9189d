"""Ctrl-C: the message after it, and termination signals handled like it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def say_stopped() -> None:
    """Say that Ctrl-C ended the command, in a new line, since the terminal shows ^C where the cursor is."""
    print("\nstopped; run the same command again to go on", file=sys.stderr, flush=True)


@contextmanager
def stopped_as_by_hand() -> Iterator[None]:
    """In this block SIGTERM and SIGHUP act as Ctrl-C does, so that it can clean up; by default they end it at once.

    Handlers other than the default stay, and outside the main thread, where none can be set, nothing changes.
    """
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has no SIGHUP
    replaced = [number for number in signals if signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
