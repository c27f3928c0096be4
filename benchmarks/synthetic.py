"""Synthetic images for benchmarks: noise that takes as long to decode as a photograph."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vireid.data.layouts import DataSource
from vireid.types import Modality

__all__ = ["write_images"]

_SIZE = (110, 270)
"""Width and height, in pixels: about those of SYSU-MM01's and SynVI's boxes."""
_QUALITY = 90


def write_images(folder: Path, *, identities: int, images: int, split: str) -> DataSource:
    """Write JPEG files and a manifest of them.

    Args:
        folder: The target folder.
        identities: Number of identities.
        images: Images per identity and modality.
        split: Value of the column "split".

    Returns:
        The data set.
    """
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "identity", "camera", "modality", "split"])
        for number, (identity, modality) in enumerate(_identities(identities, images)):
            name = f"{number:05d}.jpg"
            _image(rng, grey=modality is Modality.INFRARED).save(folder / name, quality=_QUALITY)
            camera = 1 if modality is Modality.VISIBLE else 2
            table.writerow([name, identity, camera, modality.value, split])
    return DataSource(layout="manifest", root=folder / "manifest.csv")


def _identities(identities: int, images: int) -> Iterator[tuple[int, Modality]]:
    for identity in range(1, identities + 1):
        for modality in Modality:
            yield from [(identity, modality)] * images


def _image(rng: np.random.Generator, *, grey: bool) -> Image.Image:
    """A smooth random colour pattern with noise."""
    width, height = _SIZE
    coarse = rng.integers(0, 256, (height // 15, width // 15, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BICUBIC))
    grained = np.clip(smooth + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)
    image = Image.fromarray(grained)
    return image.convert("L").convert("RGB") if grey else image
