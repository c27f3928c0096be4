"""An entry as the payload of a point and back, and filters as conditions: one for both stores."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery.filters import Filters
from vireid.times import format_time, parse_time
from vireid.types import ImageInfo, IndexedImage, Modality

__all__ = [
    "INDEXED",
    "THUMBNAIL",
    "Conditions",
    "Lookup",
    "info_of",
    "is_id",
    "payload_of",
    "row_of",
    "thumbnail_of",
]

THUMBNAIL = "thumbnail"
"""The key that is excluded unless thumbnails are requested."""

INDEXED: Mapping[str, Literal["keyword", "datetime"]] = {
    "camera": "keyword",
    "modality": "keyword",
    "identity": "keyword",
    "tracklet": "keyword",
    "tracklet_key": "keyword",
    "folded_note": "keyword",
    "time": "datetime",
    "retained_since": "datetime",
}
"""The filtered keys, with the type of their index."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a filter index is asked when it is compared with the rows.

    Attributes:
        key: The indexed key.
        value: A text, or a time in UTC.
        without: None asks for all rows with the value, which the index finds by value. Ids ask for
            those of them without the value, for which it looks up each row.
    """

    key: str
    value: str | datetime
    without: tuple[str, ...] | None = None


ConditionT = TypeVar("ConditionT")


@dataclass(frozen=True)
class Conditions(Generic[ConditionT]):
    """How an engine writes conditions on points.

    Attributes:
        any_of: The value of a key is one of these.
        contains: The value of a key contains this text.
        between: The time at a key exists, is not before the first, and is before the second.
        ids: The point has one of these ids.
        none_of: The point has none of these ids.
        neither: The opposite of a condition.
    """

    any_of: Callable[[str, list[str]], ConditionT]
    contains: Callable[[str, str], ConditionT]
    between: Callable[[str, datetime | None, datetime | None], ConditionT]
    ids: Callable[[list[str]], ConditionT]
    none_of: Callable[[list[str]], ConditionT]
    neither: Callable[[ConditionT], ConditionT]

    def of(self, filters: Filters | Lookup) -> Iterator[ConditionT]:
        """The conditions that the payloads of matching entries fulfil, all of them."""
        if isinstance(filters, Lookup):
            yield from self._of_lookup(filters)
            return
        if filters.cameras:
            yield self.any_of("camera", list(filters.cameras))
        if filters.modality is not None:
            yield self.any_of("modality", [filters.modality.value])
        if filters.identities:
            yield self.any_of("identity", list(filters.identities))
        if filters.tracklets:
            yield self.any_of("tracklet", list(filters.tracklets))
        if filters.note:
            yield self.contains("folded_note", filters.note.casefold())
        if filters.since is not None or filters.until is not None:
            yield self.between("time", filters.since, filters.until)
        if filters.retained_before is not None:
            yield self.between("retained_since", None, filters.retained_before)
        if filters.ids:
            yield self.ids([id for id in filters.ids if is_id(id)])
        if excluded := [id for id in filters.without_ids if is_id(id)]:
            yield self.none_of(excluded)

    def _of_lookup(self, lookup: Lookup) -> Iterator[ConditionT]:
        key, value = lookup.key, lookup.value
        if isinstance(value, str):
            condition = self.any_of(key, [value])
        else:
            condition = self.between(key, value, value + timedelta(microseconds=1))
        if lookup.without is None:
            yield condition
        else:
            yield self.ids(list(lookup.without))
            yield self.neither(condition)


def is_id(text: str) -> bool:
    """Whether a text is an id as :func:`~vireid.types.id_of` writes them."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def payload_of(row: IndexedImage) -> dict[str, Any]:
    """The payload of a row: what is known of its image, its thumbnail, and what filters compare."""
    info = row.info
    payload = {
        "path": str(info.path),
        "sha256": info.sha256,
        "modality": info.modality,
        "camera": info.camera,
        "identity": info.identity,
        "tracklet": info.tracklet,
        "tracklet_key": info.tracklet_key,
        "note": info.note,
        "folded_note": info.note.casefold(),
        THUMBNAIL: base64.b64encode(row.thumbnail).decode(),
    }
    times = {"time": info.time, "added": info.added, "retained_since": info.retained_since}
    return payload | {name: format_time(time) for name, time in times.items() if time is not None}


def info_of(id: str, payload: Mapping[str, Any] | None) -> ImageInfo:
    """The reverse of :func:`payload_of`, without the thumbnail.

    Raises:
        GalleryError: The payload is not one that :func:`payload_of` made.
    """
    found = payload or {}
    try:
        time = found.get("time")
        info = ImageInfo(
            path=Path(found["path"]),
            sha256=found["sha256"],
            modality=Modality(found["modality"]),
            camera=found["camera"],
            identity=found["identity"],
            tracklet=found["tracklet"],
            note=found["note"],
            time=None if time is None else parse_time(time),
            added=parse_time(found["added"]),
        )
        belongs = info.id == id
    except (KeyError, ValueError, TypeError) as error:
        raise GalleryError(_damaged(id, repr(error))) from error
    if not belongs:
        raise GalleryError(_damaged(id, f"its SHA-256 is '{info.sha256}'"))
    return info


def thumbnail_of(id: str, payload: Mapping[str, Any] | None) -> bytes:
    """The thumbnail of a payload; empty where it has none.

    Raises:
        GalleryError: It is not base64.
    """
    try:
        return base64.b64decode((payload or {}).get(THUMBNAIL, ""), validate=True)
    except (ValueError, TypeError) as error:
        raise GalleryError(_damaged(id, f"its thumbnail is not base64: {error}")) from error


def row_of(id: str, payload: Mapping[str, Any] | None, vector: object) -> IndexedImage:
    """The row of a point.

    Args:
        id: The point's id.
        payload: What is stored with it.
        vector: Its feature, a list of numbers.

    Raises:
        GalleryError: A part is missing or damaged.
    """
    return IndexedImage(info_of(id, payload), _feature_of(id, vector), thumbnail_of(id, payload))


def _feature_of(id: str, vector: object) -> NDArray[np.float32]:
    if not isinstance(vector, list):
        raise GalleryError(_damaged(id, "it has no feature"))
    return np.array(vector, dtype=np.float32)


def _damaged(id: str, reason: str) -> str:
    return (
        f"Entry '{id}' of the gallery is damaged ({reason}); expected what vireid wrote: delete "
        "it by its id and add its image again."
    )
