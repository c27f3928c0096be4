"""What stands in front of every request: who may come in, from where, with how much, how many.

The order is that of cost: the name that the server was called by, the page that calls, the token,
the size that is announced, a place in the queue; only then is the body read, and never more of it
than is allowed.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vireid.app.limits import Limits
from vireid.app.tokens import Tokens

__all__ = ["Guard", "is_loopback"]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """An application with everything that has to happen before and around it.

    Args:
        app: The application.
        tokens: Who may come in; everybody where there are none.
        limits: How much, and how many.
        open_paths: Paths that need no token and no place in the queue: they hold nothing of the
            gallery.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, limits: Limits, open_paths: Collection[str]
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits
        self._open = frozenset(open_paths)
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, send)
        elif scope["path"] in self._open:
            await self._app(scope, receive, send)
        elif self._inside >= self._limits.queue:
            busy = _problem(503, "The server is busy; come again soon.", {"Retry-After": "1"})
            await busy(scope, receive, send)
        else:
            self._inside += 1
            try:
                await self._app(scope, self._bounded(receive), send)
            finally:
                self._inside -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        # With tokens a strange name does no harm: a page that reached the server by it has none.
        if not self._tokens and not is_loopback(_name_of(host)):
            return _problem(
                421,
                "The server was called by a name that is not this machine's own; expected "
                "localhost or 127.0.0.1. Set tokens to serve it under other names.",
            )
        if scope["path"] in self._open:
            return None
        origin = headers.get("origin")
        elsewhere = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        if elsewhere or (origin is not None and _place_of(origin) != host.lower()):
            return _problem(
                403,
                "Another site's page asked; expected the server's own page. Behind a proxy, let it "
                "pass the Host header on.",
            )
        who = "local" if not self._tokens else self._who(headers)
        if who is None:
            return _problem(
                401,
                "The token is missing or wrong; expected 'Authorization: Bearer TOKEN' with a "
                "token of this server.",
                {"WWW-Authenticate": "Bearer", "Connection": "close"},
            )
        scope.setdefault("state", {})["who"] = who
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._limits.bytes:
            return _problem(413, _too_large(self._limits))
        return None

    def _who(self, headers: Headers) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._tokens.who(token.strip()) if scheme.lower() == "bearer" else None

    def _bounded(self, receive: Receive) -> Receive:
        """A body that ends in an error where it is too long or too slow."""
        deadline = asyncio.get_running_loop().time() + self._limits.upload_seconds
        arrived, whole = 0, False

        async def bounded() -> Message:
            nonlocal arrived, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408,
                    "The upload did not arrive within "
                    f"{self._limits.upload_seconds:g} seconds; try again, or send less at once.",
                    {"Connection": "close"},
                ) from None
            arrived += len(message.get("body", b""))
            if arrived > self._limits.bytes:
                raise HTTPException(413, _too_large(self._limits))
            whole = not message.get("more_body", False)
            return message

        return bounded


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only mean this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _too_large(limits: Limits) -> str:
    """What is said of an upload with too many bytes."""
    return (
        f"The upload is too large; expected at most {limits.megabytes:g} MB in one request; "
        "send fewer or smaller pictures."
    )


def _name_of(host: str) -> str:
    """The name in a Host header, without the port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place_of(origin: str) -> str:
    """Name and port in an Origin header."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            # What is about people stays out of every cache.
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
