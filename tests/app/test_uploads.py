"""What was uploaded is judged by its content and its header, before it is decoded."""

from __future__ import annotations

import io
import math
import re
import struct
import tracemalloc
import zlib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.app.people import photograph

from vireid.app.limits import DEFAULT_LIMITS, Limits
from vireid.app.uploads import KINDS, check_upload, display_name, media_type
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


def tiff_of(*tags: tuple[int, int, int], data: bytes = b"") -> bytes:
    """A TIFF of tags with type and value, and then some data."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def raw_photograph() -> bytes:
    """A raw photograph whose tags are far behind its first bytes."""
    tags = [(254, 4, 1), (256, 4, 4), (257, 4, 4), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, 4), (279, 4, 16)]
    file = tiff_of(*tags)
    return file[:4] + struct.pack("<I", 5_000) + bytes(4_992) + file[8:]


@pytest.mark.parametrize("kind", KINDS)
def test_real_pictures(kind: str) -> None:
    data = photograph(1, kind=kind)
    # What it is called says nothing.
    image = check_upload("report.pdf", data, DEFAULT_LIMITS)
    assert (image.name, image.data) == ("report.pdf", data)
    shown = kind not in {"TIFF", "JPEG2000", "PPM"}
    assert media_type(data) == (KINDS[kind] if shown else None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SVG, "it is an SVG image; expected an image (JPEG, PNG"),
        (HTML, "it is a web page (HTML); expected an image (JPEG, PNG"),
        (b"", "it is an empty file; expected an image (JPEG, PNG"),
        (b"just text", "it is text that begins with 'just text'; expected an image (JPEG, PNG"),
        (bytes(900), "it is a file of nothing but zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "fetch it with git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC image; expected"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "it is an MP4 video; expected"),
        (raw_photograph(), "it is a raw camera image; expected"),
        (b"\xff\xd8\xff", "such as 64-bit floating point; expected a complete image (JPEG)"),
        (b"\x89PNG\r\n\x1a\n", "expected a complete image (PNG)"),
    ],
)
def test_no_pictures(data: bytes, words: str) -> None:
    with pytest.raises(UnknownKindError, match=re.escape(words)) as refusal:
        check_upload("me.jpg", data, DEFAULT_LIMITS)
    assert str(refusal.value).startswith("'me.jpg' cannot be read: ")
    assert media_type(data) is None


def test_the_page_offers_what_is_accepted() -> None:
    page = files("vireid.app").joinpath("page/index.html").read_text("utf-8")
    offered = re.findall(r'accept="([^"]*)"', page)
    kinds = ",".join(KINDS.values())
    assert offered == [f"{kinds},video/*,.mkv", kinds]


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


def tiff_with_a_tile_of(side: int) -> bytes:
    """A TIFF of 16 x 16 grey pixels in a tile of so many, of which libtiff decodes all."""
    rows = zlib.compress(bytes(256))
    tags = [(256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, side), (323, 4, side), (324, 4, 8 + 2 + 12 * 10 + 4), (325, 4, len(rows))]
    return tiff_of(*tags, data=rows)


def test_a_tiff_is_no_bomb_either() -> None:
    small = tiff_with_a_tile_of(16)
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (16, 16)
        image.load()
    assert check_upload("small.tif", small, DEFAULT_LIMITS)
    with pytest.raises(UnknownKindError, match="or much memory"):
        check_upload("bomb.tif", tiff_with_a_tile_of(40_000), DEFAULT_LIMITS)
    tags = [(256, 4, 6_000), (257, 4, 6_000), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 8)]
    large = tiff_of(*tags, (277, 3, 1), (278, 4, 6_000), (279, 4, 9))
    with pytest.raises(TooLargeError, match="expected at most 25 million"):
        check_upload("bomb.tif", large, DEFAULT_LIMITS)


@pytest.mark.parametrize("compression", ["jpeg", "group4", "lzma", "zstd"])
def test_unusual_compressions_of_tiff(compression: str) -> None:
    file = io.BytesIO()
    mode = "1" if compression == "group4" else "RGB"
    Image.new(mode, (32, 64)).save(file, "TIFF", compression=compression)
    with pytest.raises(UnknownKindError, match="an unusual compression"):
        check_upload("a.tif", file.getvalue(), DEFAULT_LIMITS)


@pytest.mark.parametrize("kind", [b"P1", b"P2", b"P3"])
def test_numbers_written_as_text(kind: bytes) -> None:
    with pytest.raises(UnknownKindError, match="an unusual compression"):
        check_upload("a.ppm", kind + b" 1 1 255 0 0 0\n", DEFAULT_LIMITS)


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


def test_a_jpeg_of_many_exif_segments() -> None:
    segment = b"\xff\xe1\0\x09Exif\0\0a"
    whole = photograph(1, kind="JPEG")
    assert check_upload("usual.jpg", whole[:2] + segment * 10 + whole[2:], DEFAULT_LIMITS)
    with pytest.raises(UnknownKindError, match="takes very long to decode"):
        check_upload("slow.jpg", whole[:2] + segment * 200_000 + whole[2:], DEFAULT_LIMITS)


@pytest.mark.parametrize(("width", "height"), [(1, 16_385), (16_385, 1), (1, 3_000_000)])
def test_sides_that_no_person_has(width: int, height: int) -> None:
    with pytest.raises(TooLargeError, match=rf"{width} x {height} .* 16,384 in width and height"):
        check_upload("thin.png", png_that_says(width, height), DEFAULT_LIMITS)
    edge = png_that_says(min(width, 16_384), min(height, 16_384))
    assert check_upload("edge.png", edge, DEFAULT_LIMITS)


@pytest.mark.parametrize("kind", ["ICO", "PCX", "SGI", "DDS"])
def test_other_kinds_of_pictures(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 64)).save(file, kind)
    with pytest.raises(UnknownKindError, match="convert it to JPEG or PNG"):
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
