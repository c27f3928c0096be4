"""Read single images as 8-bit RGB, and resize them.

All formats are converted to upright 8-bit RGB. An unreadable image is named in an
:class:`~vireid.errors.ImageError`, never replaced by another. Damaged metadata does not make an
image unreadable; where the orientation cannot be read, the image is taken as it is stored.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vireid.data.bit_depth import LEVELS, REMARKS, FileDepth, to_8_bits
from vireid.data.decoding import MAX_PIXELS, decoding, is_slow_jpeg, reserve
from vireid.data.file_kind import PILLOW_FORMATS, RAW, is_raw, kind_of, refusal
from vireid.data.metadata import load_upright, pixels_only
from vireid.data.tone_mapping import AUTO, ToneMapping, ToneMappingError
from vireid.errors import ImageError

__all__ = [
    "DECODER",
    "FIRST_FRAME",
    "MAX_SIDE",
    "METADATA_FAULT",
    "decode_image",
    "open_image",
    "read_converted",
    "read_image",
    "read_resized",
    "resized",
    "rgb_image",
    "too_slow",
]

DECODER = 3
"""Increase whenever :func:`read_image` or :func:`read_resized` gives different pixels than before,
so that packed caches are rebuilt."""

FIRST_FRAME = "with several frames or pages: the first is used"
"""One of the ``REMARKS``."""
METADATA_FAULT = "metadata fault"
"""Key in ``Image.info`` of an image that was read although its metadata is damaged: the reason."""

# A second attempt would not change these.
_FINAL = (
    ImageError,
    FileNotFoundError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_TILE_SIDES = (322, 323)
"""The tags of a TIFF's tile width and length."""

MAX_SIDE = 16_384
"""Maximum width and height of an image, in pixels. :func:`resized` first makes an image as narrow
as the network's input, which would widen one of 1 x 3,000,000 pixels to 1.7 GB."""


def read_image(path: Path, tone_mapping: ToneMapping = AUTO) -> Image.Image:
    """Read an image as 8-bit RGB, upright.

    The EXIF orientation is applied. Grey becomes three equal channels, more than 8 bits are mapped
    to 8, CMYK and palettes are converted, an alpha channel is dropped.

    Args:
        path: The file; its extension is ignored. ``FILE.npy/ROW`` is one image, from 0, of an
            array of uint8 ``[N, H, W, 3]`` or ``[N, H, W]``.
        tone_mapping: How more than 8 bits are mapped to 8: the mapping of the image's camera.

    Raises:
        ImageError: If the file is missing, empty, truncated, not an image, or larger than 89
            million pixels or than ``MAX_SIDE`` in width or height; if the tone mapping does not
            apply to its values; if an array does not have that shape or has no such row.
    """
    if path.parent.suffix == ".npy":
        return _read_row(path.parent, path.name)
    try:
        return _decode(path, str(path), tone_mapping)
    except FileNotFoundError:
        raise ImageError(
            f"'{path}' does not exist; expected an image; restore it, or open the data set again."
        ) from None


def decode_image(data: bytes, *, name: str, tone_mapping: ToneMapping = AUTO) -> Image.Image:
    """Decode the bytes of an image file like :func:`read_image`.

    Args:
        data: All bytes of the file.
        name: Its name, for messages.
        tone_mapping: As for :func:`read_image`.

    Raises:
        ImageError: If it is empty, truncated, not an image, or larger than 89 million pixels or
            than ``MAX_SIDE`` in width or height; if the tone mapping does not apply to its values.
    """
    return _decode(io.BytesIO(data), name, tone_mapping)


def rgb_image(image: Image.Image, *, name: str, tone_mapping: ToneMapping = AUTO) -> Image.Image:
    """Convert an image in memory like :func:`read_image`.

    Args:
        image: A PIL image of any mode; it is not changed.
        name: Its name, for messages.
        tone_mapping: As for :func:`read_image`.

    Raises:
        ImageError: If it is empty, closed, truncated or too large, or the tone mapping does not
            apply to its values.
    """
    _check_size(name, *image.size)
    try:
        if not all(image.size):
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        # Pillow keeps only the upper 8 bits of 16-bit colour in memory.
        depth = FileDepth.of(image)._replace(lower=())
        upright, _ = load_upright(image)
        return _to_rgb(to_8_bits(upright, None, depth, tone_mapping))
    except Exception as error:  # files that PIL opened and has not decoded yet may be damaged
        raise ImageError(
            f"'{name}' (mode {image.mode}) cannot be read: {error}; expected a complete image that"
            " Pillow can convert to RGB; convert it, or leave it out."
        ) from error


def open_image(source: Path | io.BytesIO) -> Image.Image:
    """Open an image file, without its metadata if these are damaged; no pixel is decoded.

    Args:
        source: The file.

    Raises:
        Exception: Whatever Pillow raises for the file.
    """
    try:
        return Image.open(source, formats=PILLOW_FORMATS)
    except _FINAL:
        raise
    except Exception as error:  # damaged files lead decoders to raise nearly anything
        if not (stripped := pixels_only(_content(source))):
            raise
        try:
            return Image.open(io.BytesIO(stripped.data), formats=PILLOW_FORMATS)
        except Exception:
            raise error from None


def _decode(source: Path | io.BytesIO, name: str, tone_mapping: ToneMapping) -> Image.Image:
    """Read an image; of a file that does not exist, FileNotFoundError is passed on."""
    try:
        try:
            return _load(source, name, tone_mapping)
        except _FINAL:
            raise
        except Exception as error:
            if not (stripped := pixels_only(_content(source))):
                raise
            try:
                image = _load(io.BytesIO(stripped.data), name, tone_mapping, exif=stripped.exif)
            except Exception:
                raise error from None
            # Pillow does not say why it cannot identify a file.
            why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            image.info.setdefault(METADATA_FAULT, f"read without its metadata{why}")
            return image
    except (ImageError, FileNotFoundError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"'{name}' is too large ({error}); expected at most {MAX_PIXELS:,} pixels; make it"
            " smaller, or leave it out."
        ) from error
    except Exception as error:  # damaged files lead decoders to raise nearly anything
        kind = kind_of(source.getvalue() if isinstance(source, io.BytesIO) else source)
        raise ImageError(refusal(f"'{name}' ({_bytes(source)})", kind, error)) from error


@decoding()
def _load(
    source: Path | io.BytesIO, name: str, tone_mapping: ToneMapping, *, exif: bytes = b""
) -> Image.Image:
    data = _jpeg(source)
    if is_slow_jpeg(data):
        raise _too_slow(name)
    with Image.open(io.BytesIO(data) if data else source, formats=PILLOW_FORMATS) as image:
        _check_size(name, *image.size)
        pixels = image.width * image.height
        tile = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        # A tile may be larger than the image, and is decoded whole.
        if (
            is_slow_jpeg(data, pixels)
            or math.prod(tile.get(n, 1) for n in _TILE_SIDES) > MAX_PIXELS
        ):
            raise _too_slow(name)
        reserve(pixels)
        if isinstance(image, TiffImageFile) and is_raw(image.tag_v2):
            raise ImageError(refusal(f"'{name}'", RAW)) from ValueError(f"it is {RAW.one}")
        depth = FileDepth.of(image)
        several = _has_frames(image)
        upright, fault = load_upright(image, exif)
    lower = None
    if depth.lower:
        with Image.open(source, formats=PILLOW_FORMATS) as second:
            second.tile = list(depth.lower)
            lower, _ = load_upright(second, exif)
    try:
        mapped = to_8_bits(upright, lower, depth, tone_mapping)
    except ToneMappingError as error:
        raise ImageError(
            f"'{name}' cannot be mapped to 8 bits: {error}; or leave it out."
        ) from error
    rgb = _to_rgb(mapped)
    # What else Pillow read of the metadata may be damaged, and would be saved with the image.
    rgb.info = {key: mapped.info[key] for key in (LEVELS, REMARKS) if key in mapped.info}
    if several:
        rgb.info[REMARKS] = (*rgb.info.get(REMARKS, ()), FIRST_FRAME)
    if fault:
        rgb.info[METADATA_FAULT] = fault
    return rgb


def _jpeg(source: Path | io.BytesIO) -> bytes:
    """The bytes of a JPEG file; empty of other files."""
    if isinstance(source, io.BytesIO):
        data = source.getvalue()  # no copy
        return data if data.startswith(b"\xff\xd8") else b""
    with source.open("rb") as file:
        return file.read() if file.read(2) == b"\xff\xd8" and not file.seek(0) else b""


def _too_slow(name: str) -> ImageError:
    error = ImageError(too_slow(name))
    error.__cause__ = ValueError("its compression takes very long to decode, or much memory")
    return error


def too_slow(name: str) -> str:
    """The message for an image that takes very long to decode, or much memory.

    Args:
        name: Its name.
    """
    return (
        f"'{name}' uses an unusual compression that takes very long to decode, or much memory;"
        " expected a usual one; save it again with an image editor, or leave it out."
    )


def _has_frames(image: Image.Image) -> bool:
    """Whether a file holds several frames or pages; for GIF Pillow looks for the second."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what is damaged behind the first frame does not matter
        return False


def _check_size(name: str, width: int, height: int) -> None:
    # Of many pixels Pillow only warns, and how a warning is treated cannot be set for one thread.
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageError(
            f"'{name}' has {width} x {height} pixels; expected at most {MAX_PIXELS:,}, and at"
            f" most {MAX_SIDE:,} in width and height; crop to the person, make it smaller, or leave"
            " it out."
        )


def read_resized(
    path: Path, size: tuple[int, int], tone_mapping: ToneMapping = AUTO
) -> NDArray[np.uint8]:
    """Read an image and resize it (bilinear, antialiased).

    Args:
        path: As for :func:`read_image`.
        size: Height and width, in pixels.
        tone_mapping: As for :func:`read_image`.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        ImageError: If the image cannot be read.
    """
    return read_converted(path, size, tone_mapping)[0]


def read_converted(
    path: Path, size: tuple[int, int], tone_mapping: ToneMapping
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read an image like :func:`read_resized`, and its ``REMARKS``."""
    with decoding():
        image = read_image(path, tone_mapping)
        return resized(image, size), image.info.get(REMARKS, ())


def resized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB image (bilinear, antialiased; the rows first, then the columns).

    Args:
        image: The image, of at most ``MAX_SIDE`` in height: in between, it has its own height and
            the given width.
        size: Height and width, in pixels.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    height, width = size
    # One axis per call: otherwise the version of Pillow determines which is resized first.
    narrow = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return np.asarray(narrow.resize((width, height), Image.Resampling.BILINEAR))


def _read_row(file: Path, row: str) -> Image.Image:
    try:
        # Unlike numpy.load it reads arrays only: no archives, and never pickles.
        array = np.lib.format.open_memmap(file, mode="r")
    except FileNotFoundError:
        raise ImageError(
            f"'{file}' does not exist; expected an array of images; restore it, or open the data"
            " set again."
        ) from None
    except Exception as error:  # numpy raises nearly anything for damaged files
        raise ImageError(
            f"'{file}' ({_bytes(file)}) cannot be read: {error}; expected a complete array of"
            " images, as numpy.save writes it; write it again."
        ) from error
    images = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    if not images or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            f"'{file}' holds {array.dtype} {list(array.shape)}; expected uint8 [N, H, W, 3] or"
            " [N, H, W]; write it again in that shape."
        )
    if not (row.isascii() and row.isdecimal() and int(row) < len(array)):
        raise ImageError(
            f"'{file}' has no row '{row}'; expected a number from 0 to {len(array) - 1}; open the"
            " data set again."
        )
    _check_size(f"{file}/{row}", array.shape[2], array.shape[1])
    return Image.fromarray(np.ascontiguousarray(array[int(row)])).convert("RGB")


def _content(source: Path | io.BytesIO) -> bytes:
    return source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()


def _bytes(source: Path | io.BytesIO) -> str:
    if isinstance(source, io.BytesIO):
        return f"{source.getbuffer().nbytes:,} bytes"
    try:
        return f"{source.stat().st_size:,} bytes"
    except OSError:
        return "of unknown size"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        # By way of RGBA, because Pillow warns about losing the transparency of palettes.
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
