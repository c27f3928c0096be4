"""What a gallery knows of an image, what is asked of it, and what it answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireid.types import Modality

__all__ = ["EVERYTHING", "Entry", "Filters", "Hit", "Model", "Row", "id_of"]


def id_of(sha256: str) -> str:
    """The id of an image: a UUID that is the first half of the SHA-256 of its file's bytes.

    The same bytes have the same id, so that adding an image twice changes nothing.

    Args:
        sha256: The SHA-256, 64 hexadecimal digits.
    """
    return str(uuid.UUID(hex=sha256[:32]))


def _zoned(time: datetime) -> datetime:
    """The same time at a fixed offset of whole minutes; without a zone it is taken as UTC.

    Named zones are left behind: two times in the hour that a zone has twice are never equal.
    """
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    offset = time.utcoffset() or timedelta(0)
    # RFC 3339 knows no seconds in an offset; zones of long ago have them.
    return time.astimezone(UTC if offset % timedelta(minutes=1) else timezone(offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image of a gallery, without its feature; a time without a zone is taken as UTC.

    Attributes:
        sha256: SHA-256 of the file's bytes, in hexadecimal.
        name: What the file was called, for people to read; never used as a path.
        modality: The light it was taken in.
        added: When it was added, with a time zone.
        path: Where the file lay when it was added from the shell; None for an uploaded one.
        camera: Which camera took it, as its owner calls it; empty where unknown.
        identity: Whom it shows, as its owner calls them; empty where unknown.
        time: When it was taken, with a time zone; None where unknown.
        note: Free text.
    """

    sha256: str
    name: str
    modality: Modality
    added: datetime
    path: Path | None = None
    camera: str = ""
    identity: str = ""
    time: datetime | None = None
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "added", _zoned(self.added))
        if self.time is not None:
            object.__setattr__(self, "time", _zoned(self.time))

    @property
    def id(self) -> str:
        """The entry's id, a UUID made of its content."""
        return id_of(self.sha256)

    @property
    def kept_since(self) -> datetime:
        """From when retention counts: when it was taken or added, whichever came first."""
        return self.added if self.time is None else min(self.time, self.added)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """An entry with all that is stored beside it.

    Attributes:
        entry: What is known of the image.
        feature: Unit feature, float32 ``[d]``.
        thumbnail: A small JPEG of the image; empty where it was not asked for.
    """

    entry: Entry
    feature: NDArray[np.float32]
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which entries are asked for; all conditions must hold, and an empty one always does.

    A time without a zone is taken as UTC; an id that no entry has matches nothing.

    Attributes:
        cameras: One of these cameras.
        modality: This modality.
        since: Taken at this time or later; entries without a time do not match.
        until: Taken before this time; entries without a time do not match.
        identities: One of these identities.
        note: The note contains this text, whatever the case of its letters.
        ids: One of these entries.
        kept_before: ``kept_since`` lies before this time.
    """

    cameras: tuple[str, ...] = ()
    modality: Modality | None = None
    since: datetime | None = None
    until: datetime | None = None
    identities: tuple[str, ...] = ()
    note: str = ""
    ids: tuple[str, ...] = ()
    kept_before: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until", "kept_before"):
            time = getattr(self, name)
            if time is not None:
                object.__setattr__(self, name, _zoned(time))


EVERYTHING = Filters()
"""No condition: every entry."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer to a search.

    Attributes:
        entry: The image found.
        score: Cosine of its feature and the query's, in [-1, 1].
    """

    entry: Entry
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The network whose features a gallery holds.

    Attributes:
        fingerprint: Short name of exactly its weights.
        dimension: Length of its features.
        about: What it is, as text by name, such as its recipe.
    """

    fingerprint: str
    dimension: int
    about: tuple[tuple[str, str], ...] = ()
