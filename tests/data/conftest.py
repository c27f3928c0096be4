"""A tiny data set, and what is decoded of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.packed import record, write_bmp

from vireid.data import images
from vireid.data.images import read_image
from vireid.data.tone_mapping import ToneMapping
from vireid.types import ImageRecord


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def records(root: Path) -> list[ImageRecord]:
    for i in range(8):
        write_bmp(root / f"{i}.bmp", i)
    return [record(root / f"{i}.bmp") for i in range(8)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded, in order where one thread does it."""
    names: list[str] = []

    def noting(path: Path, tone_mapping: ToneMapping) -> Image.Image:
        names.append(path.name)
        return read_image(path, tone_mapping)

    monkeypatch.setattr(images, "read_image", noting)
    return names
