"""The orientation of images, and their pixels without their other metadata.

Faults of metadata must not cost the picture, but Pillow's decoders raise on many of them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["PixelsOnly", "load_upright", "pixels_only"]

_ORIENTATION = 0x0112

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The tags of a TIFF file that determine its pixels, and the orientation.
_TIFF_TAGS = {
    *(256, 257, 258, 259, 262, 266, 273, _ORIENTATION, 277, 278, 279, 281, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
_PNG_CHUNKS = re.compile(b"IHDR|PLTE|IDAT|IEND|eXIf")
_WEBP_NEXT = re.compile(b"VP8 |VP8L|ALPH|ANIM|ANMF|ICCP|EXIF|XMP ")
_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}


class PixelsOnly(NamedTuple):
    """An image file without its metadata.

    Attributes:
        data: The file, still in its format, with the parts that determine the pixels.
        exif: The EXIF block that was removed; empty if there was none.
    """

    data: bytes
    exif: bytes


def load_upright(image: Image.Image, exif: bytes = b"") -> tuple[Image.Image, str]:
    """Load the pixels of an image and apply its orientation.

    Args:
        image: An image as Pillow opened it.
        exif: An EXIF block to use in place of the image's own.

    Returns:
        The upright image; and why its orientation cannot be read, so that it is as stored, or an
        empty string.
    """
    # Pillow turns TIFF images itself as it loads them, and removes the tag.
    tiff = image.tag_v2.get(_ORIENTATION, 1) if isinstance(image, TiffImageFile) else None
    image.load()
    try:
        if tiff is not None:
            _checked(tiff)
            return image, ""
        turn = _UPRIGHT.get(_checked(_orientation(image, exif)))
    except ValueError as error:
        return image, str(error)
    return (image if turn is None else image.transpose(turn)), ""


def _orientation(image: Image.Image, exif: bytes) -> int:
    """The orientation of a loaded image that is not TIFF; 1 if none is given."""
    exif = exif or image.info.get("exif", b"")
    # ImageMagick writes EXIF to PNG files as hexadecimal text, after three lines.
    if not exif and (profile := image.info.get("Raw profile type exif")):
        exif = bytes.fromhex("".join(profile.split("\n")[3:]))
    found = _exif_orientation(re.sub(b"^(Exif\0\0){1,2}", b"", exif))
    xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    if found is None and xmp:
        xmp = xmp.encode() if isinstance(xmp, str) else xmp
        match = re.search(rb'tiff:Orientation(?:="|>)([0-9]+)', xmp)
        found = int(match[1]) if match else None
    return 1 if found is None else found


def _checked(value: object) -> int:
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    raise ValueError(f"its orientation is {value!r}; expected a number from 1 to 8")


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation in an EXIF block, from its byte order on; None if it has none."""
    if not exif:
        return None
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, at)
            if tag == _ORIENTATION:
                # Bytes, 16-bit and 32-bit integers, if the value is in the entry itself.
                code, size = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}[kind]
                (value,) = struct.unpack_from(order + code, exif, at + 8)
                return int(value) if 1 <= count <= 4 // size else 0
    except (KeyError, struct.error):
        raise ValueError("its EXIF block is damaged") from None
    return None


def pixels_only(data: bytes) -> PixelsOnly | None:
    """Remove the metadata of an image file.

    Args:
        data: The bytes of the file; the image itself may be damaged.

    Returns:
        The file without metadata; None if it is no JPEG, PNG, WebP or TIFF file, or its structure
        is damaged.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG"):
            return _png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return PixelsOnly(_tiff(data), b"")
    except (IndexError, ValueError, struct.error):
        pass
    return None


def _jpeg(data: bytes) -> PixelsOnly:
    kept = [data[:2]]
    exif: list[bytes] = []
    at = 2
    while True:
        # Like Pillow, skip what is not a marker.
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF, *range(0xD0, 0xD9)):
            at += 1
            continue
        if marker == 0xDA:  # the scans
            return PixelsOnly(b"".join([*kept, data[at:]]), b"".join(exif))
        (length,) = struct.unpack_from(">H", data, at + 2)
        content = data[at + 4 : at + 2 + length]
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif.append(content[6:])
        # JFIF and Adobe segments determine the colour space.
        colours = (marker == 0xE0 and content[:4] == b"JFIF" and len(content) >= 14) or (
            marker == 0xEE and content[:5] == b"Adobe" and len(content) >= 12
        )
        if colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at : at + 2 + length])
        at += 2 + length


def _png(data: bytes) -> PixelsOnly:
    kept, exif, at = [data[:8]], b"", 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        intact = zlib.crc32(data[at + 4 : end - 4]).to_bytes(4) == data[end - 4 : end]
        if kind == b"eXIf" and intact:
            exif = data[at + 8 : end - 4]
        elif kind != b"eXIf" and _PNG_CHUNKS.match(kind):
            kept.append(data[at:end])
        elif not intact:
            # Its length may be damaged too.
            found = _PNG_CHUNKS.search(data, at + 8)
            end = found.start() - 4 if found else len(data)
        at = end
    return PixelsOnly(b"".join(kept), exif)


def _webp(data: bytes) -> PixelsOnly:
    kept, exif = [b"WEBP"], b""
    for kind, content in _riff_chunks(data):
        if kind == b"VP8X":
            # Of the flags, only animation and alpha stay.
            kept.append(_riff_chunk(kind, bytes([content[0] & 0x12]) + content[1:]))
        elif kind in _WEBP_CHUNKS:
            kept.append(_riff_chunk(kind, content))
        elif kind == b"EXIF":
            exif = content
    return PixelsOnly(_riff_chunk(b"RIFF", b"".join(kept)), exif)


def _riff_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        end = at + 8 + length + length % 2
        if kind in _WEBP_CHUNKS and end > len(data) + 1:
            raise ValueError("the pixels are truncated")
        if kind not in _WEBP_CHUNKS and not _WEBP_NEXT.match(data, end):
            # The length of a chunk of metadata may be damaged.
            found = _WEBP_NEXT.search(data, at + 8)
            end = found.start() if found else len(data)
        at = end


def _tiff(data: bytes) -> bytes:
    """The file with a new directory of the first image at its end."""
    order = "<" if data[:1] == b"I" else ">"
    # Layouts of classic TIFF and of BigTIFF.
    big = data[2:4] != struct.pack(f"{order}H", 42)
    number, offset, entry, at = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (start,) = struct.unpack_from(order + offset, data, at)
    (entries,) = struct.unpack_from(order + number, data, start)
    start += struct.calcsize(order + number)
    kept: dict[int, bytes] = {}
    for place in range(start, start + entry * min(entries, 1000), entry):
        tag, kind, count = struct.unpack_from(f"{order}HH{offset}", data, place)
        # Values outside the entry may be out of reach.
        inside = tag != _ORIENTATION or (kind, count) == (3, 1)
        if tag in _TIFF_TAGS and inside:
            kept.setdefault(tag, data[place : place + entry])
    data += b"\0" * (len(data) % 2)
    return b"".join(
        [
            data[:at],
            struct.pack(order + offset, len(data)),
            data[at + struct.calcsize(order + offset) :],
            struct.pack(order + number, len(kept)),
            *(kept[tag] for tag in sorted(kept)),
            struct.pack(order + offset, 0),
        ]
    )
