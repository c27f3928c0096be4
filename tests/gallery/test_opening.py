"""Packages that opening a gallery needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
