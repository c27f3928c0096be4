"""Timeouts of idle connections, so that slow clients cannot exhaust the server.

uvicorn limits neither the time to receive a request nor the time to send a response: clients that
send nothing, send a byte now and then, or never read would stay connected for ever.
"""

from __future__ import annotations

import asyncio
import math
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MAX_CONNECTIONS", "connection_class", "max_connections"]

MAX_CONNECTIONS = 512
"""Maximum number of open connections."""

_DETAIL = b'{"detail": "The server has too many connections; try again later."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_DETAIL), _DETAIL)
)
"""What a further connection gets, whatever it asks for, before it is closed."""


def max_connections() -> int:
    """The number of connections that the process has file descriptors for.

    As many again may have to be accepted before they can be closed, and the gallery, the audit log
    and the decoding of images need the other half.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_CONNECTIONS, descriptors // 4))


def connection_class(timeout: float) -> type[H11Protocol]:
    """A protocol class whose connections are closed after a timeout.

    Args:
        timeout: Seconds from the opening of the connection, or the end of the last response, until
            the head of a request must be complete; also the time in which the client must read
            at least one byte of a response.
    """
    most = max_connections()

    class Connection(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None
        _left = math.inf  # unsent bytes of the response at the last check

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.write(_FULL)
                transport.close()
            self._wait()

        def _unsupported_upgrade_warning(self) -> None:
            """No advice to install a package for WebSockets, which the server has no use for."""

        def pause_writing(self) -> None:
            super().pause_writing()
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._waiting is not None:
                self._waiting.cancel()

        def _wait(self, left: float = math.inf) -> None:
            self._left = left
            if self._waiting is not None:
                self._waiting.cancel()
            self._waiting = self.loop.call_later(timeout, self._check)

        def _check(self) -> None:
            left = self.transport.get_write_buffer_size()
            if 0 < left < self._left:
                self._wait(left)
            elif left:
                # Closing would wait until the response is read.
                self.transport.abort()
            elif self.cycle is None or self.cycle.response_complete:
                # A request in progress has its own time limit.
                self.transport.close()

    return Connection
