"""Folders of unlabelled images, and a network to adapt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PEOPLE, IMAGES = 6, 5


def write_people(root: Path, *, people: int = PEOPLE, images: int = IMAGES, seed: int = 0) -> Path:
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


@pytest.fixture(scope="session")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("cameras"))
