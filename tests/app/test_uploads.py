"""What was uploaded is judged by its content and its header, before it is decoded."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.app.people import photograph

from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.uploads import TooLargeError, UnknownKindError, checked, kind_of, name_of
from vireid.errors import ConfigError

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_real_pictures(kind: str) -> None:
    data = photograph(1, kind=kind)
    # What it is called says nothing.
    picture = checked("report.pdf", data, DEFAULT_LIMITS)
    assert (picture.name, picture.data) == ("report.pdf", data)
    assert kind_of(data) == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    "data", [SVG, HTML, b"", b"just text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
)
def test_no_pictures(data: bytes) -> None:
    with pytest.raises(UnknownKindError, match=r"'me\.jpg' .*expected a JPEG, PNG, WebP or BMP"):
        checked("me.jpg", data, DEFAULT_LIMITS)
    assert kind_of(data) is None


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_kinds_of_pictures(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 64)).save(file, kind)
    with pytest.raises(UnknownKindError):
        checked("a.png", file.getvalue(), DEFAULT_LIMITS)


@pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning"
)  # only a warning, elsewhere
@pytest.mark.parametrize("side", [5_001, 12_000, 60_000])
def test_a_bomb_is_never_decoded(side: int) -> None:
    data = png_that_says(side, side)
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="expected at most 25 million"):
        checked("bomb.png", data, DEFAULT_LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert checked("edge.png", png_that_says(5_000, 5_000), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\people\\a.jpg", "a.jpg"),
        ("a\0b\n\x1b[31m.jpg", "ab[31m.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("..", "picture"),
        ("/", "picture"),
        ("", "picture"),
        (None, "picture"),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_are_for_people(name: str | None, shown: str) -> None:
    assert name_of(name) == shown


@given(st.text())
def test_no_name_is_a_path(name: str) -> None:
    shown = name_of(name)
    assert shown.isprintable()
    assert 0 < len(shown) <= 120
    assert not {"/", "\\", "\0"} & set(shown)
    assert shown.strip(".")


def test_limits_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"--megapixels -1"):
        Limits(megapixels=-1)
    with pytest.raises(ConfigError, match=r"--queue 0"):
        Limits(queue=0)
