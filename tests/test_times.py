"""The one parser and the one formatter of times."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vireid
from vireid.times import format_time, in_utc, parse_time

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", datetime(2024, 5, 31)),
        ("2024-02-29T23:59", datetime(2024, 2, 29, 23, 59)),
        ("2024-05-31 22:15:07", datetime(2024, 5, 31, 22, 15, 7)),
        ("2026-06-05T11:47:32+02:00", datetime(2026, 6, 5, 9, 47, 32)),
        ("2026-06-05T11:47:32.000125-0530", datetime(2026, 6, 5, 17, 17, 32, 125)),
        ("2026-06-05T00:30:00,5+01", datetime(2026, 6, 4, 23, 30, 0, 500_000)),
        (" 2026-06-05t09:47:32z ", datetime(2026, 6, 5, 9, 47, 32)),
        ("0001-01-01", datetime(1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_a_time_is_parsed_to_utc(text: str, expected: datetime) -> None:
    parsed = parse_time(text)
    assert parsed == expected.replace(tzinfo=UTC)
    assert parsed.tzinfo is UTC
    assert parse_time(format_time(parsed)) == parsed
    assert parse_time(format_time(parsed, sep=" ")) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026",
        "20260605",
        "20260605T114732Z",
        "2026-06",
        "2026-W23-5",
        "2026-156",
        "1780617600",
        "1780617600.5",
        "-1",
        "05.06.2026",
        "06/05/2026",
        "2026-13-01",
        "2026-02-29",
        "2026-06-05T25:00",
        "2026-06-05x11:47",
        "2026-06-05T11",
        "2026-06-05T11:47:32+25:00",
        "2026-06-05+02:00",
        "\u0662026-06-05",
        "2026-06-05T11:47\n2026-06-05",
        "0000-01-01",
        "10000-01-01",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-12:00",
    ],
)
def test_everything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="expected ISO 8601") as caught:
        parse_time(text)
    message = str(caught.value)
    assert message.startswith(f"'{text}'; expected ISO 8601")
    assert "such as 2024-05-31" in message


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_the_instant_is_kept(time: datetime) -> None:
    """Of every zone, daylight saving and historical offsets with seconds included."""
    try:
        expected = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            in_utc(time)
        return
    assert in_utc(time) == expected
    assert parse_time(format_time(time)) == expected


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 6, 5, 11, 47, 32, tzinfo=BERLIN), "2026-06-05T09:47:32Z"),
        (datetime(2026, 1, 5, 11, 47, 32, tzinfo=BERLIN), "2026-01-05T10:47:32Z"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=0), "2024-10-27T00:30:00Z"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1), "2024-10-27T01:30:00Z"),
        (datetime(2026, 6, 5, 9, 47, 32), "2026-06-05T09:47:32Z"),
        (datetime(2026, 6, 5, 9, 47, 32, 40_000), "2026-06-05T09:47:32.040000Z"),
        (
            datetime(2026, 1, 1, 0, 15, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            "2025-12-31T18:30:00Z",
        ),
    ],
)
def test_a_time_is_formatted_in_utc(time: datetime, text: str) -> None:
    assert format_time(time) == text
    assert format_time(time, sep=" ") == text.replace("T", " ")


def test_no_other_module_parses_iso_times_or_formats_times() -> None:
    root = Path(vireid.__file__).parent
    others = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            spec = node.format_spec if isinstance(node, ast.FormattedValue) else None
            if name in ("isoformat", "fromisoformat", "strftime", "fromtimestamp") or (
                spec is not None and re.search("%[YmdHMS]", ast.unparse(spec))
            ):
                others.append(path.name)
    # A pattern reads times in formats of its own, and hands them to parse_time.
    assert set(others) == {"times.py", "pattern.py"}
