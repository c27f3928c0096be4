"""One network, one gallery and two servers for all tests of the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.people import TOKEN, Served, calibrate, copy, hosted, write_gallery, write_run
from tests.app.visitor import Visitor

from vireid.app.limits import Limits
from vireid.features import FeatureExtractor, load
from vireid.gallery import open_gallery


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "dlis")


@pytest.fixture(scope="session")
def extractor(run: Path) -> FeatureExtractor:
    return load(run)


@pytest.fixture(scope="session")
def gallery(extractor: FeatureExtractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery that nobody opens: copies of it are cheaper than making others."""
    folder = tmp_path_factory.mktemp("gallery")
    return write_gallery(folder / "people", extractor, files=folder / "files")


@pytest.fixture(scope="session")
def server(
    extractor: FeatureExtractor, gallery: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server as it is by default: this machine's own. Its gallery is calibrated."""
    made = copy(gallery, tmp_path_factory.mktemp("server"))
    calibrate(made)
    with hosted(made, extractor) as found:
        yield found


@pytest.fixture(scope="session")
def strict(
    extractor: FeatureExtractor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with a token, small limits and an empty gallery."""
    folder = tmp_path_factory.mktemp("strict")
    limits = Limits(queue=3, threads=1, upload_seconds=3, megabytes=0.2)
    with hosted(folder / "empty", extractor, limits=limits, tokens={"ada": TOKEN}) as found:
        yield found


@pytest.fixture(scope="module")
def made(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(gallery, tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def ada(made: Path, extractor: FeatureExtractor) -> Iterator[Visitor]:
    with open_gallery(made, model=extractor.model_info) as gallery:
        visitor = Visitor(gallery, extractor, made.parent / "log", read_only=True)
        yield visitor
        visitor.handlers.close()


@pytest.fixture
def owner(gallery: Path, extractor: FeatureExtractor, tmp_path: Path) -> Iterator[Visitor]:
    made = copy(gallery, tmp_path)
    with open_gallery(made, model=extractor.model_info, write=True) as opened:
        visitor = Visitor(opened, extractor, tmp_path / "log", images=True)
        yield visitor
        visitor.handlers.close()
