"""Saved searches: queries that are kept with a gallery, to compare later arrivals with.

A saved search holds the feature of its query, not the image. It is deleted with the entries of its
query images, and by retention as an entry is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vireid.errors import ConfigError, GalleryError
from vireid.gallery.filters import EVERYTHING, Filters
from vireid.types import Modality

__all__ = ["MOST_SEARCHES", "SavedSearch", "parse_searches", "searches_to_json"]

MOST_SEARCHES = 100
"""Saved searches of a gallery."""

_NAME = re.compile(r"[\w.@-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSearch:
    """A search that is kept.

    Attributes:
        name: Its name: letters, digits and ``_.@-``.
        saved: When it was saved.
        ids: The ids that its query images have, or would have, as entries.
        modality: The modality of the query; None of images of both.
        camera: Their camera; empty if unknown or several.
        vector: The unit feature, float32 ``[d]``, in base64.
        threshold: The score from which an entry matches; None leaves it to the calibration, which
            takes a query of one image.
        filters: The entries that it is compared with.

    Raises:
        ConfigError: The name or the threshold is invalid.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    saved: datetime
    ids: tuple[str, ...]
    modality: Modality | None
    camera: str
    vector: str
    threshold: float | None = None
    filters: Filters = EVERYTHING

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"'{self.name[:80]}' is no name of a search; expected 1 to 64 letters, digits and"
                " the characters _.@-; choose another name."
            )
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigError(
                f"The threshold {self.threshold:g} is out of range; expected a score from -1 to 1,"
                " as `vireid gallery search` prints them."
            )

    @property
    def feature(self) -> NDArray[np.float32]:
        """The unit feature, float32 ``[d]``."""
        return np.frombuffer(base64.b64decode(self.vector), dtype=np.float32)

    @staticmethod
    def encoded(feature: NDArray[np.float32]) -> str:
        """A feature as ``vector`` holds it."""
        return base64.b64encode(feature.astype(np.float32).tobytes()).decode()


_SEARCHES = TypeAdapter(tuple[SavedSearch, ...])


def searches_to_json(searches: Sequence[SavedSearch]) -> str:
    """The searches as JSON; empty if there are none."""
    return _SEARCHES.dump_json(tuple(searches)).decode() if searches else ""


def parse_searches(text: str) -> tuple[SavedSearch, ...]:
    """The searches that :func:`searches_to_json` wrote.

    Raises:
        GalleryError: They are damaged.
    """
    try:
        return _SEARCHES.validate_json(text) if text else ()
    except (ValidationError, ConfigError) as error:
        raise GalleryError(
            f"The gallery's saved searches are damaged ({str(error).splitlines()[0]}); expected"
            " what `vireid gallery save-search` wrote; restore a copy of the gallery."
        ) from error
