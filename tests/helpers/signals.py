"""Signals to the tests' own process."""

import signal
import threading

__all__ = ["tell_this_process_to_stop"]


def tell_this_process_to_stop() -> None:
    """Send SIGTERM to the tests' own process, where that does not end it."""
    assert threading.current_thread() is threading.main_thread()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    signal.raise_signal(signal.SIGTERM)
