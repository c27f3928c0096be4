"""Small images, and a packed cache of them to compare with decoding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vireid.data.cache import PackedImages, default_cache
from vireid.data.images import read_image, resized
from vireid.types import ImageRecord, Modality

SIZE = (12, 6)
"""Height and width of the packed images."""
ROW = 12 * 6 * 3
"""Bytes of a row."""
WHOLE = [".gz", ".lock", ".rgb"]
"""The kinds of files of a cache without leftovers."""


def write_bmp(path: Path, seed: int) -> None:
    """Write an image whose length does not depend on its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="BMP")


def change(path: Path, seed: int) -> None:
    """Give an image other content, and hide it as well as a program can."""
    before = after = path.stat()
    while after.st_ctime_ns == before.st_ctime_ns:  # until the file system's clock has ticked
        write_bmp(path, seed)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def record(path: Path) -> ImageRecord:
    return ImageRecord(path, 1, 1, Modality.VISIBLE)


def pack(records: Sequence[ImageRecord], root: Path) -> PackedImages:
    return PackedImages(records, size=SIZE, folder=default_cache(root), threads=1)


def decode(records: Sequence[ImageRecord]) -> torch.Tensor:
    """The images, decoded without a cache."""
    rows = [resized(read_image(r.path), SIZE) for r in records]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


def is_good(records: Sequence[ImageRecord], root: Path) -> bool:
    """Whether the cache gives the same pixels as decoding."""
    with pack(records, root) as packed:
        return torch.equal(packed.fetch(range(len(records))), decode(records))


def files(root: Path) -> list[str]:
    """The kinds of files in the cache."""
    return sorted(path.suffix for path in default_cache(root).iterdir())


def data_file(root: Path) -> Path:
    return next(default_cache(root).glob("*.rgb"))


def index_file(root: Path) -> Path:
    return default_cache(root) / "12x6.json.gz"
