"""Arguments of the gallery commands: filters of entries, and durations."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from vireid.cli._flags import DEFAULT
from vireid.errors import ConfigError
from vireid.gallery import Filters
from vireid.times import parse_time
from vireid.types import Modality

__all__ = ["EntryFilters", "entry_filters", "name_of", "parse_duration", "place_beside"]

_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LONGEST = timedelta(days=100_000)


def entry_filters(
    *,
    camera: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    modality: Annotated[Literal["visible", "infrared"] | None, DEFAULT] = None,
    since: Annotated[str, DEFAULT] = "",
    until: Annotated[str, DEFAULT] = "",
    identity: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    tracklet: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    note: Annotated[str, DEFAULT] = "",
) -> Filters:
    """Build filters of entries from the values of flags; all given ones must match.

    Args:
        camera: Taken by this camera.
        modality: Of this modality.
        since: Taken at this time or later, such as 2024-05-31 or 2024-05-31T22:15+02:00; UTC
            unless it has an offset.
        until: Taken before this time.
        identity: Shows this identity.
        tracklet: Of this tracklet; names are unique within a camera, so give --camera too.
        note: Note contains this text.

    Raises:
        ConfigError: A time is invalid, or --since is not before --until.
    """
    filters = Filters(
        cameras=camera,
        modality=Modality(modality) if modality else None,
        since=_time("--since", since),
        until=_time("--until", until),
        identities=identity,
        tracklets=tracklet,
        note=note,
    )
    if filters.since and filters.until and filters.since >= filters.until:
        raise ConfigError(
            f"--since '{since}' is not before --until '{until}'; expected the earlier time as"
            " --since."
        )
    return filters


EntryFilters: TypeAlias = Annotated[Filters, tyro.conf.arg(constructor=entry_filters)]
"""Filters of entries, as flags."""


def name_of(gallery: str) -> str:
    """The name of a gallery: the last part of its path or URL."""
    if "://" in gallery:
        return gallery.rstrip("/").rpartition("/")[2]
    return Path(gallery).resolve().name


def place_beside(gallery: str, ending: str) -> Path:
    """A file or folder named after a gallery, in the folder that contains it.

    Not in the gallery's folder, which must hold no trace of deleted entries.

    Args:
        gallery: The gallery's folder, or its URL, whose files are in the current folder.
        ending: What follows the gallery's name, such as ``.audit.jsonl``.
    """
    parent = Path() if "://" in gallery else Path(gallery).resolve().parent
    return parent / f"{name_of(gallery)}{ending}"


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
        return parse_time(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{flag} is {error}.") from None
