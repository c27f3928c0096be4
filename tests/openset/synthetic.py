"""Synthetic features: clusters of unit vectors, one a person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vireid.types import Features, ImageRecord, Modality

__all__ = ["synthetic_people"]


def synthetic_people(
    seed: int,
    *,
    people: int,
    visible: int = 3,
    infrared: int = 2,
    cameras: Mapping[Modality, int] | None = None,
    noise: float = 0.6,
    size: int = 16,
) -> Features:
    """Features of people with a number of images of each modality, spread over its cameras."""
    rng = np.random.default_rng(seed)
    records, rows = [], []
    for person in range(people):
        centre = rng.normal(size=size)
        for modality, count in ((Modality.VISIBLE, visible), (Modality.INFRARED, infrared)):
            for number in range(count):
                several = (cameras or {}).get(modality, 1)
                camera = number % several + (1 if modality is Modality.VISIBLE else 11)
                path = Path(f"{person}-{modality}-{number}.png")
                records.append(ImageRecord(path, person + 1, camera, modality))
                rows.append(centre + noise * rng.normal(size=size))
    values = np.reshape(rows, (len(rows), size))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Features(values.astype(np.float32), tuple(records))
