"""Connections on which nothing moves, and more connections than a process can hold."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.responses import Response

from vireid.app import connections
from vireid.app.connections import connection_class

LARGE = Response(b"x" * 20_000_000)
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def against(
    visit: Callable[[uvicorn.Server, int], Coroutine[Any, Any, None]], *, seconds: float
) -> None:
    """Let somebody visit a server whose every answer is large, in one event loop."""

    async def both() -> None:
        config = uvicorn.Config(
            LARGE, http=connection_class(seconds), lifespan="off", log_level="warning"
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            async with asyncio.timeout(60):
                await visit(server, listening.getsockname()[1])
            server.should_exit = True
            await serving

    asyncio.run(both())


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # What is not read waits at the server, not here.
    return await asyncio.open_connection("127.0.0.1", port, limit=1024)


async def until_gone(server: uvicorn.Server) -> None:
    while server.server_state.connections or server.server_state.tasks:
        await asyncio.sleep(0)


@pytest.mark.parametrize("asked", [1, 3])
def test_an_answer_that_is_not_read(asked: int) -> None:
    """It is thrown away, with those that wait behind it on the same connection."""

    async def visit(server: uvicorn.Server, port: int) -> None:
        _, writer = await connect(port)
        writer.write(ASK * asked)
        while not server.server_state.total_requests:
            await asyncio.sleep(0)
        await until_gone(server)
        writer.close()

    against(visit, seconds=0.2)


def test_an_answer_that_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    async def visit(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connect(port)
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(LARGE.body))
        writer.close()
        await until_gone(server)

    against(visit, seconds=30)
    assert capfd.readouterr().err == ""


def test_who_reads_slowly_gets_on() -> None:
    looks: list[Callable[[], None]] = []
    ends: list[str] = []
    left = iter([900, 900 - 64, 900 - 64])
    connection: Any = object.__new__(connection_class(1))
    connection.cycle = None
    connection.loop = SimpleNamespace(call_later=lambda _, look: looks.append(look))
    connection.transport = SimpleNamespace(
        get_write_buffer_size=lambda: next(left), abort=lambda: ends.append("aborted")
    )
    connection._wait()
    looks.pop()()
    looks.pop()()
    assert ends == []
    looks.pop()()
    assert (ends, looks) == (["aborted"], [])


@pytest.mark.parametrize(("descriptors", "most"), [(200, 50), (1024, 256), (1, 1)])
def test_connections_follow_the_limit_of_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, 4096))
    assert connections.max_connections() == most


def test_a_request_for_a_websocket_gets_no_advice(capfd: pytest.CaptureFixture[str]) -> None:
    async def visit(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connect(port)
        head = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write(ASK[:-2] + head)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
        await until_gone(server)

    against(visit, seconds=30)
    assert capfd.readouterr().err == ""


def test_more_connections_than_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)

    async def visit(server: uvicorn.Server, port: int) -> None:
        held = [await connect(port) for _ in range(2)]
        while len(server.server_state.connections) < 2:
            await asyncio.sleep(0)
        reader, refused = await connect(port)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert json.loads(body)["detail"].startswith("The server has too many connections")
        refused.close()
        for reader, writer in held:  # they are served nevertheless
            writer.write(ASK)
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
        await until_gone(server)

    against(visit, seconds=30)
