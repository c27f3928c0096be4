"""Folders of unlabelled images."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_people(root: Path, *, people: int = 6, images: int = 5, seed: int = 0) -> Path:
    """Folders day/ and night/ of people with bands of their own, coloured by day.

    Args:
        root: The folder to write.
        people: Number of people.
        images: Images of a person in either folder.
        seed: Seed of the bands and of the noise.
    """
    rng = np.random.default_rng(seed)
    for folder in ("day", "night"):
        (root / folder).mkdir(parents=True)
    for person in range(people):
        bands = rng.integers(30, 220, size=(6, 1, 1))
        tint = rng.integers(-25, 25, size=(6, 1, 3))
        for folder, colour in (("day", tint), ("night", 0)):
            flat = np.repeat(bands + colour, 8, axis=0)
            for number in range(images):
                noise = rng.normal(scale=5, size=(48, 24, 1))
                pixels = np.broadcast_to(flat + noise, (48, 24, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / folder / f"p{person}_{number}.png")
    return root
