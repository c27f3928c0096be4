"""Records of images: times in UTC, files and uploads, ids, retention."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vireid.types import ImageInfo, id_of

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)


def test_a_time_without_a_zone_is_in_utc() -> None:
    info = ImageInfo(path=Path("a"), time=datetime(2024, 5, 31, 12))
    assert info.time == NOON
    assert info == ImageInfo(path=Path("a"), time=datetime.fromisoformat("2024-05-31T14:00+02:00"))


def test_a_letter_is_one_however_it_was_typed() -> None:
    text, decomposed = "Zoë", unicodedata.normalize("NFD", "Zoë")
    assert decomposed != text
    one, other = (
        ImageInfo(path=Path("a"), camera=typed, identity=typed, note=typed)
        for typed in (text, decomposed)
    )
    assert one == other


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
