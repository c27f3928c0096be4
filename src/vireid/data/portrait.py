"""What is kept of an image beside its feature: a name for its bytes, its modality, a thumbnail.

Example:
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (300, 900), (90, 90, 90)).save(file, "PNG")
    >>> found = portrait(file.getvalue(), modality=None, name="night.png")
    >>> str(found.modality), found.guessed
    ('infrared', True)
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.images import decode_image
from vireid.types import Modality

__all__ = [
    "GREY_BELOW",
    "THUMBNAIL",
    "Portrait",
    "guess_modality",
    "mean_chroma",
    "portrait",
    "portray",
]

GREY_BELOW = 1.0
"""Mean chroma, in levels of 0 to 255, below which an image is grey. Three equal channels have 0,
and rounding in a JPEG of a grey image leaves less than 1."""
THUMBNAIL = (144, 288)
"""Width and height that a thumbnail lies within, in pixels."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is kept of an image beside its feature.

    Attributes:
        sha256: SHA-256 of the file's bytes, 64 hexadecimal digits.
        modality: The light it was taken in.
        guessed: Whether the modality was guessed from the image.
        thumbnail: A JPEG of the whole image within 144 x 288 pixels, without anything else that
            the file held (place, time, comments); empty where none is kept.
    """

    sha256: str
    modality: Modality
    guessed: bool
    thumbnail: bytes


def portrait(data: bytes, *, modality: Modality | None, name: str) -> Portrait:
    """Decode an image and keep what is kept of it.

    Args:
        data: The bytes of the file.
        modality: The light it was taken in; None to guess it.
        name: What the file is called, for messages.

    Raises:
        ImageError: If the image cannot be read.
    """
    return portray(decode_image(data, name=name), data, modality=modality)


def portray(image: Image.Image, data: bytes, *, modality: Modality | None) -> Portrait:
    """What is kept of an image that is decoded already.

    Args:
        image: The image, as :func:`~vireid.data.images.decode_image` gives it.
        data: The bytes of the file.
        modality: The light it was taken in; None to guess it.
    """
    return Portrait(
        sha256=hashlib.sha256(data).hexdigest(),
        modality=guess_modality(image) if modality is None else modality,
        guessed=modality is None,
        thumbnail=_thumbnail(image),
    )


def guess_modality(image: Image.Image) -> Modality:
    """Guess the light an image was taken in: infrared if its three channels are (nearly) equal.

    A black-and-white photograph is taken for infrared, and a thermal image in false colours for
    visible.

    Args:
        image: An RGB image.
    """
    grey = mean_chroma(np.asarray(image)) < GREY_BELOW
    return Modality.INFRARED if grey else Modality.VISIBLE


def mean_chroma(pixels: NDArray[np.uint8]) -> float:
    """How colourful an image is.

    Args:
        pixels: uint8 ``[H, W, 3]``.

    Returns:
        The mean over all pixels of the largest minus the smallest of red, green and blue, in
        levels of 0 to 255.
    """
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return float(spread.mean())


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail(THUMBNAIL)
    # Pillow would write the comment of the image's file into the thumbnail's.
    small.info.clear()
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()
