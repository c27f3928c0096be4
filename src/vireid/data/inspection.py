"""Properties of an image file: the hash of its bytes, its modality, a thumbnail.

Example:
    >>> from pathlib import Path
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (300, 900), (90, 90, 90)).save(file, "PNG")
    >>> _, info = inspect_image(file.getvalue(), ImageInfo(path=Path("night.png")))
    >>> str(info.modality), info.guessed
    ('infrared', True)
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.bit_depth import strips_of
from vireid.data.images import decode_image
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.errors import many
from vireid.types import ImageInfo, Modality

__all__ = [
    "GREY_BELOW",
    "THUMBNAIL",
    "describe_guesses",
    "guess_modality",
    "inspect_image",
    "make_thumbnail",
    "mean_chroma",
]

GREY_BELOW = 1.0
"""Mean chroma, in levels of 0 to 255, below which an image is grey. Three equal channels have 0;
rounding in a JPEG of a grey image leaves less than 1."""
THUMBNAIL = (144, 288)
"""The largest width and height of a thumbnail, in pixels."""


def inspect_image(
    data: bytes, info: ImageInfo, tone_mapping: ToneMapping = AUTO
) -> tuple[Image.Image, ImageInfo]:
    """Decode an image file and add its hash and its modality to what is known of it.

    Args:
        data: The bytes of the file.
        info: What is known of the image; its modality is guessed if it is None.
        tone_mapping: How more than 8 bits are mapped to 8, in all cameras.

    Returns:
        The RGB image, and ``info`` with ``sha256``, ``modality`` and ``guessed``.

    Raises:
        ImageError: If the image cannot be read.
    """
    image = decode_image(data, name=str(info.path), tone_mapping=tone_mapping.of(info.camera))
    return image, replace(
        info,
        sha256=hashlib.sha256(data).hexdigest(),
        modality=guess_modality(image) if info.modality is None else info.modality,
        guessed=info.modality is None,
    )


def guess_modality(image: Image.Image) -> Modality:
    """Guess the modality of an image: infrared if its three channels are (nearly) equal.

    A black-and-white photograph counts as infrared, a thermal image in false colours as visible.

    Args:
        image: An RGB image.
    """
    grey = mean_chroma(strips_of(image)) < GREY_BELOW
    return Modality.INFRARED if grey else Modality.VISIBLE


def describe_guesses(guessed: Mapping[Modality, int]) -> str:
    """A sentence that says how many images had their modality guessed.

    Args:
        guessed: The number of images of each modality; at least one image.
    """
    each = " and ".join(f"{guessed[m]:,} {m}" for m in Modality if guessed.get(m))
    number = many(sum(guessed.values()), "image")
    return f"The modality of {number} was detected from the colours: {each}."


def mean_chroma(strips: Iterable[NDArray[np.uint8]]) -> float:
    """The mean chroma of an image.

    Args:
        strips: Its pixels, in one or more arrays uint8 ``[h, W, 3]``.

    Returns:
        The mean over all pixels of the largest minus the smallest of red, green and blue, in
        levels of 0 to 255.
    """
    total = number = 0
    for strip in strips:
        red, green, blue = strip[..., 0], strip[..., 1], strip[..., 2]
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        total += int(spread.sum(dtype=np.int64))
        number += spread.size
    return total / number


def make_thumbnail(image: Image.Image) -> bytes:
    """A JPEG of the whole image within ``THUMBNAIL``, without any metadata of the file.

    Args:
        image: An RGB image.
    """
    small = image.copy()
    small.thumbnail(THUMBNAIL)
    # Pillow would copy the comment of the image's file into the thumbnail.
    small.info.clear()
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()
