"""The application on a socket."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from vireid.app.connections import connection_class, max_connections
from vireid.app.limits import Limits
from vireid.app.security import is_loopback
from vireid.app.tokens import VARIABLE, Tokens
from vireid.errors import ConfigError

__all__ = ["create_server", "listen", "url_of"]


def listen(host: str, port: int, *, tokens: Tokens) -> socket.socket:
    """Open the socket of the server.

    Args:
        host: A name or address of this machine.
        port: The port; 0 selects a free one.
        tokens: Required unless the host is loopback.

    Raises:
        ConfigError: The host is reachable by others and there is no token; or the socket cannot be
            opened.
    """
    if not tokens and not is_loopback(host):
        raise ConfigError(
            f"--host {host} would expose the gallery to everybody who can reach this machine; "
            f"expected tokens, by --token-file or {VARIABLE}, or a loopback host such as 127.0.0.1"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be served on ({error}); expected an address of "
            "this machine and a free port: choose another one"
        ) from error


def url_of(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def create_server(app: ASGIApp, *, limits: Limits) -> uvicorn.Server:
    """Create a server, to be run on a socket with ``run([socket])``.

    It runs until SIGINT or SIGTERM, or until its ``should_exit`` is set, and finishes requests in
    progress.

    Args:
        app: The application.
        limits: The timeout of connections.
    """
    logging.getLogger("asyncio").addFilter(_without_repetition())
    config = uvicorn.Config(
        app,
        http=connection_class(limits.upload_seconds),
        ws="none",
        backlog=max_connections(),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=20,
    )
    return uvicorn.Server(config)


def _without_repetition() -> Callable[[logging.LogRecord], bool]:
    """Pass each message once: without a free file descriptor asyncio repeats one without end."""
    seen = set[str]()

    def new(record: logging.LogRecord) -> bool:
        text = str(record.msg).split("\n", 1)[0]
        if text in seen:
            return False
        seen.add(text)
        return True

    return new
