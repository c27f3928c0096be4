"""Signals to the tests' own process."""

import signal
import threading

__all__ = ["tell_this_process_to_stop"]


def tell_this_process_to_stop() -> None:
    """Do what SIGTERM does to a process that handles it.

    The handler is called as Python would call it. A true signal, were it not handled, would end the
    tests' process without a word; processes of their own get true ones.
    """
    assert threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    assert callable(handler), handler
    handler(signal.SIGTERM, None)
