"""Arguments of the gallery commands: filters of entries, and durations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import tyro

from vireid.data.rows import parse_time
from vireid.errors import ConfigError
from vireid.gallery import Filters
from vireid.types import Modality

__all__ = [
    "ALL",
    "EntryFilter",
    "parse_duration",
]

_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LONGEST = timedelta(days=100_000)


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Filters of entries; all given ones must match."""

    camera: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Taken by this camera; repeatable."""
    modality: Literal["visible", "infrared"] | None = None
    """Of this modality."""
    since: str = ""
    """Taken at this time or later, such as 2024-05-31 or 2024-05-31T22:15+02:00; UTC
    unless it has an offset."""
    until: str = ""
    """Taken before this time."""
    identity: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Shows this identity; repeatable."""
    note: str = ""
    """Note contains this text."""

    def filters(self, *, ids: tuple[str, ...] = ()) -> Filters:
        """The filters of the library.

        Args:
            ids: Only these entries; all if empty.

        Raises:
            ConfigError: A time is invalid, or --since is not before --until.
        """
        filters = Filters(
            cameras=self.camera,
            modality=Modality(self.modality) if self.modality else None,
            since=_time("--since", self.since),
            until=_time("--until", self.until),
            identities=self.identity,
            note=self.note,
            ids=ids,
        )
        if filters.since and filters.until and filters.since >= filters.until:
            raise ConfigError(
                f"--since '{self.since}' is not before --until '{self.until}'; expected the earlier"
                " time as --since."
            )
        return filters


ALL = EntryFilter()
"""Every entry."""


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as ``30d``, ``12h``, ``90m`` or ``2w``.

    Raises:
        ConfigError: The text is something else, or about 270 years or more.
    """
    found = re.fullmatch(r"([0-9]{1,5})([mhdw])", text.strip().lower())
    length = int(found[1]) * _UNITS[found[2]] if found else _LONGEST
    if length >= _LONGEST:
        raise ConfigError(
            f"'{text}' is not a valid duration; expected a number and its unit: 90m (minutes), 12h"
            " (hours), 30d (days) or 2w (weeks)."
        )
    return length


def _time(flag: str, text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        raise ConfigError(
            f"{flag} '{text}' is no time; expected ISO 8601, such as 2024-05-31 or"
            " 2024-05-31T22:15+02:00."
        ) from None
