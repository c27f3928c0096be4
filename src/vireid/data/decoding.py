"""Limits on what decoding images may cost: time, and memory over all threads of a process."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

__all__ = ["MAX_PIXELS", "decoding", "is_slow_jpeg", "reserve"]

MAX_PIXELS = 89_478_485
"""Maximum number of pixels of an image, Pillow's own limit against decompression bombs; and of all
images that are decoded at once. 16-bit colour takes 12 bytes a pixel: one gibibyte."""

_MAX_SCANS, _MAX_WORK = 100, 10 * MAX_PIXELS
"""Maximum number of scans of a JPEG, and of scans times pixels. Encoders write about ten scans;
each takes a pass over all pixels, and 10 MB can hold 300,000 of them: half an hour."""
_MAX_SEGMENTS = 100
"""Maximum number of EXIF segments of a JPEG. Pillow copies all previous ones for each further one,
which takes 43 s for the 900,000 that 10 MB can hold."""
# Inside a scan the byte 0xFF is followed by 0 or a restart, and before a marker it may be repeated.
# The markers 1 and 0xD8 have no length.
_MARKER = re.compile(b"\xff[^\0\1\xd0-\xd8\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


class _Pixels:
    """The pixels that may be decoded at once."""

    def __init__(self) -> None:
        self._free = MAX_PIXELS
        self._changed = threading.Condition()

    def take(self, number: int) -> None:
        """Wait until there is room for so many."""
        with self._changed:
            self._changed.wait_for(lambda: number <= self._free)
            self._free -= number

    def give_back(self, number: int) -> None:
        with self._changed:
            self._free += number
            self._changed.notify_all()


class _Own(threading.local):
    """What the current thread has taken; None outside of :func:`decoding`."""

    pixels: int | None = None


_PIXELS, _OWN = _Pixels(), _Own()


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Hold the memory of the image that is decoded in the block until its end.

    Threads wait where all images together would have more than ``MAX_PIXELS``. A block inside
    another one adds nothing to it.
    """
    if _OWN.pixels is not None:
        yield
        return
    _OWN.pixels = 0
    try:
        yield
    finally:
        _PIXELS.give_back(_OWN.pixels)
        _OWN.pixels = None


def reserve(pixels: int) -> None:
    """Wait, in a block of :func:`decoding`, until an image of so many pixels may be decoded.

    An image that was decoded before in the same block no longer counts: a thread that held one
    while it waits could wait for ever.

    Args:
        pixels: At most ``MAX_PIXELS``.
    """
    assert _OWN.pixels is not None
    _PIXELS.give_back(_OWN.pixels)
    _OWN.pixels = 0
    _PIXELS.take(pixels)
    _OWN.pixels = pixels


def is_slow_jpeg(data: bytes, pixels: int = 0) -> bool:
    """Whether opening or decoding a JPEG takes far more time than its number of pixels suggests.

    Args:
        data: All bytes of the file.
        pixels: Its number of pixels, where that is known.
    """
    if data.count(b"Exif\0\0") > _MAX_SEGMENTS:
        return True
    scans, at = 0, 2
    # What follows the image, such as the video of a motion photo, is not decoded.
    while (marker := _MARKER.search(data, at)) and marker[0][1] != _END_OF_IMAGE:
        at = marker.end()
        at += int.from_bytes(data[at : at + 2])
        scans += marker[0][1] == _START_OF_SCAN
        if scans > _MAX_SCANS or scans * pixels > _MAX_WORK:
            return True
    return False
