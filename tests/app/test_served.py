"""The server on a real socket, and visitors who do not behave."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest
from tests.app.people import PEOPLE, TOKEN, Served, copy, photograph, served

from vireid.cli.serve import QueryLogging, serve
from vireid.errors import ConfigError, GalleryError

ADA = {"Authorization": f"Bearer {TOKEN}"}


def crowd(server: Served, number: int, headers: dict[str, str]) -> list[httpx.Response]:
    """So many searches at once, each on a connection of its own."""

    async def asking() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=number)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=120) as client:
            files = [photograph(n % PEOPLE, grey=True, frame=n) for n in range(number)]
            return await asyncio.gather(
                *(
                    client.post("/api/search", files={"images": ("q.png", data)}, headers=headers)
                    for data in files
                )
            )

    return asyncio.run(asking())


def test_a_hundred_searches_at_once(server: Served) -> None:
    answers = crowd(server, 100, {})
    found = [answer for answer in answers if answer.status_code == 200]
    busy = [answer for answer in answers if answer.status_code == 503]
    assert len(found) + len(busy) == 100
    assert len(found) >= 64  # as many as wait, by default
    assert all(int(answer.headers["retry-after"]) > 0 for answer in busy)
    for answer in found:
        groups = answer.json()["groups"]
        assert sum(map(len, groups)) == 3 * PEOPLE
    # And it is well afterwards.
    assert httpx.get(f"{server.url}health").json() == {"status": "ok"}


def test_a_short_queue_loses_nobody(strict: Served) -> None:
    answers = crowd(strict, 40, ADA)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("retry-after" in a.headers for a in answers if a.status_code == 503)
    assert all(answer.headers["x-frame-options"] == "DENY" for answer in answers)
    assert all(answer.json()["groups"] == [] for answer in answers if answer.status_code == 200)


def raw(server: Served) -> socket.socket:
    url = httpx.URL(server.url)
    assert url.port is not None
    return socket.create_connection((url.host, url.port), timeout=60)


def listens(server: Served) -> bool:
    try:
        raw(server).close()
    except ConnectionError:
        return False
    return True


def head(length: int) -> bytes:
    lines = [
        "POST /api/search HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def test_an_upload_that_does_not_end(strict: Served) -> None:
    with raw(strict) as connection:
        connection.sendall(head(1000) + b"--b\r\n")
        answer = whole(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 3 seconds" in answer


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: lo"])
def test_a_connection_that_asks_for_nothing(strict: Served, begun: bytes) -> None:
    with raw(strict) as connection:
        connection.sendall(begun)
        assert whole(connection) == b""


def test_too_large_an_upload_is_answered(strict: Served) -> None:
    files = {"images": ("a.png", b"x" * 3_000_000)}
    announced = httpx.post(f"{strict.url}api/search", files=files, headers=ADA, timeout=60)
    assert announced.status_code == 413

    def parts() -> list[bytes]:
        return [b"x" * 65_536] * 40

    headers = ADA | {"Content-Type": "multipart/form-data; boundary=b"}
    opening = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    body = iter([opening, *parts()])  # of a length that is not announced
    chunked = httpx.post(f"{strict.url}api/search", content=body, headers=headers, timeout=60)
    assert chunked.status_code == 413
    assert "at most 0.2 MB" in chunked.json()["detail"]


def test_nothing_without_the_token(strict: Served) -> None:
    for path in ("api/info", "api/entries", "api/openapi.json", "docs", "metrics"):
        assert httpx.get(f"{strict.url}{path}").status_code == 401
    assert httpx.get(f"{strict.url}api/info", headers=ADA).json()["user"] == "ada"
    answer = httpx.get(strict.url)
    assert answer.status_code == 200
    assert "server" not in answer.headers


def test_the_end_waits_for_who_is_served(run: Path, gallery: Path, tmp_path: Path) -> None:
    """The verb itself, in a process of its own, with its words and its environment."""
    made, log = copy(gallery, tmp_path), tmp_path / "log"
    words = ["--read-only", "--megabytes", "0.2", "--audit", str(log)]
    with served(made, run, words, environment={"VIREID_TOKENS": f"ada {TOKEN}"}) as server:
        assert httpx.get(f"{server.url}api/info").status_code == 401
        info = httpx.get(f"{server.url}api/info", headers=ADA).json()
        assert (info["user"], info["entries"], info["read_only"]) == ("ada", 3 * PEOPLE, True)
        assert info["limits"]["megabytes"] == 0.2
        body = (
            b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
            + photograph(2, grey=True)
            + b"\r\n--b--\r\n"
        )
        with raw(server) as connection:
            connection.sendall(head(len(body)) + body[:-1])
            # A second connection shows that the first request has reached the server.
            assert httpx.get(f"{server.url}health").status_code == 200
            server.process.terminate()
            while listens(server):
                pass
            connection.sendall(body[-1:])
            answer = whole(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"2-hall-0.png" in answer
        assert server.process.wait(timeout=60) == 0
    events = [json.loads(event) for event in log.read_text().splitlines()]
    assert [(event["user"], event["action"]) for event in events] == [("ada", "search")]


def test_what_it_refuses_to_start_with(
    run: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = str(copy(gallery, tmp_path))
    monkeypatch.delenv("VIREID_TOKENS", raising=False)
    for host in ("0.0.0.0", "::", "example.org"):
        with pytest.raises(ConfigError, match="would expose the gallery to everybody"):
            serve(made, run=run, host=host)
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="cannot be served on"),
    ):
        serve(made, run=run, port=taken.getsockname()[1])
    with pytest.raises(GalleryError, match="is not a gallery"):
        serve(str(tmp_path / "none"), run=run, port=0)
    beside = QueryLogging().open(str(tmp_path / "people"))
    assert beside.file == tmp_path / "people.audit.jsonl"
    beside.close()
    nowhere = QueryLogging(audit=tmp_path / "no" / "log")
    with pytest.raises(ConfigError, match="--audit"):
        serve(made, run=run, port=0, logging=nowhere)
