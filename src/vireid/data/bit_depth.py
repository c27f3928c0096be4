"""The values of image files of more than 8 bits, and what their headers say about them.

Pillow gives the values of grey images as modes ``I;16``, ``I`` and ``F``. Of 16-bit colour, and of
16-bit grey with alpha, it gives the upper 8 bits of each value only; the lower 8 are decoded a
second time here. 16-bit palettes do not exist, and CMYK stays as Pillow gives it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vireid.data.tone_mapping import ROWS, ToneMapping

__all__ = [
    "LEVELS",
    "PREVIEW",
    "REMARKS",
    "UNDEFINED",
    "FileDepth",
    "Levels",
    "strips_of",
    "to_8_bits",
]

REMARKS = "remarks"
"""Key in ``Image.info`` of how an image was converted: sentences that follow a number of images."""
LEVELS = "levels"
"""Key in ``Image.info`` of an image of more than 8 bits: its :class:`Levels`."""

# How Pillow unpacks the upper bytes of 16-bit values, and what unpacks the lower ones.
_LOWER = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
    "LA;16B": "RGBA",
}
_GREY_ALPHA = _LOWER["LA;16B"]
# libtiff gives values in the order of this machine.
_NATIVE = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _PLANAR, _SAMPLE_FORMAT = 258, 262, 281, 284, 339

PREVIEW = "in FLIR's radiometric JPEG: the 8-bit preview is used, not the temperatures"
UNDEFINED = "with pixels that are not a number (NaN), shown in black, or infinite"


class FileDepth(NamedTuple):
    """What the header of an image file says about its values.

    Attributes:
        bits: The bits that are used of each value, 9 to 16.
        scaled: Whether values of fewer bits may have been scaled to 16, as PNG prescribes.
        lower: The tiles that give the lower bytes of 16-bit colour; empty for other images.
        unsigned: Whether 32-bit values are unsigned, which Pillow ignores.
        inverted: Whether the lowest value is white, which Pillow ignores above 8 bits.
        preview: Whether it is the 8-bit preview of a radiometric JPEG by FLIR.
    """

    bits: int = 16
    scaled: bool = False
    lower: tuple[Any, ...] = ()
    unsigned: bool = False
    inverted: bool = False
    preview: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> FileDepth:
        """Read it from a file that Pillow has opened and not yet decoded.

        Two faults of Pillow are corrected on the way: it scales the values of 16-bit PGM and PPM by
        their maximum, and swaps the bytes of compressed big-endian TIFF twice.

        Raises:
            ValueError: If it is 16-bit colour in separate planes, which Pillow misreads.
        """
        tiles: list[Any] = getattr(image, "tile", [])
        sensor = 16
        if image.format == "PPM" and tiles and tiles[0].codec_name == "ppm":
            highest = tiles[0].args[1]
            sensor = _bits_up_to(highest)
            if highest > 255:
                raw = "I;16B" if image.mode == "I" else "RGB;16B"
                tiles[:] = [tile._replace(codec_name="raw", args=raw) for tile in tiles]
        elif tiles and tiles[0].codec_name == "libtiff":
            first, *others = tiles[0].args
            tiles[:] = [tiles[0]._replace(args=(_NATIVE.get(first, first), *others))]
        lower = tuple(tile for tile in map(_lower, tiles) if tile)
        match image.format:
            case "TIFF":
                tags = image.tag_v2  # type: ignore[attr-defined]
                bits, signed = tags.get(_BITS_PER_SAMPLE, (16,)), tags.get(_SAMPLE_FORMAT, (1,))
                if bits[0] == 16 and len(bits) > 1 and tags.get(_PLANAR) == 2:
                    raise ValueError(
                        "its 16-bit channels are in separate planes (PlanarConfiguration 2), which"
                        " Pillow misreads; save it with interleaved channels"
                    )
                highest = tags.get(_MAX_SAMPLE_VALUE, 0)
                highest = highest[0] if isinstance(highest, tuple) and highest else highest
                sensor = _bits_up_to(highest) if isinstance(highest, int) else 16
                return cls(
                    bits=_between(sensor, min(bits)),
                    lower=lower,
                    unsigned=bits == (32,) and signed == (1,),
                    inverted=tags.get(_PHOTOMETRIC) == 0,
                )
            case "PNG":
                deep = lower or image.mode == "I;16"
                bits = _between(_significant_bits(image)) if deep else 16
                return cls(bits=bits, scaled=bits < 16, lower=lower)
            case "JPEG" | "MPO":
                segments = getattr(image, "applist", ())
                return cls(
                    preview=any(n == "APP1" and data.startswith(b"FLIR\0") for n, data in segments)
                )
        return cls(bits=_between(sensor), lower=lower)


class Levels(NamedTuple):
    """The range of values that an image of more than 8 bits uses.

    Attributes:
        how: How it was mapped to 8 bits, in words.
        low: The 1st percentile.
        high: The 99th percentile.
        highest: The highest value that the depth of the file can hold; 0 if it has no such limit.
    """

    how: str
    low: float
    high: float
    highest: int


def to_8_bits(
    image: Image.Image, lower: Image.Image | None, depth: FileDepth, tone_mapping: ToneMapping
) -> Image.Image:
    """Map the values of an image of more than 8 bits; images of 8 bits are returned as they are.

    Args:
        image: The decoded image.
        lower: The image decoded by ``depth.lower``, where there is any.
        depth: The depth of the file.
        tone_mapping: The tone mapping of the image's camera.

    Returns:
        The image, with ``REMARKS`` and ``LEVELS`` in its ``info`` where they apply.

    Raises:
        ToneMappingError: If the tone mapping does not apply to such values.
    """
    if depth.preview:
        image = image.copy()
        image.info[REMARKS] = (PREVIEW,)
    if lower is None and not image.mode.startswith(("I", "F")):
        return image
    strips = partial(_values, image, lower, depth)
    unscaled = not depth.scaled or any(
        (strip & (2 ** (16 - depth.bits) - 1)).any() for strip in strips()
    )
    window = tone_mapping.window(strips, depth=depth.bits if unscaled else 16)
    grey = lower is None or depth.lower[0].args == _GREY_ALPHA
    result = Image.new("L" if grey else "RGB", image.size)
    for number, pixels in enumerate(window.map(strips())):
        strip = Image.fromarray(255 - pixels if depth.inverted else pixels)
        result.paste(strip, (0, number * ROWS))
    remarks = [f"of more than 8 bits: {window.how} (tone mapping {tone_mapping})"]
    if window.undefined:
        remarks.append(UNDEFINED)
    result.info = {
        LEVELS: Levels(window.how, window.low, window.high, window.highest),
        REMARKS: (*remarks,),
    }
    return result


def strips_of(image: Image.Image) -> Iterator[NDArray[Any]]:
    """The pixels of an image from top to bottom, ``[ROWS, W]`` or ``[ROWS, W, C]``.

    An array of all pixels would take two and a half times the memory of the image.

    Args:
        image: The image.
    """
    for top in range(0, image.height, ROWS):
        yield np.asarray(image.crop((0, top, image.width, min(top + ROWS, image.height))))


def _values(
    image: Image.Image, lower: Image.Image | None, depth: FileDepth
) -> Iterator[NDArray[Any]]:
    """Strips of uint16, integers of 32 bits or float32, ``[h, W]`` or ``[h, W, 3]``."""
    if lower is not None:
        grey = depth.lower[0].args == _GREY_ALPHA
        for values, below in zip(strips_of(image), strips_of(lower), strict=True):
            # Grey and alpha: grey from the upper bytes in all channels, and the file's four bytes.
            own, low = (0, 1) if grey else (slice(3), slice(3))
            yield np.left_shift(values[..., own], 8, dtype=np.uint16) | below[..., low]
        return
    for values in strips_of(image):
        if image.mode.startswith("I;16"):
            yield values.astype(np.uint16)
        elif image.mode == "I":
            yield values.view(np.uint32 if depth.unsigned else np.int32)
        else:
            yield values


def _bits_up_to(highest: int) -> int:
    """The bits of a sensor with this highest value; 16 if it is that of an image instead."""
    return highest.bit_length() if highest & (highest + 1) == 0 else 16


def _between(*bits: int) -> int:
    """The least of some numbers of bits that are more than 8 and less than 16; else 16."""
    return min((n for n in bits if 8 < n < 16), default=16)


def _lower(tile: Any) -> Any:
    """The tile that gives the lower bytes instead; None if it is not one of 16-bit colour."""
    first, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
    if first not in _LOWER:
        return None
    own = _LOWER[first]
    return tile._replace(args=own if isinstance(tile.args, str) else (own, *others))


def _significant_bits(image: Image.Image) -> int:
    """The first number in the chunk sBIT of a PNG; 16 without one."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if file is None or file.closed:  # loaded already
        return 16
    before = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                break
            if name == b"sBIT":
                return file.read(1)[0] if length else 16
            file.seek(length + 4, 1)
        return 16
    finally:
        file.seek(before)
