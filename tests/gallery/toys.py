"""Small galleries of distinct rows, and reference results by loops."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.gallery import Filters, Gallery
from vireid.types import ImageInfo, IndexedImage, Modality, ModelInfo

DIMENSION = 24
MODEL = ModelInfo(fingerprint="a1b2c3", dimension=DIMENSION, about={"recipe": "toy"})
OTHER = ModelInfo(fingerprint="d4e5f6", dimension=DIMENSION)
START = datetime(2024, 2, 28, 23, 59, tzinfo=UTC)

NewGallery = Callable[..., Gallery]
"""Creates an empty gallery, of MODEL by default."""

CAMERAS = ("", "entrance", "Entrance", "north 2", 'with "quotes"', "Tür 3")
IDENTITIES = ("", "0001", "0002", "Ann")
TRACKLETS = ("", "7", "é 8")
NOTES = ("", "red coat", "Red Coat, backpack", "STRASSE", "straße", "İstanbul", "50 % off_x*")
TIMES = (
    None,
    START,
    START + timedelta(microseconds=1),
    datetime(2024, 2, 29, 1, 29, tzinfo=timezone(timedelta(hours=1, minutes=30))),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 7, 1, 12),
)


def unit(seed: int) -> NDArray[np.float32]:
    """A unit feature, float32 ``[d]``."""
    values = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (values / np.linalg.norm(values)).astype(np.float32)


@cache
def picture(seed: int) -> bytes:
    """A small JPEG."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def row(number: int) -> IndexedImage:
    """The row of a number."""
    entry = ImageInfo(
        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
        modality=list(Modality)[number % 2],
        added=START + timedelta(hours=number),
        path=Path("/images" if number % 3 else "", f"{number:06}.jpg"),
        camera=CAMERAS[number % len(CAMERAS)],
        identity=IDENTITIES[number // 2 % len(IDENTITIES)],
        time=TIMES[number // 3 % len(TIMES)],
        tracklet=TRACKLETS[number % len(TRACKLETS)],
        note=NOTES[number % len(NOTES)],
    )
    return IndexedImage(entry, unit(number), picture(number))


def changed(row: IndexedImage, **changes: object) -> IndexedImage:
    """A copy with other metadata."""
    return replace(row, info=replace(row.info, **changes))  # type: ignore[arg-type]


def matches(row: IndexedImage, filters: Filters) -> bool:
    """Whether a row matches the filters, condition by condition."""
    entry = row.info
    if filters.cameras and entry.camera not in filters.cameras:
        return False
    if filters.modality is not None and entry.modality is not filters.modality:
        return False
    if filters.since is not None and (entry.time is None or entry.time < filters.since):
        return False
    if filters.until is not None and (entry.time is None or entry.time >= filters.until):
        return False
    if filters.identities and entry.identity not in filters.identities:
        return False
    if filters.tracklets and entry.tracklet not in filters.tracklets:
        return False
    if filters.note.casefold() not in entry.note.casefold():
        return False
    if filters.ids and entry.id not in filters.ids:
        return False
    if entry.id in filters.without_ids:
        return False
    assert entry.added is not None
    first = entry.added if entry.time is None else min(entry.added, entry.time)
    return filters.retained_before is None or first < filters.retained_before


def ranked(
    rows: Sequence[IndexedImage], query: NDArray[np.float32], filters: Filters
) -> list[tuple[str, float]]:
    """Ids and cosines of the matching rows, best first, then by id; in float64."""
    scores = []
    for one in rows:
        if matches(one, filters):
            cosine = sum(float(a) * float(b) for a, b in zip(one.feature, query, strict=True))
            scores.append((one.info.id, cosine))
    return sorted(scores, key=lambda pair: (-pair[1], pair[0]))


def same(one: IndexedImage, other: IndexedImage) -> bool:
    """Whether two rows are equal, bit for bit."""
    return (
        one.info == other.info
        and one.thumbnail == other.thumbnail
        and one.feature.dtype == other.feature.dtype
        and np.array_equal(one.feature, other.feature)
    )


def by_id(rows: Sequence[IndexedImage]) -> list[IndexedImage]:
    """Rows in the order of their ids."""
    return sorted(rows, key=lambda row: row.info.id)
