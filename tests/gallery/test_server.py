"""Faults 34 and 37: a Qdrant server that is down, slow, invalid, or refuses, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.gallery.toys import MODEL, OTHER, row

from vireid.errors import ConfigError, GalleryError
from vireid.gallery import CollectionOptions, Filters, Gallery, ServerOptions, open_gallery
from vireid.gallery import server as server_store
from vireid.gallery.server import ServerStore
from vireid.types import ModelInfo

Answer = tuple[int, str]
"""A status and a body."""

VERSION = json.dumps({"title": "qdrant - vector search engine", "version": "1.20.0"})
NOT_THERE = json.dumps({"result": {"exists": False}, "status": "ok", "time": 0.0})
OLD_VERSION = VERSION.replace("1.20.0", "1.19.3")


class Server(ThreadingHTTPServer):
    """Gives the same response to all requests but that for its version."""

    daemon_threads = True

    def __init__(self, answer: Answer | None, version: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.version = answer, version
        self.none_yet = False
        self.keys: list[str | None] = []
        self.bodies: list[bytes] = []
        self.leave = threading.Event()

    @property
    def place(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/people"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.keys.append(self.headers.get("api-key"))
        server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answer = server.version if self.path == "/" else server.answer
        if server.none_yet and self.path.endswith("/exists"):
            answer = (200, NOT_THERE)
        if answer is None:  # a server that never answers
            server.leave.wait()
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""


@contextmanager
def serving(answer: Answer | None, version: Answer = (200, VERSION)) -> Iterator[Server]:
    with Server(answer, version) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.leave.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("everywhere", [False, True])
def test_wrong_api_key(status: int, everywhere: bool) -> None:
    """Fault 37; Qdrant returns its version without a key, a proxy may not."""
    refusal = (status, "Must provide an API key or an Authorization bearer token")
    with serving(refusal, refusal if everywhere else (200, VERSION)) as server:
        expected = rf"server at http://127.0.0.1:\d+ refuses the API key \(status {status}\)"
        with pytest.raises(GalleryError, match=f"{expected}.* variable QDRANT_API_KEY"):
            open_gallery(server.place, options=ServerOptions(api_key="wrong"))
        assert set(server.keys) == {"wrong"}


def test_api_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "of the environment")
    with serving((403, "")) as server, pytest.raises(GalleryError, match="refuses the API key"):
        open_gallery(server.place)
    assert set(server.keys) == {"of the environment"}


def test_server_is_down() -> None:
    """Fault 34."""
    with serving((200, "")) as server:
        place = server.place
    with pytest.raises(GalleryError, match=r"at http://127.0.0.1:\d+ cannot be reached .*start it"):
        open_gallery(place)


def test_server_is_slow() -> None:
    with (
        serving(None) as server,
        pytest.raises(GalleryError, match=r"at http://127.0.0.1:\d+ did not answer in time"),
    ):
        open_gallery(server.place, options=ServerOptions(timeout=1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, "<html>"), "does not answer as Qdrant does; expected the address of its REST port"),
        ((200, "{}"), "does not answer as Qdrant does"),
        ((200, "[]"), "does not answer as Qdrant does"),
        ((404, "{}"), "has no collection 'people'; expected one that `vireid gallery add`"),
        ((500, '{"status": {"error": "disk full"}}'), "refuses with status 500: .*disk full"),
        ((429, '{"status": {"error": "too many"}}'), r"is overloaded \(too many\); .* in 7 s"),
    ],
)
def test_invalid_responses(answer: Answer, message: str) -> None:
    for version in ((200, VERSION), answer):
        with serving(answer, version) as server, pytest.raises(GalleryError, match=message):
            open_gallery(server.place)


def test_old_server() -> None:
    with (
        serving((200, ""), (200, OLD_VERSION)) as server,
        pytest.raises(GalleryError, match=r"is version 1.19.3; expected 1.20 or later"),
    ):
        open_gallery(server.place)


def collection(model: ModelInfo | None) -> str:
    """A server's response about a collection."""
    client = QdrantClient(":memory:")
    vectors = models.VectorParams(size=MODEL.dimension, distance=models.Distance.DOT)
    metadata = None if model is None else {"vireid_model": asdict(model)}
    client.create_collection("people", vectors, metadata=metadata)
    result = client.get_collection("people").model_dump(mode="json")
    return json.dumps({"result": result, "status": "ok", "time": 0.0})


def test_collection_that_is_no_gallery() -> None:
    with (
        serving((200, collection(None))) as server,
        pytest.raises(GalleryError, match=r"'people' of .* is not a gallery: its metadata name no"),
    ):
        open_gallery(server.place)


def test_collection_of_another_network() -> None:
    """Fault 33."""
    with (
        serving((200, collection(OTHER))) as server,
        pytest.raises(GalleryError, match=r"network d4e5f6 .* the network in use is a1b2c3"),
    ):
        open_gallery(server.place, model=MODEL)


OPERATIONS: dict[str, Callable[[Gallery], object]] = {
    "add": lambda gallery: gallery.add([row(0)]),
    "calibration": lambda gallery: gallery.calibration,
    "count": lambda gallery: gallery.count(),
    "entry": lambda gallery: gallery.entry(row(0).info.id),
    "delete": lambda gallery: gallery.delete(Filters(cameras=("a",))),
    "save_calibration": lambda gallery: gallery.save_calibration("x"),
    "rows": lambda gallery: list(gallery.rows()),
    "search": lambda gallery: gallery.search(row(0).feature[None]),
    "search exactly": lambda gallery: gallery.search(row(0).feature[None], exact=True),
    "thumbnail": lambda gallery: gallery.thumbnail(row(0).info.id),
    "values": lambda gallery: gallery.count_by("camera"),
}


def test_every_operation_reports_a_server_that_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_store, "REFRESH", 0.0)
    with serving((200, collection(MODEL))) as server:
        gallery = open_gallery(server.place, write=True)
    with gallery:
        for operation in OPERATIONS.values():
            with pytest.raises(GalleryError, match=r"at http://127.0.0.1:\d+ cannot be reached"):
                operation(gallery)


@pytest.mark.parametrize(
    "place",
    [
        "http://localhost:6333",
        "http://localhost:6333/",
        "http://localhost:6333/a/b",
        "http:///people",
        "http://key@localhost/people",
        "https://localhost/people?x=1",
        "http://localhost:port/people",
        "http://localhost:99999/people",
        "http://two words/people",
    ],
)
def test_invalid_addresses(place: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a gallery; expected http"):
        open_gallery(place)


@pytest.mark.parametrize("name", ["timeout", "shards", "replicas"])
def test_invalid_options(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} of a gallery's server is 0; expected"):
        (ServerOptions if name == "timeout" else CollectionOptions)(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_interrupted_creation_is_completed() -> None:
    """It has no rows and names no network."""
    client = QdrantClient(":memory:")
    vectors = models.VectorParams(size=MODEL.dimension, distance=models.Distance.DOT)
    client.create_collection("people", vectors)
    with pytest.raises(GalleryError, match="is not a gallery"):
        ServerStore(client, url="memory", collection="people")
    assert ServerStore(client, url="memory", collection="people", model=MODEL).model == MODEL


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_a_gallery_of_another_version_is_refused() -> None:
    client = QdrantClient(":memory:")
    ServerStore(client, url="memory", collection="people", model=MODEL)
    client.update_collection("people", metadata={"vireid_version": 99})
    with pytest.raises(GalleryError, match="memory/people' has the format version 99"):
        ServerStore(client, url="memory", collection="people")


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_foreign_collection_with_rows_is_left_alone() -> None:
    client = QdrantClient(":memory:")
    vectors = models.VectorParams(size=MODEL.dimension, distance=models.Distance.DOT)
    client.create_collection("people", vectors)
    client.upsert("people", [models.PointStruct(id=1, vector=row(0).feature.tolist())])
    with pytest.raises(GalleryError, match="is not a gallery"):
        ServerStore(client, url="memory", collection="people", model=MODEL)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_traces_on_a_server_are_unknown() -> None:
    client = QdrantClient(":memory:")
    store = ServerStore(client, url="memory", collection="people", model=MODEL)
    gallery = Gallery(store, location="people", write=True)
    gallery.add([row(0)])
    gallery.delete(Filters(ids=(row(0).info.id,)))
    found = gallery.verify(deleted=[row(0)])
    assert (found.traces, found.passed) == (None, True)
    assert "cannot be seen from here" in str(found)


def test_options_reach_the_server() -> None:
    """On creating a collection; this server then refuses."""
    options = ServerOptions(collection=CollectionOptions(shards=3, replicas=2))
    with serving((507, "no room")) as server:
        server.none_yet = True
        with pytest.raises(GalleryError, match="refuses with status 507: no room"):
            open_gallery(server.place, model=MODEL, create=True, options=options)
        wish = json.loads(server.bodies[-1])
    assert (wish["shard_number"], wish["replication_factor"]) == (3, 2)
    assert wish["vectors"] == {"size": MODEL.dimension, "distance": "Dot"}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_calibration_of_another_process_is_seen_after_the_refresh_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = QdrantClient(":memory:")
    one, other = (
        Gallery(
            ServerStore(client, url="memory", collection="people", model=MODEL),
            location="people",
            write=True,
        )
        for _ in range(2)
    )
    assert one.calibration == other.calibration == ""
    other.save_calibration("new")
    assert (one.calibration, other.calibration) == ("", "new")
    monkeypatch.setattr(server_store, "REFRESH", 0.0)
    assert one.calibration == "new"


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_requests_stay_below_the_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    client = QdrantClient(":memory:")
    store = ServerStore(client, url="memory", collection="people", model=MODEL)
    upsert, sizes = client.upsert, []

    def counting(collection: str, points: list[models.PointStruct], **how: Any) -> object:
        sizes.append(len(points))
        return upsert(collection, points, **how)

    monkeypatch.setattr(client, "upsert", counting)
    rows = [row(number) for number in range(250)]
    assert store.insert(rows) == 250
    assert sizes == [100, 100, 50]
    assert store.insert(rows) == 0
    assert len(sizes) == 3
    # A server accepts 32 MiB by default; a row of DLIS, with its thumbnail in base64.
    values = np.random.default_rng(0).normal(size=3072).astype(np.float32)
    values /= np.linalg.norm(values)
    point = models.PointStruct(id=1, vector=values.tolist(), payload={"thumbnail": "x" * 20_000})
    assert len(point.model_dump_json()) * max(sizes) < 2**25
