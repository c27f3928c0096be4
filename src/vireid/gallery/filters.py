"""Filters of a search, and its hits."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from vireid.times import in_utc
from vireid.types import ImageInfo, Modality

__all__ = ["EVERYTHING", "Filters", "Hit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions on entries; all must hold, and an empty one always does.

    A time without a zone is taken as UTC; an id that no entry has matches nothing.

    Attributes:
        cameras: One of these cameras.
        modality: This modality.
        since: Taken at this time or later; entries without a time do not match.
        until: Taken before this time; entries without a time do not match.
        identities: One of these identities.
        tracklets: One of these tracklets; their names are unique within a camera.
        note: The note contains this text, ignoring case.
        ids: One of these entries.
        without_ids: None of these entries.
        retained_before: ``ImageInfo.retained_since`` is before this time.
    """

    cameras: tuple[str, ...] = ()
    modality: Modality | None = None
    since: datetime | None = None
    until: datetime | None = None
    identities: tuple[str, ...] = ()
    tracklets: tuple[str, ...] = ()
    note: str = ""
    ids: tuple[str, ...] = ()
    without_ids: tuple[str, ...] = ()
    retained_before: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until", "retained_before"):
            time = getattr(self, name)
            if time is not None:
                object.__setattr__(self, name, in_utc(time))
        # As entries keep their texts.
        for name in ("cameras", "identities", "tracklets"):
            texts = tuple(unicodedata.normalize("NFC", text) for text in getattr(self, name))
            object.__setattr__(self, name, texts)
        object.__setattr__(self, "note", unicodedata.normalize("NFC", self.note))

    def match(self, info: ImageInfo) -> bool:
        """Whether an entry meets all conditions, from its own values instead of an index."""
        kept = info.retained_since
        return (
            (not self.cameras or info.camera in self.cameras)
            and self.modality in {None, info.modality}
            and (self.since is None or (info.time is not None and info.time >= self.since))
            and (self.until is None or (info.time is not None and info.time < self.until))
            and (not self.identities or info.identity in self.identities)
            and (not self.tracklets or info.tracklet in self.tracklets)
            and self.note.casefold() in info.note.casefold()
            and (not self.ids or info.id in self.ids)
            and info.id not in self.without_ids
            and (self.retained_before is None or (kept is not None and kept < self.retained_before))
        )

    @property
    def only_ids(self) -> bool:
        """Whether entries are named by their ids alone."""
        return bool(self.ids) and self == Filters(ids=self.ids, without_ids=self.without_ids)


EVERYTHING = Filters()
"""No condition: every entry."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Attributes:
        info: Metadata of the image.
        score: Cosine of its feature and the query's, in [-1, 1].
        feature: Its feature, float32 ``[d]``; None unless requested.
    """

    info: ImageInfo
    score: float
    feature: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
