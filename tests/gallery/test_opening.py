"""Packages that opening a gallery needs, and options that apply to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from tests.gallery.toys import MODEL

from vireid.errors import ConfigError
from vireid.gallery import open_gallery
from vireid.gallery.options import CollectionOptions, ServerOptions
from vireid.gallery.server import ServerStore

WITHOUT = """
import sys
sys.modules.update({name: None for name in ("qdrant_edge", "qdrant_client", "torch")})
from vireid.errors import GalleryError
from vireid.gallery import open_gallery
for place in ("people", "http://localhost:6333/people"):
    try:
        open_gallery(place)
    except GalleryError as error:
        print(error)
"""


def test_without_the_packages_of_the_stores(tmp_path: Path) -> None:
    """They are an extra; neither needs the other, and a gallery needs no torch."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    edge, client = done.stdout.splitlines()
    assert edge.startswith("A gallery needs the package 'qdrant_edge', which cannot be found")
    assert client.startswith("A gallery needs the package 'qdrant_client', which cannot be found")
    assert "pip install 'vireid[gallery]'" in edge


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_options_of_new_collections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ServerOptions(collection=CollectionOptions(shards=2))
    with pytest.raises(ConfigError, match="which is a folder; expected the address of a coll"):
        open_gallery(tmp_path / "people", model=MODEL, create=True, options=options)
    assert list(tmp_path.iterdir()) == []
    client = QdrantClient(":memory:")
    for _ in range(2):
        assert capsys.readouterr().err == ""
        ServerStore(client, url="memory", collection="new", model=MODEL, options=options)
    assert "'new' exists and keeps its shards and replicas" in capsys.readouterr().err
