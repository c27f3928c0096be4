"""Damaged metadata never cost an image; damaged pixels do."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from vireid.app.limits import Limits
from vireid.app.uploads import check_upload, media_type
from vireid.data.check.images import check_image
from vireid.data.images import METADATA_FAULT, decode_image
from vireid.errors import ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
NOISE = np.random.default_rng(1).bytes(300)


def encoded(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with further segments after its first marker."""
    more = (struct.pack(">BBH", 0xFF, n, len(content) + 2) + content for n, content in segments)
    return b"".join([JPEG[:2], *more, JPEG[2:]])


def png(kind: bytes, content: bytes, *, crc: int | None = None, last: bool = False) -> bytes:
    """A PNG with another chunk, before or after its pixels."""
    crc = zlib.crc32(kind + content) if crc is None else crc
    at = len(PNG) - 12 if last else 33
    chunk = struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", crc)
    return PNG[:at] + chunk + PNG[at:]


def webp(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    """A lossless WebP with another chunk at its end, which may be truncated."""
    whole = encoded("WEBP", lossless=True, exif=b"II*\0" + b"\0" * 12)
    chunk = struct.pack("<4sI", kind, len(content) if length is None else length) + content
    body = whole[8 : whole.index(b"EXIF")] + chunk + b"\0" * (len(content) % 2)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def tiff(*tags: tuple[int, int, int, int], order: str = "<") -> bytes:
    """An uncompressed TIFF with further tags: number, type, count, and value or offset."""
    height, width, channels = PIXELS.shape
    own = [(256, 4, 1, width), (257, 4, 1, height), (259, 4, 1, 1), (262, 4, 1, 2)]
    own += [(273, 4, 1, 8), (277, 4, 1, channels), (278, 4, 1, height), (279, 4, 1, PIXELS.size)]
    start = 8 + PIXELS.size
    bits = start + 2 + 12 * (len(own) + 1 + len(tags)) + 4
    entries = sorted([*own, (258, 3, 3, bits), *tags])
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        number = f"{order}HHIH2x" if kind == 3 and count == 1 else f"{order}HHII"
        directory += struct.pack(number, tag, kind, count, value)
    return head + PIXELS.tobytes() + directory + b"\0" * 4 + struct.pack(f"{order}3H", 8, 8, 8)


def exif(value: int, *, kind: int = 3, count: int = 1) -> bytes:
    """An EXIF block with an orientation."""
    entry = struct.pack("<HHIH2x" if kind == 3 else "<HHII", 0x0112, kind, count, value)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 4


def profile(kind: bytes) -> bytes:
    """The content of an iCCP or zTXt chunk of 64 KiB too much."""
    size = PngImagePlugin.MAX_TEXT_CHUNK + 65_536
    return kind + b"\0\0" + zlib.compress(b"\0" * size)


def upright(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an image as they are stored."""
    if data.startswith(b"\xff\xd8"):
        return np.asarray(Image.open(io.BytesIO(JPEG)))
    return PIXELS


DAMAGED = {
    "jpeg-exif-noise": jpeg((0xE1, b"Exif\0\0" + NOISE)),
    "jpeg-exif-truncated": jpeg((0xE1, b"Exif\0\0" + exif(6)[:14])),
    "jpeg-exif-offset": jpeg((0xE1, b"Exif\0\0II*\0" + b"\xff" * 8)),
    "jpeg-orientation-0": jpeg((0xE1, b"Exif\0\0" + exif(0))),
    "jpeg-orientation-9": jpeg((0xE1, b"Exif\0\0" + exif(9))),
    "jpeg-orientation-text": jpeg((0xE1, b"Exif\0\0" + exif(54, kind=2, count=2))),
    "jpeg-orientation-elsewhere": jpeg((0xE1, b"Exif\0\0" + exif(6, count=3))),
    "jpeg-icc-short": jpeg((0xE2, b"ICC_PROFILE\0\1")),
    "jpeg-jfif-short": jpeg((0xE0, b"JFIF\0")),
    "jpeg-adobe-short": jpeg((0xEE, b"Adobe")),
    "jpeg-photoshop": jpeg((0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed")),
    "jpeg-mpo": jpeg((0xE2, b"MPF\0II*\0" + NOISE)),
    "jpeg-xmp-orientation": jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>9<")),
    "png-exif-noise": png(b"eXIf", NOISE),
    "png-exif-after-pixels": png(b"eXIf", NOISE, last=True),
    "png-orientation-300": png(b"eXIf", exif(300)),
    "png-icc-method": png(b"iCCP", b"name\0\7" + NOISE),
    "png-icc-empty": png(b"iCCP", b""),
    "png-icc-large": png(b"iCCP", profile(b"name")),
    "png-text-large": png(b"zTXt", profile(b"Comment")),
    "png-text-large-after-pixels": png(b"zTXt", profile(b"Comment"), last=True),
    "png-text-method": png(b"zTXt", b"Comment\0\5" + NOISE),
    "png-text-profile": png(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzz"),
    "png-crc": png(b"tEXt", b"Comment\0hello", crc=1),
    "png-length": png(b"tEXt", b"Comment\0hello").replace(b"\0\0\0\rtEXt", b"\0\0\1\rtEXt"),
    "png-phys-short": png(b"pHYs", b"\0"),
    "png-gama-short": png(b"gAMA", b"\0"),
    "png-trns-short": png(b"tRNS", b"\0"),
    "png-actl-short": png(b"acTL", b"\0"),
    "png-name": png(b"t\xe9Xt", b"\0", crc=1),
    "webp-exif-noise": webp(b"EXIF", NOISE),
    "webp-exif-truncated": webp(b"EXIF", NOISE, length=4_000),
    "webp-profile-length": encoded("WEBP", lossless=True, icc_profile=NOISE).replace(
        b"ICCP" + struct.pack("<I", 300), b"ICCP" + struct.pack("<I", 340)
    ),
    "webp-orientation-0": webp(b"EXIF", exif(0)),
    "tiff-exif-offset": tiff((34_665, 4, 1, 2**32 - 9)),
    "tiff-exif-in-pixels": tiff((34_665, 4, 1, 9)),
    "tiff-gps-text": tiff((34_853, 2, 4, 0x41414141)),
    "tiff-icc-offset": tiff((34_675, 7, 900, 2**32 - 9)),
    "tiff-xmp-number": tiff((700, 4, 1, 7)),
    "tiff-xmp-two-numbers": tiff((700, 3, 2, 7)),
    "tiff-resolution-text": tiff((282, 2, 4, 0x41414141), (296, 3, 1, 3), order=">"),
    "tiff-orientation-9": tiff((274, 3, 1, 9)),
    "tiff-orientation-elsewhere": tiff((274, 3, 900, 2**32 - 9)),
    "tiff-orientation-text": tiff((274, 2, 4, 0x41414141), order=">"),
}
"""Images whose metadata are damaged in one place each."""


@pytest.mark.filterwarnings("default")  # as the command line runs
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_leave_the_pixels(name: str, tmp_path: Path) -> None:
    data = DAMAGED[name]
    image = decode_image(data, name=name)
    np.testing.assert_array_equal(np.asarray(image), upright(data))
    # Nothing damaged is left for whoever saves the image.
    assert image.info.keys() <= {METADATA_FAULT}
    (tmp_path / name).write_bytes(data)
    assert check_image(tmp_path / name).fault is None


@pytest.mark.parametrize("name", [name for name in DAMAGED if not name.startswith("tiff")])
def test_damaged_metadata_pass_as_uploads(name: str) -> None:
    data = DAMAGED[name]
    assert check_upload(name, data, Limits()).data == data
    assert media_type(data) == f"image/{name.split('-', maxsplit=1)[0]}"


ORIENTED = {
    "jpeg": jpeg((0xE1, b"Exif\0\0" + exif(6)), (0xE2, b"ICC_PROFILE\0\1")),
    "jpeg-value-twice": jpeg((0xE1, b"Exif\0\0" + exif(6, count=2))),
    "png": png(b"eXIf", exif(6)).replace(b"\0\0\0\x1aeXIf", b"\0\0\0\0pHYs0000\0\0\0\x1aeXIf"),
    "webp": webp(b"EXIF", exif(6)),
    "tiff": tiff((274, 3, 1, 6), (700, 4, 1, 7)),
}
"""Images to be turned by 90 degrees, most with other damaged metadata."""


@pytest.mark.parametrize("name", ORIENTED)
def test_the_orientation_is_applied_if_other_metadata_are_damaged(name: str) -> None:
    data = ORIENTED[name]
    turned = np.rot90(upright(data), -1)
    np.testing.assert_array_equal(np.asarray(decode_image(data, name=name)), turned)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("jpeg-icc-short", b"\xff\xda"),
        ("png-icc-empty", b"IDAT"),
        ("webp-exif-noise", b"VP8L"),
        ("tiff-xmp-number", b"II"),
    ],
)
def test_damaged_pixels_are_refused_with_any_metadata(name: str, start: bytes) -> None:
    data = DAMAGED[name]
    for kept in (10, 100):
        with pytest.raises(ImageError, match="cannot be read"):
            decode_image(data[: data.index(start) + kept], name=name)


def test_the_reason_is_that_of_the_image_where_its_pixels_are_damaged() -> None:
    damaged = bytearray(PNG)
    damaged[PNG.index(b"IDAT") + 40] ^= 255
    with pytest.raises(ImageError, match=r"cannot be read: .*broken|cannot be read: .*decod"):
        decode_image(bytes(damaged), name="a.png")
