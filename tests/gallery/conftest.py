"""Galleries on each store."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from tests.gallery.toys import MODEL, NewGallery

from vireid.gallery import Gallery, open_gallery
from vireid.gallery.server import ServerStore
from vireid.types import ModelInfo

SERVER = os.environ.get("VIREID_TEST_QDRANT_URL", "").rstrip("/")
STORES = ("embedded", "memory", *(["server"] if SERVER else []))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder in memory if there is space: these tests kill processes, not disks."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    with tempfile.TemporaryDirectory(prefix="vireid-", dir=memory if roomy else None) as folder:
        yield Path(folder)


@pytest.fixture
def place(scratch: Path) -> Iterator[Path]:
    """A folder for an embedded gallery, deleted afterwards."""
    folder = scratch / uuid.uuid4().hex
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The embedded store, the client's in-memory server, and a real server if one is configured."""
    return str(request.param)


@pytest.fixture
def new_gallery(store: str, scratch: Path) -> Iterator[NewGallery]:
    """A factory of galleries that are deleted after the test."""
    with galleries(store, scratch) as new:
        yield new


@pytest.fixture(scope="module")
def lasting_gallery(store: str, scratch: Path) -> Iterator[NewGallery]:
    """A factory of galleries that the tests of a module share."""
    with galleries(store, scratch) as new:
        yield new


@contextmanager
def galleries(store: str, scratch: Path) -> Iterator[NewGallery]:
    with ExitStack() as leaving:

        def new(model: ModelInfo = MODEL) -> Gallery:
            name = uuid.uuid4().hex
            if store == "memory":
                client = QdrantClient(":memory:")
                rows = ServerStore(client, url=store, collection=name, model=model)
                return leaving.enter_context(Gallery(rows, location=name, write=True))
            if store == "server":
                leaving.callback(QdrantClient(url=SERVER).delete_collection, name)
                return leaving.enter_context(
                    open_gallery(f"{SERVER}/{name}", model=model, create=True)
                )
            leaving.callback(shutil.rmtree, scratch / name)
            return leaving.enter_context(open_gallery(scratch / name, model=model, create=True))

        yield new
