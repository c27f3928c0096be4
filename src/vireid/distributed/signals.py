"""SIGTERM and SIGINT (Ctrl-C) as a request to stop at the next good point."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["StopRequest", "catch_stop"]


@dataclass(slots=True)
class StopRequest:
    """Whether a signal was received, and which.

    Attributes:
        signal: SIGTERM or SIGINT; None until it is received.
    """

    signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status of a process that stops as requested; that of SIGTERM by default."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def catch_stop(on_request: Callable[[], None] | None = None) -> Iterator[StopRequest]:
    """Record SIGTERM and the first Ctrl-C within a block instead of ending the process.

    Outside the main thread, where Python allows no signal handler, nothing is caught: the caller
    owns the process. Where SIGINT is ignored, it stays so.

    Args:
        on_request: Called in addition, at each signal.

    Yields:
        The request.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if number == stop.signal == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = signal.Signals(number)
        if on_request is not None:
            on_request()

    caught = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        caught.append(signal.SIGINT)
    previous = {number: signal.signal(number, handle) for number in caught}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
