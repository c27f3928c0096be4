"""Reading images: one at a time, or many at once, resized to one size.

Every image comes out as 8-bit RGB and upright, whatever it is stored as. An image that cannot be
read is named in an :class:`~vireid.errors.ImageError`, never replaced by another.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vireid.errors import ConfigError, ImageError
from vireid.types import ImageRecord

__all__ = ["DECODER", "ImageStack", "decode_image", "read_image", "read_resized", "resized"]

DECODER = 2
"""To be raised whenever :func:`read_image` or :func:`read_resized` gives other pixels than before,
so that images decoded earlier are not taken for today's."""

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
_MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: 256 MiB as RGB."""


def read_image(path: Path) -> Image.Image:
    """Read an image as 8-bit RGB, upright.

    Orientation in EXIF is applied. Grey becomes three equal channels, 16-bit grey is scaled by its
    full range, CMYK and palettes are converted, an alpha channel is dropped.

    Args:
        path: The file; its name's ending is not trusted. ``FILE.npy/ROW`` is one image, from 0,
            of an array of uint8 ``[N, H, W, 3]`` or ``[N, H, W]``.

    Raises:
        ImageError: If the file is missing, empty, truncated, not an image, of a kind whose
            brightness has no known scale, or larger than 89 million pixels; if an array is not of
            that form or has no such row.
    """
    if path.parent.suffix == ".npy":
        return _read_row(path.parent, path.name)
    try:
        return _decode(path, str(path))
    except FileNotFoundError:
        raise ImageError(
            f"'{path}' does not exist; expected an image; put it back, or open the data set again."
        ) from None


def decode_image(data: bytes, *, name: str) -> Image.Image:
    """Read the bytes of an image file as :func:`read_image` does.

    Args:
        data: All bytes of the file.
        name: What it is called, for messages.

    Raises:
        ImageError: If it is empty, truncated, not an image, of a kind whose brightness has no
            known scale, or larger than 89 million pixels.
    """
    return _decode(io.BytesIO(data), name)


def _decode(source: Path | io.BytesIO, name: str) -> Image.Image:
    """Read an image; of a file that does not exist, FileNotFoundError is passed on."""
    try:
        # The formats are listed because Pillow would hand others to outside programs (EPS).
        with Image.open(source, formats=_FORMATS) as image:
            # Pillow only warns, and how a warning is treated cannot be set for one thread.
            if image.width * image.height > _MAX_PIXELS:
                raise ImageError(
                    f"'{name}' has {image.width} x {image.height} pixels; expected at most"
                    f" {_MAX_PIXELS:,}; make it smaller, or leave it out."
                )
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except (ImageError, FileNotFoundError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"'{name}' is too large ({error}); expected at most {_MAX_PIXELS:,} pixels; make it"
            " smaller, or leave it out."
        ) from error
    except Exception as error:  # damaged files lead decoders to raise nearly anything
        # Pillow's own words for this are the file's name, or an address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        raise ImageError(
            f"'{name}' ({_bytes(source)}) cannot be read:"
            f" {'no image was found in it' if unknown else error}; expected a whole image"
            f" ({', '.join(_FORMATS)}); copy it again, or leave it out."
        ) from error


def read_resized(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read an image and resize it (bilinear, antialiased).

    Args:
        path: As :func:`read_image` takes it.
        size: Height and width, in pixels.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        ImageError: If the image cannot be read.
    """
    return resized(read_image(path), size)


def resized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An RGB image in another size (bilinear, antialiased; the rows first, then the columns).

    Args:
        image: The image.
        size: Height and width, in pixels.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    height, width = size
    # One axis a call: which comes first, and is rounded first, is up to Pillow's version otherwise.
    narrow = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return np.asarray(narrow.resize((width, height), Image.Resampling.BILINEAR))


def _read_row(file: Path, row: str) -> Image.Image:
    try:
        # Unlike numpy.load it knows arrays alone: no archives, and no pickles whatever is allowed.
        array = np.lib.format.open_memmap(file, mode="r")
    except FileNotFoundError:
        raise ImageError(
            f"'{file}' does not exist; expected an array of images; put it back, or open the data"
            " set again."
        ) from None
    except Exception as error:  # damaged files lead numpy to raise nearly anything
        raise ImageError(
            f"'{file}' ({_bytes(file)}) cannot be read: {error}; expected a whole array of images,"
            " as numpy.save writes it; write it again."
        ) from error
    images = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    if not images or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            f"'{file}' holds {array.dtype} {list(array.shape)}; expected uint8 [N, H, W, 3] or"
            " [N, H, W]; write it again in that form."
        )
    if not (row.isascii() and row.isdecimal() and int(row) < len(array)):
        raise ImageError(
            f"'{file}' has no row '{row}'; expected a number from 0 to {len(array) - 1}; open the"
            " data set again."
        )
    return Image.fromarray(np.ascontiguousarray(array[int(row)])).convert("RGB")


def _bytes(source: Path | io.BytesIO) -> str:
    if isinstance(source, io.BytesIO):
        return f"{source.getbuffer().nbytes:,} bytes"
    try:
        return f"{source.stat().st_size:,} bytes"
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
    """The images of a set of records, resized to one size, decoded each time they are asked for.

    Several threads decode. Safe to use from several threads. Close it, or use it as a context
    manager, to end its threads.

    Args:
        records: The images; a position in this sequence is an image's index.
        size: Height and width to resize to, in pixels (bilinear, antialiased).
        threads: Threads that decode; as many as there are processors, at most 8, by default.

    Attributes:
        records: The images.
        size: Height and width, in pixels.

    Raises:
        ConfigError: If a size or the number of threads is out of range.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        *,
        size: tuple[int, int],
        threads: int | None = None,
    ) -> None:
        if min(size) < 1:
            raise ConfigError(f"--size {size[0]} {size[1]} is out of range; expected at least 1 1.")
        if threads is None:
            threads = min(8, os.cpu_count() or 1)
        if threads < 1:
            raise ConfigError(f"{threads} threads are out of range; expected at least 1.")
        self.records = tuple(records)
        self.size = size
        self._threads = threads
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
        pixels = np.empty((len(wanted), *self.size, 3), dtype=np.uint8)
        for _ in self._pool.map(self._read, wanted.tolist(), pixels):
            pass
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def close(self) -> None:
        """End the threads; the stack cannot be used again."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, index: int, into: NDArray[np.uint8]) -> None:
        """Put the pixels of one image into an array ``[H, W, 3]``."""
        into[:] = read_resized(self.records[index].path, self.size)


def _as_indices(indices: Iterable[int] | NDArray[np.integer] | Tensor) -> NDArray[np.int64]:
    if isinstance(indices, Tensor):
        indices = indices.numpy(force=True)
    values = indices if isinstance(indices, np.ndarray) else np.fromiter(indices, dtype=np.int64)
    return values.astype(np.int64)
