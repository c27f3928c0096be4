"""What was uploaded is looked at before anything decodes it: its size, its kind, its pixels."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from vireid.app.limits import Limits
from vireid.errors import TooLargeError, UnknownKindError

__all__ = ["KINDS", "Picture", "checked", "kind_of", "name_of"]

KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp"}
"""The kinds of pictures that are taken, by Pillow's name, with their media types."""

# A JPEG with further pictures behind the first one, as many phones write them.
_MEDIA = KINDS | {"MPO": "image/jpeg"}

_SCANS = 100
"""The most scans of a JPEG. Programs write about ten; each may cost a pass over all pixels, and
10 MB hold 300,000 of them, which take half an hour to decode."""

_EXPECTED = "expected a JPEG, PNG, WebP or BMP picture"


@dataclass(frozen=True, slots=True)
class Picture:
    """An uploaded picture that may be decoded.

    Attributes:
        name: What the visitor's file is called, cleaned and shortened, for people to read; it is
            never a path.
        data: Its bytes.
    """

    name: str
    data: bytes


def checked(filename: str | None, data: bytes, limits: Limits) -> Picture:
    """Look at an upload without decoding it.

    Args:
        filename: What the visitor calls it; nothing depends on it.
        data: Its bytes.
        limits: The most pixels it may have.

    Raises:
        UnknownKindError: Its content is none of the kinds that are taken.
        TooLargeError: It has too many pixels.
    """
    name = name_of(filename)
    if not data:
        raise UnknownKindError(f"'{name}' is empty; {_EXPECTED}; choose another file.")
    try:
        # Only the header is read here. Pillow warns of bombs before it can be asked for the size,
        # and refuses the largest.
        with Image.open(io.BytesIO(data), formats=tuple(KINDS)) as image:
            width, height = image.size
            laborious = _is_laborious(image, data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLargeError(_too_large(name, "more than 89 million", limits)) from None
    except UnidentifiedImageError:
        raise UnknownKindError(
            f"'{name}' is not a picture, whatever its name says; {_EXPECTED}; choose another file."
        ) from None
    except Exception as error:  # damaged headers lead decoders to raise nearly anything
        raise UnknownKindError(
            f"'{name}' cannot be read ({error}); {_EXPECTED}; choose another file."
        ) from error
    if width * height > limits.pixels:
        raise TooLargeError(_too_large(name, f"{width} x {height}", limits))
    if laborious:
        raise UnknownKindError(
            f"'{name}' is packed in a way that takes very long to read and that no camera uses; "
            f"{_EXPECTED} as usual; open it in a program for pictures and save it anew."
        )
    return Picture(name, data)


def _is_laborious(image: Image.Image, data: bytes) -> bool:
    """Whether decoding takes far longer than its pixels do otherwise."""
    if image.format == "BMP":
        # Run lengths are unpacked in Python, up to seconds a picture.
        return image.info.get("compression") in {1, 2}
    # Inside a scan the byte 0xFF is always followed by 0 or a restart, never by this.
    return image.format in {"JPEG", "MPO"} and data.count(b"\xff\xda") > _SCANS


def name_of(filename: str | None) -> str:
    """What a visitor's file is called, for people to read: short, printable, and no path."""
    last = re.split(r"[/\\]", filename or "")[-1]
    printable = "".join(c for c in last if c.isprintable()).strip()
    # Dots alone would still mean a folder.
    return printable[:120] if printable.strip(".") else "picture"


def kind_of(data: bytes) -> str | None:
    """The media type of a picture, told from its content; None where it is not taken."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(KINDS)) as image:
            return _MEDIA[image.format or ""]
    except Exception:  # as above
        return None


def _too_large(name: str, pixels: str, limits: Limits) -> str:
    return (
        f"'{name}' has {pixels} pixels; expected at most {limits.megapixels:g} million; "
        "cut the person out, or make the picture smaller."
    )
