"""What stands in front of every request, over an application that only tells what it was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from tests.app.people import TOKEN

from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.security import Guard
from vireid.app.tokens import Tokens

ADA = {"authorization": f"Bearer {TOKEN}"}
TOKENS = Tokens({"ada": TOKEN})


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"user": request.state.user, "bytes": len(body)})


async def door(request: Request) -> JSONResponse:
    return JSONResponse({"door": True})


async def broken(request: Request) -> JSONResponse:
    raise RuntimeError


APP = Starlette(
    routes=[
        Route("/api/echo", echo, methods=["GET", "POST"]),
        Route("/api/broken", broken),
        Route("/", door),
    ],
    exception_handlers={
        HTTPException: lambda _, error: JSONResponse({}, error.status_code, error.headers)
    },
)


class Answer:
    """The status, headers and body of an answer, and how much of the request was read."""

    def __init__(self, sent: Sequence[Message], read: int) -> None:
        self.status: int = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.text = b"".join(part.get("body", b"") for part in sent[1:]).decode()
        self.read = read


async def call(
    guard: Guard,
    path: str,
    headers: dict[str, str],
    *,
    parts: Sequence[bytes] = (b"",),
    stalls: bool = False,
) -> Answer:
    """One request, its body in parts; one that stalls never sends the last part."""
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        if not waiting or (stalls and len(waiting) == 1):
            await asyncio.Event().wait()
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST" if parts != (b"",) else "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    try:
        await guard(scope, receive, send)
    except RuntimeError:
        assert path == "/api/broken"
    return Answer(sent, len(parts) - len(waiting))


def ask(
    path: str = "/api/echo",
    headers: dict[str, str] | None = None,
    *,
    tokens: Tokens = TOKENS,
    limits: Limits = DEFAULT_LIMITS,
    parts: Sequence[bytes] = (b"",),
    stalls: bool = False,
) -> Answer:
    guard = Guard(APP, tokens=tokens, limits=limits, open_paths={"/"})
    given = {"host": "localhost:80"} | (headers or {})
    return asyncio.run(call(guard, path, given, parts=parts, stalls=stalls))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong-token-wrong-token-wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"cookie": f"token={TOKEN}"},
    ],
)
def test_a_missing_or_wrong_token(headers: dict[str, str]) -> None:
    for path in ("/api/echo", "/api/none", "/none", "//", "/api/openapi.json"):
        answer = ask(path, headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "user" not in answer.text
    assert ask("/", headers).status == 200  # the page itself holds nothing


def test_the_token_says_who() -> None:
    assert json.loads(ask(headers=ADA).text)["user"] == "ada"
    assert json.loads(ask(headers={"authorization": f"bearer  {TOKEN}"}).text)["user"] == "ada"
    assert json.loads(ask(tokens=Tokens({})).text)["user"] == "local"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8350", "127.0.0.2:1", "[::1]:80", "LOCALHOST"]
)
def test_names_of_this_machine(host: str) -> None:
    assert ask(headers={"host": host}, tokens=Tokens({})).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "0.0.0.0"],
)
def test_rebound_names_are_refused(host: str) -> None:
    for path in ("/", "/api/echo"):
        assert ask(path, {"host": host}, tokens=Tokens({})).status == 421
    # With a token, whoever knows it may use any name: a page that was rebound does not.
    assert ask(headers=ADA | {"host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:81"},
        {"origin": "null"},
        {"origin": "http://[oops"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    assert ask(headers=ADA | headers).status == 403
    assert ask(headers=headers, tokens=Tokens({})).status == 403


def test_the_own_page_is_not() -> None:
    own = {"origin": "http://localhost:80", "sec-fetch-site": "same-origin"}
    assert ask(headers=ADA | own).status == 200


def test_every_answer_has_the_headers() -> None:
    for answer in (
        ask("/"),
        ask(headers=ADA),
        ask(),
        ask("/none", ADA),
        ask("/api/broken", ADA),
        ask(headers={"host": "x"}, tokens=Tokens({})),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_large_body_is_not_read_to_its_end() -> None:
    limits = Limits(megabytes=0.001)
    announced = ask(headers=ADA | {"content-length": "1001"}, limits=limits, parts=[b"x" * 1001])
    assert (announced.status, announced.read) == (413, 0)
    chunked = ask(headers=ADA, limits=limits, parts=[b"x" * 400] * 100)
    assert (chunked.status, chunked.read) == (413, 3)
    lying = ask(headers=ADA | {"content-length": "7"}, limits=limits, parts=[b"x" * 400] * 100)
    assert (lying.status, lying.read) == (413, 3)
    exact = ask(headers=ADA, limits=limits, parts=[b"x" * 500] * 2)
    assert json.loads(exact.text)["bytes"] == 1000


def test_a_body_that_does_not_arrive() -> None:
    limits = Limits(upload_seconds=0.05)
    assert ask(headers=ADA, limits=limits, parts=[b"x", b"y"], stalls=True).status == 408


def test_slow_uploads_take_no_place_in_the_queue() -> None:
    async def slow_and_others() -> list[int]:
        guard = Guard(APP, tokens=TOKENS, limits=Limits(queue=2), open_paths={"/"})
        given = ADA | {"host": "x"}
        slow = [
            asyncio.create_task(call(guard, "/api/echo", given, parts=[b"x", b"y"], stalls=True))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        others = [(await call(guard, "/api/echo", given)).status for _ in range(3)]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert guard._held == 0
        return others

    assert asyncio.run(slow_and_others()) == [200, 200, 200]


def test_bodies_of_all_requests_are_bounded() -> None:
    async def crowd() -> tuple[list[int], int]:
        limits = Limits(megabytes=0.001, queue=8)  # 2 bodies
        guard = Guard(APP, tokens=TOKENS, limits=limits, open_paths={"/"})
        given = ADA | {"host": "x"}
        slow = [
            asyncio.create_task(
                call(guard, "/api/echo", given, parts=[b"x" * 999, b"y"], stalls=True)
            )
            for _ in range(3)
        ]
        done, waiting = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        after = await call(guard, "/api/echo", given, parts=[b"x" * 999])
        return [task.result().status for task in done], after.status

    assert asyncio.run(crowd()) == ([503], 200)


def test_one_name_leaves_places_to_others() -> None:
    other = TOKEN[::-1]

    async def crowd() -> list[int]:
        opened, inside = asyncio.Event(), 0

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal inside
            inside += 1
            await opened.wait()
            await JSONResponse({})(scope, receive, send)

        tokens = Tokens({"ada": TOKEN, "bob": other})
        guard = Guard(slow, tokens=tokens, limits=Limits(queue=4), open_paths={"/"})
        ada = [asyncio.create_task(call(guard, "/x", ADA | {"host": "x"})) for _ in range(3)]
        bob = {"authorization": f"Bearer {other}", "host": "x"}
        guest = asyncio.create_task(call(guard, "/x", bob))
        while inside < 3:
            await asyncio.sleep(0)
        opened.set()
        return [(await task).status for task in (*ada, guest)]

    assert asyncio.run(crowd()) == [200, 200, 503, 200]


def test_beyond_the_queue_is_asked_to_come_again() -> None:
    async def crowd() -> tuple[list[int], Answer, Answer, Answer]:
        opened, inside = asyncio.Event(), 0

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal inside
            inside += 1
            await opened.wait()
            await JSONResponse({})(scope, receive, send)

        tokens = Tokens({"ada": TOKEN, "bob": TOKEN[::-1]})
        guard = Guard(slow, tokens=tokens, limits=Limits(queue=2), open_paths={"/"})
        given = ADA | {"host": "x"}
        bob = given | {"authorization": f"Bearer {TOKEN[::-1]}"}
        first = [asyncio.create_task(call(guard, "/api/echo", one)) for one in (given, bob)]
        while inside < 2:
            await asyncio.sleep(0)
        busy = await call(guard, "/api/echo", given)
        stranger = await call(guard, "/api/echo", {"host": "x"})
        opened.set()
        done = [(await one).status for one in first]
        return done, busy, stranger, await call(guard, "/api/echo", given)

    done, busy, stranger, later = asyncio.run(crowd())
    assert (done, busy.status, stranger.status, later.status) == ([200, 200], 503, 401, 200)
    assert int(busy.headers["retry-after"]) > 0
