"""Serving: the application on a real socket, until it is told to end."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from vireid.app.connections import patient
from vireid.app.limits import Limits
from vireid.app.security import is_loopback
from vireid.app.tokens import VARIABLE, Tokens
from vireid.errors import ConfigError

__all__ = ["address", "listen", "server_of"]


def listen(host: str, port: int, *, tokens: Tokens) -> socket.socket:
    """Open the socket to serve on.

    Args:
        host: A name or address of this machine.
        port: The port; 0 takes a free one.
        tokens: Without any, only this machine itself may be served.

    Raises:
        ConfigError: The host is reachable by others and there is no token; or it cannot be served
            on.
    """
    if not tokens and not is_loopback(host):
        raise ConfigError(
            f"--host {host} would open the gallery to everybody who can reach this machine; "
            f"expected tokens, by --token-file or {VARIABLE}, or else a loopback host such as "
            "127.0.0.1"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be served on ({error}); expected an address of "
            "this machine and a free port: choose another one"
        ) from error


def address(listening: socket.socket) -> str:
    """The URL that a socket is reached at."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server_of(app: ASGIApp, *, limits: Limits) -> uvicorn.Server:
    """A server, to be run on a socket by ``run([socket])``.

    It answers requests until SIGINT or SIGTERM, or until its ``should_exit`` is set; what is being
    answered then is finished first.

    Args:
        app: What answers.
        limits: How long a connection may be silent.
    """
    config = uvicorn.Config(
        app,
        http=patient(limits.upload_seconds),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=20,
    )
    return uvicorn.Server(config)
