"""Connections on which nothing moves are closed, so that silent visitors cannot use up the server.

uvicorn bounds neither how long a request may take to arrive nor how long an answer may wait to be
read: visitors who send nothing, a byte now and then, or never read would stay for ever.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST", "patient"]

MOST = 512
"""Connections that may be open at once; each costs a file feature, of which the gallery and the
audit log need some too, and a process often has no more than 1,024."""


def patient(seconds: float) -> type[H11Protocol]:
    """A connection that is closed when it has been of no use for some time.

    Args:
        seconds: How long a whole request head may take, however slowly it drips in, from the
            opening of the connection or the end of the last answer; and how long an answer may
            wait without a byte of it being taken.
    """

    class Connection(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None
        _left = math.inf  # of the answer, in bytes, when it was last looked at

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > MOST:
                transport.abort()
            self._wait()

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
            self._waiting = self.loop.call_later(seconds, self._look)

        def _look(self) -> None:
            left = self.transport.get_write_buffer_size()
            if 0 < left < self._left:
                self._wait(left)
            elif left:
                # Closing would wait for the answer to be read first.
                self.transport.abort()
            elif self.cycle is None or self.cycle.response_complete:
                # A request that is being answered or uploaded has its own time limit.
                self.transport.close()

    return Connection
