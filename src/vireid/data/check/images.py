"""The check of single image files."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from vireid.data.check.faults import (
    DAMAGED,
    EMPTY,
    NOT_AN_IMAGE,
    TOO_LARGE,
    UNREADABLE,
    Fault,
)
from vireid.data.images import METADATA_FAULT, read_image
from vireid.data.inspection import mean_chroma
from vireid.errors import ConfigError, ImageError

__all__ = ["EXTENSIONS", "CheckedImage", "check_image", "check_images"]

EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""The file extensions of each image format."""

_HEAD = 512
_IMAGES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"P1": "PPM",
    b"P2": "PPM",
    b"P3": "PPM",
    b"P4": "PPM",
    b"P5": "PPM",
    b"P6": "PPM",
}
_OTHERS = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x00\x05\x16\x07": "a macOS companion file",
    b"version https://git-lfs": "a Git LFS pointer to a file that was not fetched",
}


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """The result of checking one image.

    Attributes:
        fault: The fault of the file; None if it is a complete image.
        reason: Details of the fault; may be empty.
        format: The image format by content; empty for a row of an array.
        size: Width and height, in pixels.
        chroma: How colourful, see :func:`~vireid.data.inspection.mean_chroma`.
        flat: Whether all pixels are equal.
        digest: 16 bytes, equal if and only if the decoded pixels are equal.
        metadata: Why its metadata cannot be read; empty if it can.
    """

    fault: Fault | None = None
    reason: str = ""
    format: str = ""
    size: tuple[int, int] = (0, 0)
    chroma: float = 0.0
    flat: bool = False
    digest: bytes = b""
    metadata: str = ""


def check_images(
    paths: Sequence[Path], *, threads: int | None = None, progress: bool = False
) -> dict[Path, CheckedImage]:
    """Check images, each once.

    Args:
        paths: Files, or rows of arrays (``FILE.npy/ROW``).
        threads: Number of decoding threads; by default one per processor, at most 8.
        progress: Show a bar with images/s on standard error.

    Returns:
        The result by path; no pixels are kept.

    Raises:
        ConfigError: If the number of threads is out of range.
    """
    if threads is None:
        threads = min(8, os.cpu_count() or 1)
    if threads < 1:
        raise ConfigError(f"--threads {threads} is out of range; expected at least 1.")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-check")
    try:
        checked = tqdm(
            pool.map(check_image, paths),
            total=len(paths),
            desc="checking",
            unit="image",
            disable=None if progress else True,
        )
        return dict(zip(paths, checked, strict=True))
    finally:
        # Otherwise Ctrl-C would wait for all remaining images.
        pool.shutdown(cancel_futures=True)


def check_image(path: Path) -> CheckedImage:
    """Check one image.

    Args:
        path: A file, or a row of an array (``FILE.npy/ROW``).
    """
    file_format = ""
    row = path.parent.suffix == ".npy"
    if not row:
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            return CheckedImage(UNREADABLE, error.strerror or str(error))
        if not head:
            return CheckedImage(EMPTY)
        file_format = _image_format(head)
        if not file_format:
            return CheckedImage(NOT_AN_IMAGE, _guess_content(head))
    try:
        image = read_image(path)
    except ImageError as error:
        return CheckedImage(DAMAGED, str(error)) if row else _fault(error)
    pixels = np.asarray(image)
    digest = hashlib.blake2b(repr(pixels.shape).encode("ascii"), digest_size=16)
    digest.update(pixels.tobytes())
    return CheckedImage(
        format=file_format,
        size=image.size,
        chroma=mean_chroma(pixels),
        flat=bool((pixels == pixels[0, 0]).all()),
        digest=digest.digest(),
        metadata=image.info.get(METADATA_FAULT, ""),
    )


def _fault(error: ImageError) -> CheckedImage:
    match error.__cause__:
        # Only the limit on pixels is an error without a decoder's as its cause.
        case None | Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return CheckedImage(TOO_LARGE)
        case UnidentifiedImageError():
            # Its message is nothing but the path.
            return CheckedImage(DAMAGED, "its header is damaged or truncated")
        case cause:
            return CheckedImage(DAMAGED, str(cause))


def _image_format(head: bytes) -> str:
    """The image format of a file by its first bytes, or an empty string."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _IMAGES.items() if head.startswith(start)), "")


def _guess_content(head: bytes) -> str:
    """What a file that is not an image seems to be, in words."""
    for start, words in _OTHERS.items():
        if head.startswith(start):
            return words
    if head[4:8] == b"ftyp":
        return "a video, HEIC or AVIF file"
    if not head.strip(b"\x00"):
        return "zero bytes, as after an interrupted download"
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "a web page (HTML)"
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        text = "\x00"
    if all(c.isprintable() or c.isspace() for c in text):
        return f"text that begins with '{' '.join(text.split())[:40]}'"
    return "an unknown kind of data"
