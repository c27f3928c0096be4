"""What was uploaded is judged by its content and its header, before it is decoded."""

from __future__ import annotations

import io
import math
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.app.people import photograph

from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.uploads import check_upload, display_name, media_type
from vireid.errors import ConfigError, TooLargeError, UnknownKindError

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
    image = check_upload("report.pdf", data, DEFAULT_LIMITS)
    assert (image.name, image.data) == ("report.pdf", data)
    assert media_type(data) == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    "data", [SVG, HTML, b"", b"just text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
)
def test_no_pictures(data: bytes) -> None:
    with pytest.raises(UnknownKindError, match=r"'me\.jpg' .*expected a JPEG, PNG, WebP or BMP"):
        check_upload("me.jpg", data, DEFAULT_LIMITS)
    assert media_type(data) is None


def test_a_jpeg_with_more_pictures_behind_it() -> None:
    file, one = io.BytesIO(), Image.new("RGB", (32, 64))
    one.save(file, "MPO", save_all=True, append_images=[one])
    assert check_upload("phone.jpg", file.getvalue(), DEFAULT_LIMITS)
    assert media_type(file.getvalue()) == "image/jpeg"


def jpeg_of(scans: int) -> bytes:
    """A grey JPEG of 5,000 x 5,000 pixels that goes over all of them so many times."""

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    def code(table: int, symbol: int) -> bytes:
        return segment(0xC4, bytes([table, 1, *[0] * 15, symbol]))

    side = 5_000
    blocks = (side // 8) ** 2
    flat = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8 + 1)
    runs = (format((1 << 14) - 1, "015b") * (blocks // 32_767 + 1)).ljust(200, "1")
    ended = int(runs, 2).to_bytes(25, "big").replace(b"\xff", b"\xff\0")
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes([0, *[1] * 64]))
        + segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
        + code(0x00, 0)
        + code(0x10, 0xE0)  # a run of up to 32,767 blocks without a coefficient
        + flat
        + (segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + ended) * (scans - 1)
        + b"\xff\xd9"
    )


def bmp_of_runs() -> bytes:
    """A BMP of 8 x 8 pixels, each row a run."""
    rows = (b"\x08\x05\0\0") * 8 + b"\0\1"
    palette = b"".join(bytes([level] * 3) + b"\0" for level in range(256))
    about = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(about) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + about + palette + rows


def test_what_takes_very_long_to_decode() -> None:
    usual = jpeg_of(12)
    with Image.open(io.BytesIO(usual)) as image:
        image.load()  # it is a JPEG
    assert check_upload("usual.jpg", usual, DEFAULT_LIMITS)
    with Image.open(io.BytesIO(bmp_of_runs())) as image:
        assert image.convert("RGB").getpixel((7, 7)) == (5, 5, 5)
    for data in (jpeg_of(200_000), bmp_of_runs()):
        assert len(data) < DEFAULT_LIMITS.bytes
        with pytest.raises(UnknownKindError, match="takes very long to decode"):
            check_upload("slow.jpg", data, DEFAULT_LIMITS)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_kinds_of_pictures(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 64)).save(file, kind)
    with pytest.raises(UnknownKindError):
        check_upload("a.png", file.getvalue(), DEFAULT_LIMITS)


@pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning"
)  # only a warning, elsewhere
@pytest.mark.parametrize("side", [5_001, 12_000, 60_000])
def test_a_bomb_is_never_decoded(side: int) -> None:
    data = png_that_says(side, side)
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="expected at most 25 million"):
        check_upload("bomb.png", data, DEFAULT_LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert check_upload("edge.png", png_that_says(5_000, 5_000), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\people\\a.jpg", "a.jpg"),
        ("a\0b\n\x1b[31m.jpg", "ab[31m.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("..", "image"),
        ("/", "image"),
        ("", "image"),
        (None, "image"),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_are_for_people(name: str | None, shown: str) -> None:
    assert display_name(name) == shown


@given(st.text())
def test_no_name_is_a_path(name: str) -> None:
    shown = display_name(name)
    assert shown.isprintable()
    assert 0 < len(shown) <= 120
    assert not {"/", "\\", "\0"} & set(shown)
    assert shown.strip(".")


def test_limits_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"--megapixels -1"):
        Limits(megapixels=-1)
    for number in (math.nan, math.inf):
        with pytest.raises(ConfigError, match=r"--upload-seconds (nan|inf)"):
            Limits(upload_seconds=number)
    with pytest.raises(ConfigError, match=r"--queue 0"):
        Limits(queue=0)
