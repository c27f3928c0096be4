"""Records of images: times at a fixed offset, files and uploads, ids, retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.types import ImageInfo, fixed_offset, id_of

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)


def test_a_time_without_a_zone_is_in_utc() -> None:
    info = ImageInfo(path=Path("a"), time=datetime(2024, 5, 31, 12))
    assert info.time == NOON
    assert info == ImageInfo(path=Path("a"), time=datetime.fromisoformat("2024-05-31T14:00+02:00"))


@given(st.datetimes(timezones=st.timezones()))
def test_a_fixed_offset_keeps_the_instant(time: datetime) -> None:
    try:
        instant = time.astimezone(UTC)
    except OverflowError:
        return
    found = fixed_offset(time)
    assert found.astimezone(UTC) == instant
    assert isinstance(found.tzinfo, timezone)
    assert datetime.fromisoformat(found.isoformat(timespec="microseconds")) == found
    offset = found.utcoffset()
    assert offset is not None
    assert not offset % timedelta(minutes=1)


def test_both_hours_that_a_zone_repeats() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (
        fixed_offset(datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=f)) for f in (0, 1)
    )
    assert second - first == timedelta(hours=1)


def test_the_first_and_the_last_time() -> None:
    for text in ("0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"):
        time = datetime.fromisoformat(text)
        assert fixed_offset(time).isoformat() == time.isoformat()


@pytest.mark.parametrize(
    ("path", "name", "is_file"),
    [("/day/a.jpg", "a.jpg", True), ("a.jpg", "a.jpg", False), ("..", "..", False)],
)
def test_a_path_that_is_not_absolute_is_no_file(path: str, name: str, is_file: bool) -> None:
    info = ImageInfo(path=Path(path))
    assert info.name == name
    assert info.file == (Path(path) if is_file else None)


def test_the_id_is_made_of_the_first_half_of_the_hash() -> None:
    sha256 = "0123456789abcdef" * 4
    assert ImageInfo(path=Path("a"), sha256=sha256).id == id_of(sha256)
    assert id_of(sha256) == "01234567-89ab-cdef-0123-456789abcdef"


def test_retention_counts_from_the_earlier_time() -> None:
    hour = timedelta(hours=1)
    for time, added, expected in (
        (None, None, None),
        (NOON, None, NOON),
        (None, NOON, NOON),
        (NOON - hour, NOON, NOON - hour),
        (NOON + hour, NOON, NOON),
    ):
        assert ImageInfo(path=Path("a"), time=time, added=added).retained_since == expected
