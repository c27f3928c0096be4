"""SIGTERM as a request to stop at the next good point."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["StopRequest", "catch_sigterm"]


@dataclass(slots=True)
class StopRequest:
    """Whether SIGTERM was received."""

    requested: bool = False


@contextlib.contextmanager
def catch_sigterm(on_request: Callable[[], None] | None = None) -> Iterator[StopRequest]:
    """Record SIGTERM within a block instead of ending the process.

    Outside the main thread, where Python allows no signal handler, nothing is caught: the caller
    owns the process.

    Args:
        on_request: Called in addition, at each SIGTERM.

    Yields:
        What tells whether the signal was received.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        del number, frame
        stop.requested = True
        if on_request is not None:
            on_request()

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)
