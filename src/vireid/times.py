"""Times: one parser and one formatter; all times are kept in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["format_time", "in_utc", "parse_time"]

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?"
_OFFSET = r"Z|[+-][0-9]{2}(:?[0-9]{2})?"
_ISO = re.compile(f"{_DATE}([T ]{_CLOCK}({_OFFSET})?)?", re.IGNORECASE)


def parse_time(text: str) -> datetime:
    """Parse a date, or a date and a time of day, in the extended format of ISO 8601.

    The basic format (20240531), weeks, days of the year and seconds since 1970 are refused: the
    same digits would mean different times.

    Args:
        text: Such as ``2024-05-31``, which is its first moment, or ``2024-05-31T22:15:00+02:00``;
            UTC unless it has an offset.

    Returns:
        The time in UTC.

    Raises:
        ValueError: The text is something else, or not within the years 1 to 9999 of UTC; the
            message quotes it and says what was expected.
    """
    try:
        if not _ISO.fullmatch(text.strip()):
            raise ValueError
        return in_utc(datetime.fromisoformat(text.strip().upper()))
    except ValueError:
        raise ValueError(
            f"'{text[:40]}'; expected ISO 8601 within the years 1 to 9999 of UTC, such as"
            " 2024-05-31, 2024-05-31T22:15 (UTC) or 2024-05-31T22:15:00+02:00"
        ) from None


def format_time(time: datetime, *, sep: str = "T") -> str:
    """Format a time in UTC, such as ``2024-05-31T20:15:00Z``; microseconds only if there are any.

    Args:
        time: The time; taken as UTC if it has no zone.
        sep: The character between date and time of day.
    """
    return in_utc(time).isoformat(sep).replace("+00:00", "Z")


def in_utc(time: datetime) -> datetime:
    """The same time in UTC; taken as UTC if it has no zone.

    Raises:
        ValueError: It is not within the years 1 to 9999 of UTC.
    """
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{time.isoformat()} is not within the years 1 to 9999 of UTC") from None
