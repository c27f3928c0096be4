"""The images that a caller hands to the extractor: checked, named and decoded.

Example:
    >>> [image] = given_images(np.zeros((96, 48), np.uint8), None)
    >>> decode_given(image, (64, 32))[0].modality
    <Modality.INFRARED: 'infrared'>
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.bit_depth import REMARKS
from vireid.data.decoding import decoding
from vireid.data.images import read_image, resized, rgb_image
from vireid.data.inspection import guess_modality
from vireid.data.rows import MODALITIES
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.errors import ConfigError, ImageError, many
from vireid.types import ImageInfo, ImageRecord, Modality

__all__ = [
    "DecodedImage",
    "GivenImage",
    "ImageFiles",
    "ImageInput",
    "ModalityInput",
    "decode_given",
    "given_images",
    "image_infos",
]

ImageInput: TypeAlias = (
    str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | ImageInfo | ImageRecord
)
"""One image: a file, a PIL image of any mode, an array uint8 ``[H, W, 3]`` (RGB) or ``[H, W]``, or
a record of a file. Of an :class:`~vireid.types.ImageInfo` path, modality, camera and time count."""

ImageFiles: TypeAlias = (
    str | os.PathLike[str] | ImageInfo | Sequence[str | os.PathLike[str] | ImageInfo]
)
"""One image file, or several: their paths, or what is known of them."""

ModalityInput: TypeAlias = str | Sequence[str | None]
"""A modality (a key of :data:`~vireid.data.rows.MODALITIES`) for all images, or one per image, of
which those that are None are guessed."""


@dataclass(frozen=True, slots=True, eq=False)
class GivenImage:
    """An image before it is decoded.

    Attributes:
        record: What is known of it. The identity is -1 and the camera 0 unless the caller gave a
            record; the path of an image in memory is its position, such as ``images[3]``.
        guess: Whether the modality is unknown, and that of ``record`` a placeholder.
        pixels: The image, if it is in memory.
    """

    record: ImageRecord
    guess: bool
    pixels: Image.Image | NDArray[np.uint8] | None = None

    @property
    def modality(self) -> Modality | None:
        """Its modality; None if it is to be guessed."""
        return None if self.guess else self.record.modality


class DecodedImage(NamedTuple):
    """An image that was decoded and resized.

    Attributes:
        record: Its record, with its modality.
        guessed: Whether the modality was guessed.
        pixels: uint8 ``[H, W, 3]``.
        remarks: How it was converted to 8 bits.
    """

    record: ImageRecord
    guessed: bool
    pixels: NDArray[np.uint8]
    remarks: tuple[str, ...] = ()


def given_images(
    images: object, modality: ModalityInput | None
) -> list[GivenImage] | Iterator[GivenImage]:
    """Check the images that a caller hands over.

    Args:
        images: One image or several; an array ``[N, H, W, 3]`` is N images.
        modality: The modality of images without one; None leaves it to be guessed.

    Returns:
        The images in order; an iterator, which checks as it goes, if ``images`` has no length.

    Raises:
        ConfigError: There is no image, a modality is unknown or contradicts that of a record, or
            there are more or fewer modalities than images.
        ImageError: An image is of another type, an array of another dtype or shape.
    """
    if isinstance(images, np.ndarray):
        if images.ndim != 4 and images.dtype.kind not in "OU":  # not an array of paths
            images = [images]
    elif isinstance(images, str | os.PathLike | Image.Image | ImageInfo | ImageRecord):
        images = [images]
    elif isinstance(images, bytes | bytearray) or not isinstance(images, Iterable):
        raise _wrong_type(images, "images")
    if isinstance(modality, str) or not isinstance(modality, Iterable):
        modalities: Modality | list[Modality | None] | None = _modality(modality)
    else:
        modalities = list(map(_modality, modality))
    given = _checked(images, modalities)
    return list(given) if hasattr(images, "__len__") else given


def image_infos(images: ImageFiles) -> list[ImageInfo]:
    """What is known of image files.

    Args:
        images: One image file or several.

    Raises:
        ImageError: One is neither a path nor an ImageInfo.
    """
    if isinstance(images, str | os.PathLike | ImageInfo):
        images = [images]
    infos = []
    for index, image in enumerate(images):
        if isinstance(image, ImageInfo):
            infos.append(image)
        elif isinstance(image, str | os.PathLike):
            infos.append(ImageInfo(path=Path(image)))
        else:
            raise ImageError(
                f"'images[{index}]' is of type {type(image).__name__}; expected a path or an"
                " ImageInfo; other images are taken by FeatureExtractor.extract."
            )
    return infos


@decoding()
def decode_given(
    image: GivenImage, size: tuple[int, int], tone_mapping: ToneMapping = AUTO
) -> DecodedImage:
    """Decode and resize an image, and guess its modality if that is unknown.

    Args:
        image: The image.
        size: Height and width, in pixels.
        tone_mapping: How more than 8 bits are mapped to 8.

    Raises:
        ImageError: It cannot be read.
    """
    record, pixels = image.record, image.pixels
    how = tone_mapping.of(record.camera_name)
    if pixels is None:
        if record.path.is_dir():
            raise ImageError(
                f"'{record.path}' is a folder; expected an image; list the images of a folder by"
                " vireid.data.listing.list_images(FOLDER)."
            )
        decoded = read_image(record.path, how)
    else:
        if isinstance(pixels, np.ndarray):
            pixels = Image.fromarray(np.ascontiguousarray(pixels))
        decoded = rgb_image(pixels, name=str(record.path), tone_mapping=how)
    if image.guess:
        record = replace(record, modality=guess_modality(decoded))
    remarks = decoded.info.get(REMARKS, ())
    return DecodedImage(record, image.guess, resized(decoded, size), remarks)


def _checked(
    images: Iterable[object], modality: Modality | list[Modality | None] | None
) -> Iterator[GivenImage]:
    number = 0
    for number, image in enumerate(images, 1):
        name = f"images[{number - 1}]"
        if not isinstance(modality, list):
            yield _given(image, modality, name)
        elif number <= len(modality):
            yield _given(image, modality[number - 1], name)
    if not number:
        raise ConfigError(
            "images is empty; expected at least one: a path, a PIL image, an array or a record."
        )
    if isinstance(modality, list) and len(modality) != number:
        raise ConfigError(
            f"modality names {len(modality):,} for {many(number, 'image')}; expected one for all,"
            " or one per image."
        )


def _given(image: object, modality: Modality | None, name: str) -> GivenImage:
    if isinstance(image, ImageInfo | ImageRecord):
        if modality and image.modality and modality is not image.modality:
            raise ConfigError(
                f"modality is '{modality}' and the record of '{image.path}' is {image.modality};"
                " expected the same in both; leave modality= out, or correct the record."
            )
        modality = image.modality or modality
    if isinstance(image, ImageRecord):
        return GivenImage(image, guess=False)
    path, time, camera = Path(name), None, ""
    pixels: Image.Image | NDArray[np.uint8] | None = None
    if isinstance(image, ImageInfo):
        path, time, camera = image.path, image.time, image.camera
    elif isinstance(image, str | os.PathLike):
        path = Path(image)
    elif isinstance(image, Image.Image):
        pixels = image
    elif isinstance(image, np.ndarray):
        colour = image.ndim == 3 and image.shape[2] == 3
        if image.dtype != np.uint8 or not (colour or image.ndim == 2) or not image.size:
            raise ImageError(
                f"'{name}' is an array {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3]"
                " (RGB) or [H, W], of levels of 0 to 255; scale its values, move its channels last,"
                " or give a stack of grey images as a list."
            )
        pixels = image
    else:
        raise _wrong_type(image, name)
    record = ImageRecord(path, -1, 0, modality or Modality.VISIBLE, time, camera_name=camera)
    return GivenImage(record, modality is None, pixels)


def _modality(name: object) -> Modality | None:
    if name is None:
        return None
    known = MODALITIES.get(name.lower()) if isinstance(name, str) else None
    if known is None:
        raise ConfigError(f"modality '{name}' is unknown; expected {', '.join(MODALITIES)}.")
    return known


def _wrong_type(image: object, name: str) -> ImageError:
    return ImageError(
        f"'{name}' is of type {type(image).__name__}; expected a path, a PIL image, or a numpy"
        " array uint8 [H, W, 3] (RGB) or [H, W]; convert a tensor by"
        " tensor.permute(1, 2, 0).cpu().numpy(), and bytes by PIL.Image.open(io.BytesIO(data))."
    )
