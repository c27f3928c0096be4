"""Describing images that carry no labels: listed files or uploads, with what is kept of each.

Example:
    >>> extractor = load(Path("runs/dlis"))  # doctest: +SKIP
    >>> for batch in extract_from_files(extractor, list_images(["night/"])):  # doctest: +SKIP
    ...     print(batch.values.shape, batch.portraits[0].modality)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vireid.data.images import decode_image, resized
from vireid.data.listing import ListedImage
from vireid.data.portrait import Portrait, portray
from vireid.data.prefetch import prefetch
from vireid.errors import ConfigError, ImageError, first_few
from vireid.features.extractor import FeatureExtractor

__all__ = ["ExtractedBatch", "Known", "extract_from_bytes", "extract_from_files"]

Known = Callable[[Sequence[str]], Collection[str]]
"""Which of these SHA-256 need no feature any more."""

_MOST_BYTES = 2**29
"""Of a file that is read as an image; uncompressed, the largest image allowed has half of that."""


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedBatch:
    """Some images with their features.

    Attributes:
        images: What is told of each; paths are absolute, or the mere name of an upload.
        portraits: What is kept of each besides, with the modality that was told or guessed.
        values: Unit features, float32 ``[n, d]``, row for row.
        model: What the network is, as text by name.
        fingerprint: Short name of exactly its weights.
        bad: What is wrong with each image that was skipped, one sentence each; these are in no
            other field.
        known: How many images were left out because they are known; these are in no other field.
    """

    images: tuple[ListedImage, ...]
    portraits: tuple[Portrait, ...]
    values: NDArray[np.float32]
    model: dict[str, str]
    fingerprint: str
    bad: tuple[str, ...] = ()
    known: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def seen(self) -> int:
        """How many images this is about: described, skipped or known."""
        return len(self.images) + len(self.bad) + self.known


class _Looked(NamedTuple):
    """An image read, decoded and resized to ``[H, W, 3]``."""

    image: ListedImage
    portrait: Portrait
    pixels: NDArray[np.uint8]


class _Bad(NamedTuple):
    """An image that cannot be read, and a sentence that says why."""

    path: Path
    fault: str


def extract_from_files(
    extractor: FeatureExtractor,
    images: Sequence[ListedImage],
    *,
    batch_size: int = 64,
    skip_bad: bool = False,
    known: Known | None = None,
) -> Iterator[ExtractedBatch]:
    """Describe images batch by batch: memory does not grow with their number.

    Several threads decode the next batch while the network works on the present one. An image has
    the feature that :meth:`FeatureExtractor.extract` gives it, up to rounding where it is
    computed beside
    other images than there.

    Args:
        extractor: The network.
        images: The images.
        batch_size: Images a batch; has no influence on the features beyond rounding.
        skip_bad: Leave images out that cannot be read, and tell them in the batch.
        known: Asked for each batch before the network is: images that it knows are left out.

    Yields:
        Batches, in the order of the images.

    Raises:
        ConfigError: The batch size is out of range.
        ImageError: An image cannot be read; before anything is described if a file is missing.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size {batch_size} is out of range; expected at least 1.")
    if not skip_bad:
        # So that hours of work do not end at a file that was never there.
        paths = [image.path for image in images]
        # Path.exists raises where a folder may not be entered.
        absent = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110
        _refuse([_Bad(path, _missing(path)) for path in absent])
    batches = [images[at : at + batch_size] for at in range(0, len(images), batch_size)]
    size = extractor.size
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "vireid-images") as pool:

        def look_at(batch: Sequence[ListedImage]) -> list[_Looked | _Bad]:
            return list(pool.map(lambda image: _try_file(image, size), batch))

        for looked in prefetch(look_at, batches):
            bad = [found for found in looked if isinstance(found, _Bad)]
            if not skip_bad:
                _refuse(bad)
            good = [found for found in looked if isinstance(found, _Looked)]
            done = known([found.portrait.sha256 for found in good]) if known else ()
            new = [found for found in good if found.portrait.sha256 not in done]
            batch = _extract_batch(extractor, new)
            faults = tuple(found.fault for found in bad)
            yield replace(batch, bad=faults, known=len(good) - len(new))


def extract_from_bytes(
    extractor: FeatureExtractor, data: Sequence[bytes], images: Sequence[ListedImage]
) -> ExtractedBatch:
    """Describe images that lie in memory, such as uploads, in one batch.

    Args:
        extractor: The network.
        data: The bytes of each image file.
        images: What is told of each; the path's name is what messages call it.

    Raises:
        ImageError: An image cannot be read; the first one.
    """
    size = extractor.size
    pairs = zip(images, data, strict=True)
    return _extract_batch(extractor, [_look(image, held, size) for image, held in pairs])


def _extract_batch(extractor: FeatureExtractor, looked: Sequence[_Looked]) -> ExtractedBatch:
    height, width = extractor.size
    pixels = np.empty((len(looked), height, width, 3), dtype=np.uint8)
    for row, found in zip(pixels, looked, strict=True):
        row[:] = found.pixels
    portraits = tuple(found.portrait for found in looked)
    return ExtractedBatch(
        images=tuple(found.image for found in looked),
        portraits=portraits,
        values=extractor.extract_pixels(
            torch.from_numpy(pixels).permute(0, 3, 1, 2),
            [portrait.modality for portrait in portraits],
        ),
        model=extractor.about,
        fingerprint=extractor.fingerprint,
    )


def _try_file(image: ListedImage, size: tuple[int, int]) -> _Looked | _Bad:
    try:
        data = _read(image.path)
        return _look(replace(image, path=image.path.absolute()), data, size)
    except ImageError as error:
        return _Bad(image.path, str(error))


def _look(image: ListedImage, data: bytes, size: tuple[int, int]) -> _Looked:
    decoded = decode_image(data, name=str(image.path))
    portrait = portray(decoded, data, modality=image.modality)
    return _Looked(image, portrait, resized(decoded, size))


def _read(path: Path) -> bytes:
    try:
        # Neither Parquet nor JSON can hold other names.
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
            f"'{path}' cannot be opened ({error}); expected a file that you may read; mend its"
            " rights, or leave it out."
        ) from error
    raise ImageError(
        f"'{path}' has {status.st_size:,} bytes; expected an image, of at most {_MOST_BYTES:,};"
        " leave it out."
    )


def _missing(path: Path) -> str:
    return (
        f"'{path}' does not exist; expected an image; put it back, mend its path, or leave it out."
    )


def _refuse(bad: Sequence[_Bad]) -> None:
    """Raise what is wrong with images, if anything is."""
    if len(bad) == 1:
        raise ImageError(bad[0].fault)
    if bad:
        raise ImageError(
            f"{bad[0].fault} It is the first of {len(bad):,} bad images:"
            f" {first_few(found.path for found in bad)}."
        )
