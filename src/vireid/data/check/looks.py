"""One look at one image file: whether it is whole, and the few facts that a check keeps of it."""

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

from vireid.data.check.kinds import DAMAGED, EMPTY, NO_IMAGE, TOO_LARGE, UNREADABLE, Kind
from vireid.data.images import read_image
from vireid.data.inspection import mean_chroma
from vireid.errors import ConfigError, ImageError

__all__ = ["ENDINGS", "Look", "look", "look_at_all"]

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""The endings that names of each image format have."""

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
    b"\x00\x05\x16\x07": "a companion file of macOS",
    b"version https://git-lfs": "a pointer of Git LFS, which stands for a file not yet fetched",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one image.

    Attributes:
        fault: What is wrong with the file; None if it is a whole image.
        reason: Particulars of the fault; may be empty.
        format: The image format that the content tells; empty for a row of an array.
        size: Width and height, in pixels.
        chroma: How colourful, see :func:`~vireid.data.inspection.mean_chroma`.
        flat: Whether all pixels are equal.
        digest: 16 bytes that two images share if their decoded pixels are equal, else not.
    """

    fault: Kind | None = None
    reason: str = ""
    format: str = ""
    size: tuple[int, int] = (0, 0)
    chroma: float = 0.0
    flat: bool = False
    digest: bytes = b""


def look_at_all(
    paths: Sequence[Path], *, threads: int | None = None, progress: bool = False
) -> dict[Path, Look]:
    """Look at many images, each once.

    Args:
        paths: Files, or rows of arrays (``FILE.npy/ROW``).
        threads: Threads that decode; as many as there are processors, at most 8, by default.
        progress: Show a bar with images/s on standard error.

    Returns:
        What is kept of each; no pixels.

    Raises:
        ConfigError: If the number of threads is out of range.
    """
    if threads is None:
        threads = min(8, os.cpu_count() or 1)
    if threads < 1:
        raise ConfigError(f"--threads {threads} is out of range; expected at least 1.")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vireid-check")
    try:
        looks = tqdm(
            pool.map(look, paths),
            total=len(paths),
            desc="checking",
            unit="image",
            disable=None if progress else True,
        )
        return dict(zip(paths, looks, strict=True))
    finally:
        # Otherwise Ctrl-C would wait for all images that are still to come.
        pool.shutdown(cancel_futures=True)


def look(path: Path) -> Look:
    """Look at one image.

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
            return Look(UNREADABLE, error.strerror or str(error))
        if not head:
            return Look(EMPTY)
        file_format = _format(head)
        if not file_format:
            return Look(NO_IMAGE, _seems(head))
    try:
        image = read_image(path)
    except ImageError as error:
        return Look(DAMAGED, str(error)) if row else _fault(error)
    pixels = np.asarray(image)
    digest = hashlib.blake2b(repr(pixels.shape).encode("ascii"), digest_size=16)
    digest.update(pixels.tobytes())
    return Look(
        format=file_format,
        size=image.size,
        chroma=mean_chroma(pixels),
        flat=bool((pixels == pixels[0, 0]).all()),
        digest=digest.digest(),
    )


def _fault(error: ImageError) -> Look:
    match error.__cause__:
        # The bound on pixels is the one refusal that no decoder's error caused.
        case None | Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return Look(TOO_LARGE)
        case UnidentifiedImageError():
            # Its own words are the whole path and no more.
            return Look(DAMAGED, "its header is damaged or cut off")
        case cause:
            return Look(DAMAGED, str(cause))


def _format(head: bytes) -> str:
    """The image format that first bytes tell, or an empty string."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _IMAGES.items() if head.startswith(start)), "")


def _seems(head: bytes) -> str:
    """What a file that is no image seems to be, in words."""
    for start, words in _OTHERS.items():
        if head.startswith(start):
            return words
    if head[4:8] == b"ftyp":
        return "a video, HEIC or AVIF file"
    if not head.strip(b"\x00"):
        return "zero bytes, as a broken download leaves them"
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "a web page (HTML)"
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        text = "\x00"
    if all(c.isprintable() or c.isspace() for c in text):
        return f"a text that begins with '{' '.join(text.split())[:40]}'"
    return "data of no known kind"
