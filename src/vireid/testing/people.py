"""A tiny data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["IDENTITIES", "write_people"]

IDENTITIES = 5
"""Identities of each split."""
_COLOURS = ((200, 60, 40), (50, 170, 60), (40, 70, 200), (210, 190, 40), (150, 60, 180))


def write_people(folder: Path, *, images: int = 3) -> Path:
    """Write a manifest and its images: five identities to train on and five to test on.

    Each image is the flat colour of its identity with a little noise, grey in infrared.

    Args:
        folder: The folder to write.
        images: Images of an identity in each modality.

    Returns:
        The manifest, for the layout ``manifest``.
    """
    rng = np.random.default_rng(0)
    rows = ["path,identity,camera,modality,split"]
    folder.mkdir(parents=True, exist_ok=True)
    for split, first in (("train", 1), ("test", 101)):
        for identity, colour in enumerate(_COLOURS, first):
            for camera, modality in enumerate(("visible", "infrared"), 1):
                for number in range(images):
                    pixels = np.clip(rng.normal(colour, 12, (48, 24, 3)), 0, 255).astype(np.uint8)
                    image = Image.fromarray(pixels)
                    file = folder / f"{identity}-{camera}-{number}.png"
                    (image.convert("L") if modality == "infrared" else image).save(file)
                    rows.append(f"{file.name},{identity},{camera},{modality},{split}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest
