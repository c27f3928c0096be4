"""Checks of uploads before they are decoded: format, pixels, and cost of decoding."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from vireid.app.limits import Limits
from vireid.data.images import open_image
from vireid.errors import TooLargeError, UnknownKindError

__all__ = ["KINDS", "Upload", "check_upload", "display_name", "media_type"]

KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp"}
"""The accepted image formats by Pillow's names, with their media types."""

# A JPEG with further images after the first one, as many phones write it.
_MEDIA = KINDS | {"MPO": "image/jpeg"}

_SCANS = 100
"""Maximum number of scans of a JPEG. Encoders write about ten; each may take a pass over all
pixels, and 10 MB can hold 300,000 of them, which take half an hour to decode."""

_EXPECTED = "expected a JPEG, PNG, WebP or BMP image"


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded image that is safe to decode.

    Attributes:
        name: The name of the file, sanitised and shortened, for display only; never a path.
        data: The bytes of the file.
    """

    name: str
    data: bytes


def check_upload(filename: str | None, data: bytes, limits: Limits) -> Upload:
    """Check an upload without decoding it.

    Args:
        filename: The name given by the client, for display only.
        data: The bytes of the file.
        limits: The maximum number of pixels.

    Raises:
        UnknownKindError: The format is not accepted.
        TooLargeError: The image has too many pixels.
    """
    name = display_name(filename)
    if not data:
        raise UnknownKindError(f"'{name}' is empty; {_EXPECTED}; choose another file.")
    try:
        # This reads only the header. Pillow warns of decompression bombs before it gives the size,
        # and rejects the largest.
        with open_image(io.BytesIO(data), tuple(KINDS)) as image:
            width, height = image.size
            slow = _is_slow(image, data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLargeError(_too_large(name, "more than 89 million", limits)) from None
    except UnidentifiedImageError:
        raise UnknownKindError(
            f"'{name}' is not an image, whatever its name says; {_EXPECTED}; choose another file."
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged headers
        raise UnknownKindError(
            f"'{name}' cannot be read ({error}); {_EXPECTED}; choose another file."
        ) from error
    if width * height > limits.pixels:
        raise TooLargeError(_too_large(name, f"{width} x {height}", limits))
    if slow:
        raise UnknownKindError(
            f"'{name}' uses an unusual compression that takes very long to decode; {_EXPECTED}; "
            "save it again with an image editor."
        )
    return Upload(name, data)


def _is_slow(image: Image.Image, data: bytes) -> bool:
    """Whether decoding takes far longer than the number of pixels suggests."""
    if image.format == "BMP":
        # Pillow decodes run lengths in Python, up to seconds per image.
        return image.info.get("compression") in {1, 2}
    # Inside a scan the byte 0xFF is always followed by 0 or a restart, never by this.
    return image.format in {"JPEG", "MPO"} and data.count(b"\xff\xda") > _SCANS


def display_name(filename: str | None) -> str:
    """A short, printable name without a path, for the name of an uploaded file."""
    last = re.split(r"[/\\]", filename or "")[-1]
    printable = "".join(c for c in last if c.isprintable()).strip()
    # Dots alone would name a folder.
    return printable[:120] if printable.strip(".") else "image"


def media_type(data: bytes) -> str | None:
    """The media type of an image, from its content; None if the format is not accepted."""
    try:
        with open_image(io.BytesIO(data), tuple(KINDS)) as image:
            return _MEDIA[image.format or ""]
    except Exception:  # see above
        return None


def _too_large(name: str, pixels: str, limits: Limits) -> str:
    return (
        f"'{name}' has {pixels} pixels; expected at most {limits.megapixels:g} million; "
        "crop to the person or reduce the size."
    )
