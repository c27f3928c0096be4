"""Features of unlabelled images: listed files or uploads.

Example:
    >>> extractor = load("runs/dlis")  # doctest: +SKIP
    >>> for batch in extract_from_files(extractor, list_images(["night/"])):  # doctest: +SKIP
    ...     print(batch.values.shape, batch.images[0].info.modality)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.data.bit_depth import REMARKS
from vireid.data.decoding import decoding
from vireid.data.file_kind import kind_of
from vireid.data.images import resized
from vireid.data.inspection import inspect_image, make_thumbnail
from vireid.data.prefetch import prefetch_each
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ImageError, first_few
from vireid.features.extractor import FeatureExtractor, check_batch_size
from vireid.features.inputs import ImageFiles, image_infos
from vireid.types import ImageInfo, IndexedImage, Modality

__all__ = [
    "ExtractedBatch",
    "Known",
    "extract_from_bytes",
    "extract_from_files",
    "read_image_file",
]

Known = Callable[[Sequence[str]], Collection[str]]
"""Returns those of the given SHA-256 hashes whose images need no feature."""

_MOST_BYTES = 2**29
"""Upper limit of an image file; the largest image allowed takes half of that uncompressed."""


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedBatch:
    """Images with their features.

    Attributes:
        images: The images; their paths are absolute, or the name alone of an upload.
        bad: An error message for each image that was skipped because it cannot be read.
        known: How many images were left out because they need no feature.
        known_infos: What is known of them, of images that were read.
        remarks: How images were converted, one sentence for each image and conversion.
    """

    images: tuple[IndexedImage, ...]
    bad: tuple[str, ...] = ()
    known: int = 0
    known_infos: tuple[ImageInfo, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def values(self) -> NDArray[np.float32]:
        """The unit features, float32 ``[n, d]``, row for row; n is at least 1."""
        return np.stack([image.feature for image in self.images])

    @property
    def guessed(self) -> list[Modality]:
        """The modalities that were guessed."""
        infos = [image.info for image in self.images]
        return [info.modality for info in infos if info.guessed and info.modality]

    @property
    def seen(self) -> int:
        """How many images were processed: extracted, skipped or left out."""
        return len(self.images) + len(self.bad) + self.known


class _Decoded(NamedTuple):
    """An image that was read, decoded and resized to ``[H, W, 3]``."""

    info: ImageInfo
    thumbnail: bytes
    pixels: NDArray[np.uint8]
    remarks: tuple[str, ...]


def extract_from_files(
    extractor: FeatureExtractor,
    images: ImageFiles,
    *,
    batch_size: int = 64,
    skip_bad: bool = False,
    known: Known | None = None,
) -> Iterator[ExtractedBatch]:
    """Extract the features of image files batch by batch, in memory independent of their number.

    Threads decode the next batch while the model processes the current one. An image gets the
    feature that :meth:`FeatureExtractor.extract` computes, up to rounding that depends on the other
    images of its batch.

    Args:
        extractor: The model.
        images: The images.
        batch_size: Images per batch.
        skip_bad: Skip images that cannot be read, and report them in ``bad``.
        known: Called once per batch before the model runs; the images it returns are left out.

    Yields:
        Batches, in the order of the images.

    Raises:
        ConfigError: The batch size is out of range.
        ImageError: An image cannot be read; raised before anything is extracted if a file is
            missing.
    """
    check_batch_size(batch_size)
    images = image_infos(images)
    if not skip_bad:
        # Hours of work must not end at a file that never existed. Path.exists raises where a
        # folder may not be entered.
        absent = (i.path for i in images if not os.path.exists(i.path))  # noqa: PTH110
        _refuse([(path, _missing(path)) for path in absent])
    batches = [images[at : at + batch_size] for at in range(0, len(images), batch_size)]
    decode = partial(_try_file, size=extractor.size, tone_mapping=extractor.tone_mapping)
    for decoded in prefetch_each(decode, batches):
        good = [one for one in decoded if isinstance(one, _Decoded)]
        bad = [one for one in decoded if not isinstance(one, _Decoded)]
        if not skip_bad:
            _refuse(bad)
        done = known([one.info.sha256 for one in good]) if known else ()
        new = [one for one in good if one.info.sha256 not in done]
        yield ExtractedBatch(
            _extract(extractor, new),
            bad=tuple(message for _, message in bad),
            known=len(good) - len(new),
            known_infos=tuple(one.info for one in good if one.info.sha256 in done),
            remarks=tuple(remark for one in new for remark in one.remarks),
        )


def extract_from_bytes(
    extractor: FeatureExtractor, data: Sequence[bytes], images: Sequence[ImageInfo]
) -> tuple[IndexedImage, ...]:
    """Extract the features of uploaded images in one batch.

    Args:
        extractor: The model.
        data: The bytes of each image file.
        images: What is known of each image. Only the name of its path is kept, so that an upload
            is never taken for a file of this machine.

    Raises:
        ImageError: An image cannot be read; the first one.
    """
    named = [replace(info, path=Path(info.path.name)) for info in images]
    how = extractor.size, extractor.tone_mapping
    pairs = zip(named, data, strict=True)
    return _extract(extractor, [_decode(info, content, *how) for info, content in pairs])


def _extract(extractor: FeatureExtractor, decoded: Sequence[_Decoded]) -> tuple[IndexedImage, ...]:
    height, width = extractor.size
    pixels = np.empty((len(decoded), height, width, 3), dtype=np.uint8)
    for row, one in zip(pixels, decoded, strict=True):
        row[:] = one.pixels
    features = extractor.extract_pixels(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        [one.info.modality for one in decoded if one.info.modality],
        cameras=[one.info.camera for one in decoded],
    )
    return tuple(
        IndexedImage(one.info, feature, one.thumbnail)
        for one, feature in zip(decoded, features, strict=True)
    )


def _try_file(
    info: ImageInfo, size: tuple[int, int], tone_mapping: ToneMapping
) -> _Decoded | tuple[Path, str]:
    """An image, or the path and an error message of one that cannot be read."""
    try:
        data = read_image_file(info.path)
        return _decode(replace(info, path=info.path.absolute()), data, size, tone_mapping)
    except ImageError as error:
        return info.path, str(error)


def _decode(
    info: ImageInfo, data: bytes, size: tuple[int, int], tone_mapping: ToneMapping
) -> _Decoded:
    with decoding():
        image, info = inspect_image(data, info, tone_mapping)
        remarks = image.info.get(REMARKS, ())
        return _Decoded(info, make_thumbnail(image), resized(image, size), remarks)


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file.

    Args:
        path: The file.

    Raises:
        ImageError: It is missing, no ordinary file, too large, or may not be read.
    """
    try:
        # Parquet and JSON hold UTF-8 only.
        str(path).encode()
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no ordinary file")
        if status.st_size <= _MOST_BYTES:
            return path.read_bytes()
    except UnicodeEncodeError:
        raise ImageError(
            f"'{path}' has a name that is not UTF-8; expected one that is; rename it, or leave it"
            " out."
        ) from None
    except FileNotFoundError:
        raise ImageError(_missing(path)) from None
    except (OSError, ValueError) as error:
        raise ImageError(
            f"'{path}' cannot be opened ({error}); expected a file that you may read; fix its"
            " permissions, or leave it out."
        ) from error
    kind = kind_of(path)
    fix = f"{kind.fix.format('it')}, or " if kind.fix else ""
    raise ImageError(
        f"'{path}' has {status.st_size:,} bytes; expected an image, of at most {_MOST_BYTES:,}; it"
        f" is {kind.one}: {fix}leave it out."
    )


def _missing(path: Path) -> str:
    return (
        f"'{path}' does not exist; expected an image; restore it, correct its path, or leave it"
        " out."
    )


def _refuse(bad: Sequence[tuple[Path, str]]) -> None:
    """Raise an error for images that cannot be read, given with their messages."""
    if bad:
        _, message = bad[0]
        if len(bad) > 1:
            paths = first_few(path for path, _ in bad)
            message += f" It is the first of {len(bad):,} bad images: {paths}."
        raise ImageError(message)
