"""Connections that ask for nothing are closed, so that idle ones cannot use up the server."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["patient"]


def patient(seconds: float) -> type[H11Protocol]:
    """A connection that waits so long for a whole request head, however slowly it drips in.

    Args:
        seconds: From the opening of the connection or the end of the last answer.
    """

    class Connection(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._waiting is not None:
                self._waiting.cancel()

        def _wait(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
            self._waiting = self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            # A request that is being answered or uploaded has its own time limit.
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Connection
