"""Checks of uploads before they are decoded: format, pixels, and cost of decoding."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from vireid.app.limits import Limits
from vireid.data.decoding import is_slow_jpeg
from vireid.data.file_kind import RAW, kind_of, refusal
from vireid.data.images import MAX_SIDE, open_image, too_slow
from vireid.errors import TooLargeError, UnknownKindError

__all__ = ["KINDS", "Upload", "check_upload", "display_name", "media_type"]

KINDS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
}
"""The accepted image formats by Pillow's names, with their media types: all that are read."""

# Formats that browsers show, and JPEGs with further images after the first one, as phones write.
_SHOWN = {kind: KINDS[kind] for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")}
_SHOWN["MPO"] = "image/jpeg"

_TIFF_COMPRESSIONS = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"}
_TILE_SIDES = (322, 323)
"""The tags of a TIFF's tile width and length."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is safe to decode.

    Attributes:
        name: The name of the file, sanitised and shortened, for display only; never a path.
        data: The bytes of the file.
        size: Width and height of an image, as stored.
    """

    name: str
    data: bytes
    size: tuple[int, int] = (0, 0)


def check_upload(
    filename: str | None, data: bytes, limits: Limits, *, videos: bool = False
) -> Upload:
    """Check an upload without decoding it.

    Args:
        filename: The name given by the client, for display only.
        data: The bytes of the file.
        limits: The maximum number of pixels.
        videos: Whether a video, which is not checked here, would be accepted too.

    Raises:
        UnknownKindError: The format is not accepted.
        TooLargeError: The image has too many pixels, or is too wide or too high.
    """
    name = display_name(filename)
    if is_slow_jpeg(data):
        raise UnknownKindError(too_slow(name))
    kind = kind_of(data)
    try:
        if kind is RAW:
            raise UnidentifiedImageError
        # This reads only the header. Pillow warns of decompression bombs before it gives the size,
        # and rejects the largest.
        with open_image(io.BytesIO(data)) as image:
            width, height = image.size
            slow = _is_slow(image, data, limits)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLargeError(_too_large(name, "more than 89 million", limits)) from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise UnknownKindError(refusal(f"'{name}'", kind, error, videos=videos)) from error
    if width * height > limits.pixels or max(width, height) > MAX_SIDE:
        raise TooLargeError(_too_large(name, f"{width} x {height}", limits))
    if slow:
        raise UnknownKindError(too_slow(name))
    return Upload(name, data, (width, height))


def _is_slow(image: Image.Image, data: bytes, limits: Limits) -> bool:
    """Whether decoding takes far more time or memory than the number of pixels suggests."""
    match image.format:
        case "JPEG" | "MPO":
            return is_slow_jpeg(data, math.prod(image.size))
        case "BMP":
            # Pillow decodes run lengths in Python, up to seconds per image.
            return image.info.get("compression") in {1, 2}
        case "PPM":
            # And numbers written as text, which takes seconds too.
            return data[:2] in {b"P1", b"P2", b"P3"}
        case "TIFF":
            # A tile may be larger than the image, and is decoded whole.
            sides = [image.tag_v2.get(tag, 1) for tag in _TILE_SIDES]  # type: ignore[attr-defined]
            slow = image.info.get("compression") not in _TIFF_COMPRESSIONS
            return slow or math.prod(sides) > limits.pixels
    return False


def display_name(filename: str | None) -> str:
    """A short, printable name without a path, for the name of an uploaded file."""
    last = re.split(r"[/\\]", filename or "")[-1]
    printable = "".join(c for c in last if c.isprintable()).strip()
    # Dots alone would name a folder.
    return printable[:120] if printable.strip(".") else "image"


def media_type(data: bytes) -> str | None:
    """The media type of an image, from its content; None if browsers do not show its format."""
    try:
        with open_image(io.BytesIO(data)) as image:
            return _SHOWN.get(image.format or "")
    except Exception:  # see above
        return None


def _too_large(name: str, pixels: str, limits: Limits) -> str:
    return (
        f"'{name}' has {pixels} pixels; expected at most {limits.megapixels:g} million, and at most"
        f" {MAX_SIDE:,} in width and height; crop to the person or reduce the size."
    )
