"""Reading images: one file at a time, or a whole set resized and kept in memory.

Every image comes out as 8-bit RGB and upright, whatever it is stored as. An image that cannot be
read is named in an :class:`~vireid.errors.ImageError`, never replaced by another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from vireid.errors import ConfigError, ImageError
from vireid.types import ImageRecord

__all__ = ["ImageStack", "read_image"]

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
_MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: 256 MiB as RGB."""


def read_image(path: Path) -> Image.Image:
    """Read an image as 8-bit RGB, upright.

    Orientation in EXIF is applied. Grey becomes three equal channels, 16-bit grey is scaled by its
    full range, CMYK and palettes are converted, an alpha channel is dropped.

    Args:
        path: The file; its name's ending is not trusted.

    Raises:
        ImageError: If the file is missing, empty, truncated, not an image, of a kind whose
            brightness has no known scale, or larger than 89 million pixels.
    """
    try:
        # The formats are listed because Pillow would hand others to outside programs (EPS).
        with Image.open(path, formats=_FORMATS) as image:
            # Pillow only warns, and how a warning is treated cannot be set for one thread.
            if image.width * image.height > _MAX_PIXELS:
                raise ImageError(
                    f"'{path}' has {image.width} x {image.height} pixels; expected at most"
                    f" {_MAX_PIXELS:,}; make it smaller, or take it out of the data set."
                )
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"'{path}' is too large ({error}); expected at most {_MAX_PIXELS:,} pixels; make it"
            " smaller, or take it out of the data set."
        ) from error
    except FileNotFoundError:
        raise ImageError(
            f"'{path}' does not exist; expected an image; put it back, or open the data set again."
        ) from None
    except Exception as error:  # damaged files lead decoders to raise nearly anything
        raise ImageError(
            f"'{path}' ({_bytes(path)}) cannot be read: {error}; expected a whole image"
            f" ({', '.join(_FORMATS)}); copy it again, or take it out of the data set."
        ) from error


def _bytes(path: Path) -> str:
    try:
        return f"{path.stat().st_size:,} bytes"
    except OSError:
        return "of unknown size"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(
                f"values from {values.min()} to {values.max()} exceed the 16 bits of grey"
            )
        # 65,535 / 255 = 257; Pillow's own conversion would clip everything above 255.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known scale")
    elif image.mode == "P":
        # By way of RGBA, because Pillow warns of palettes whose transparency it would lose.
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


class ImageStack:
    """The images of a set of records, resized to one size, decoded by several threads.

    While the whole set fits ``memory_limit_bytes``, every image is decoded once and kept as uint8
    in one array; otherwise it is decoded each time it is asked for. Safe to use from several
    threads. Close it, or use it as a context manager, to end its threads and free its memory.

    Args:
        records: The images; a position in this sequence is an image's index.
        size: Height and width to resize to, in pixels (bilinear, antialiased).
        memory_limit_bytes: The most that kept images may take.
        threads: Threads that decode; as many as there are processors, at most 8, by default.

    Attributes:
        records: The images.
        size: Height and width, in pixels.
        in_memory: Whether decoded images are kept.

    Raises:
        ConfigError: If a size, the limit or the number of threads is out of range.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        *,
        size: tuple[int, int],
        memory_limit_bytes: int = 4 * 1024**3,
        threads: int | None = None,
    ) -> None:
        if min(size) < 1:
            raise ConfigError(f"--size {size[0]} {size[1]} is out of range; expected at least 1 1.")
        if memory_limit_bytes < 0:
            raise ConfigError(f"memory limit {memory_limit_bytes} is negative; expected bytes.")
        if threads is None:
            threads = min(8, os.cpu_count() or 1)
        if threads < 1:
            raise ConfigError(f"{threads} threads are out of range; expected at least 1.")
        self.records = tuple(records)
        self.size = size
        shape = (len(self.records), *size, 3)
        self.in_memory = int(np.prod(shape)) <= memory_limit_bytes
        # Not touched yet, hence not yet taken from the system.
        self._kept = np.empty(shape if self.in_memory else (0, *size, 3), dtype=np.uint8)
        self._filled = np.zeros(len(self.records), dtype=np.bool_)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-images")

    def __len__(self) -> int:
        return len(self.records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def name(self, index: int) -> str:
        """Return the file of one image, for messages."""
        return str(self.records[index].path)

    def fetch(self, indices: Iterable[int] | NDArray[np.integer] | Tensor) -> Tensor:
        """Return images by index, repeats allowed.

        Args:
            indices: Indices of the images, ``[n]``.

        Returns:
            uint8 ``[n, 3, H, W]``, in channels-last memory; the caller's to change.

        Raises:
            ImageError: If an image cannot be read; the first of ``indices`` that fails.
            IndexError: If an index is out of range.
        """
        wanted = _as_indices(indices)
        if ((wanted < 0) | (wanted >= len(self))).any():
            raise IndexError(f"indices {wanted.min()} to {wanted.max()} are not within {len(self)}")
        if self.in_memory:
            self._fill(wanted[~self._filled[wanted]])
            pixels = self._kept[wanted]
        else:
            decoded = list(self._pool.map(self._decode, wanted.tolist()))
            pixels = np.stack(decoded) if decoded else self._kept
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def preload(self, *, progress: bool = False) -> None:
        """Decode what is not in memory yet; nothing if the set exceeds the memory limit.

        Args:
            progress: Show a bar with images/s on standard error.

        Raises:
            ImageError: If an image cannot be read.
        """
        if self.in_memory:
            self._fill(np.flatnonzero(~self._filled), progress=progress)

    def close(self) -> None:
        """End the threads and free the memory; the stack cannot be used again."""
        self._pool.shutdown(cancel_futures=True)
        self._filled[:] = False
        self._kept = self._kept[:0].copy()

    def _decode(self, index: int) -> NDArray[np.uint8]:
        height, width = self.size
        image = read_image(self.records[index].path)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def _keep(self, index: int) -> int:
        self._kept[index] = self._decode(index)
        return index

    def _fill(self, missing: NDArray[np.int64], *, progress: bool = False) -> None:
        if not missing.size:
            return
        # Two threads may decode the same image at once: both write the same bytes, and the mark
        # that says "filled" is set only after the bytes are there.
        unique = list(dict.fromkeys(missing.tolist()))
        done = self._pool.map(self._keep, unique)
        with tqdm(
            done,
            total=len(unique),
            desc="decoding",
            unit="image",
            disable=None if progress else True,
        ) as bar:
            for index in bar:
                self._filled[index] = True


def _as_indices(indices: Iterable[int] | NDArray[np.integer] | Tensor) -> NDArray[np.int64]:
    if isinstance(indices, Tensor):
        indices = indices.numpy(force=True)
    values = indices if isinstance(indices, np.ndarray) else np.fromiter(indices, dtype=np.int64)
    return values.astype(np.int64)
