"""Access control and limits in front of every request.

Checks are ordered by cost: Host header, origin, token, announced size. Then the body is read, up to
the allowed size, and only a request that has arrived takes a place in the queue: slow uploads block
nobody.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vireid.app.limits import Limits
from vireid.app.tokens import LOCAL, Tokens

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
    """Access control, limits and security headers around an application.

    Args:
        app: The application.
        tokens: The accepted tokens; if empty, access needs no token.
        limits: Limits on requests.
        open_paths: Paths without gallery data, which bypass the token and the queue.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, limits: Limits, open_paths: Collection[str]
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits
        self._open = frozenset(open_paths)
        # With tokens nobody takes more than half of the queue.
        self._share = max(1, limits.queue // 2) if tokens else limits.queue
        self._active: Counter[str] = Counter()
        self._held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, send)
        elif scope["path"] in self._open:
            await self._app(scope, receive, send)
        elif self._is_full(scope["state"]["user"]):
            await _busy()(scope, receive, send)
        else:
            await self._run(scope, receive, send)

    def _is_full(self, user: str) -> bool:
        """Whether there is no place in the queue for another request of a user."""
        return self._active.total() >= self._limits.queue or self._active[user] >= self._share

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of a request, then let it take a place in the queue."""
        user, body = scope["state"]["user"], bytearray()
        try:
            refused = await self._read(receive, body)
            if refused is not None:
                await refused(scope, receive, send)
                return
            if self._is_full(user):
                await _busy()(scope, receive, send)
                return
            self._active[user] += 1
            try:
                await self._app(scope, _replay(bytes(body), receive), send)
            finally:
                self._active[user] -= 1
        finally:
            self._held -= len(body)

    async def _read(self, receive: Receive, body: bytearray) -> Response | None:
        """Append the parts of a body as they arrive; why the request is refused, if it is."""
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                while True:
                    message = await receive()
                    part = message.get("body", b"")
                    if len(body) + len(part) > self._limits.bytes:
                        return _problem(413, _too_large(self._limits))
                    if self._held + len(part) > self._limits.bodies:
                        return _busy()
                    body += part
                    self._held += len(part)
                    if not message.get("more_body", False):
                        return None
        except TimeoutError:
            return _problem(
                408,
                f"The upload did not arrive within {self._limits.upload_seconds:g} seconds; try "
                "again, or send less at once.",
                {"Connection": "close"},
            )

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        # With tokens DNS rebinding is harmless: a foreign page has no token.
        if not self._tokens and not is_loopback(_host_name(host)):
            return _problem(
                421,
                "The Host header is not a name of this machine; expected localhost or 127.0.0.1. "
                "Configure tokens to allow other names.",
            )
        if scope["path"] in self._open:
            return None
        origin = headers.get("origin")
        elsewhere = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        if elsewhere or (origin is not None and _host_of(origin) != host.lower()):
            return _problem(
                403,
                "The request comes from another site; expected the server's own page. A reverse "
                "proxy must pass the Host header on.",
            )
        user = LOCAL if not self._tokens else self._user(headers)
        if user is None:
            return _problem(
                401,
                "The token is missing or wrong; expected 'Authorization: Bearer TOKEN' with a "
                "token of this server.",
                {"WWW-Authenticate": "Bearer", "Connection": "close"},
            )
        scope.setdefault("state", {})["user"] = user
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._limits.bytes:
            return _problem(413, _too_large(self._limits))
        return None

    def _user(self, headers: Headers) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._tokens.user_of(token.strip()) if scheme.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that has arrived, for the application; then the disconnection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _busy() -> Response:
    return _problem(503, "The server is busy; try again later.", {"Retry-After": "1"})


def _too_large(limits: Limits) -> str:
    """The error of an upload with too many bytes."""
    return (
        f"The upload is too large; expected at most {limits.megabytes:g} MB in one request; "
        "send fewer or smaller images."
    )


def _host_name(host: str) -> str:
    """The name in a Host header, without port and IPv6 brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _host_of(origin: str) -> str:
    """Name and port of an Origin header."""
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
            # Personal data must not be cached.
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
