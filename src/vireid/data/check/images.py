"""The check of single image files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from vireid.data.bit_depth import LEVELS, REMARKS, Levels, strips_of
from vireid.data.check.faults import (
    DAMAGED,
    EMPTY,
    NOT_AN_IMAGE,
    TOO_LARGE,
    UNMAPPED,
    UNREADABLE,
    Fault,
)
from vireid.data.decoding import decoding
from vireid.data.file_kind import UNRECOGNISED, FileKind, kind_of
from vireid.data.images import METADATA_FAULT, read_image
from vireid.data.inspection import mean_chroma
from vireid.data.tone_mapping import AUTO, ToneMapping, ToneMappingError
from vireid.errors import ConfigError, ImageError

__all__ = ["CheckedImage", "check_image", "check_images"]


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """The result of checking one image.

    Attributes:
        fault: The fault of the file; None if it is a complete image.
        reason: Details of the fault; may be empty.
        kind: What the file is by its content; None for a row of an array.
        size: Width and height, in pixels.
        chroma: How colourful, see :func:`~vireid.data.inspection.mean_chroma`.
        flat: Whether all pixels are equal.
        digest: 16 bytes, equal if and only if the decoded pixels are equal.
        metadata: Why its metadata cannot be read; empty if it can.
        levels: The values that an image of more than 8 bits uses.
        remarks: How it was converted to 8 bits.
    """

    fault: Fault | None = None
    reason: str = ""
    kind: FileKind | None = None
    size: tuple[int, int] = (0, 0)
    chroma: float = 0.0
    flat: bool = False
    digest: bytes = b""
    metadata: str = ""
    levels: Levels | None = None
    remarks: tuple[str, ...] = ()


def check_images(
    paths: Sequence[Path],
    *,
    tone_mappings: Mapping[Path, ToneMapping] = MappingProxyType({}),
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, CheckedImage]:
    """Check images, each once.

    Args:
        paths: Files, or rows of arrays (``FILE.npy/ROW``).
        tone_mappings: How more than 8 bits are mapped to 8; ``auto`` where there is none.
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
            pool.map(lambda path: check_image(path, tone_mappings.get(path, AUTO)), paths),
            total=len(paths),
            desc="checking",
            unit="image",
            disable=None if progress else True,
        )
        return dict(zip(paths, checked, strict=True))
    finally:
        # Otherwise Ctrl-C would wait for all remaining images.
        pool.shutdown(cancel_futures=True)


@decoding()
def check_image(path: Path, tone_mapping: ToneMapping = AUTO) -> CheckedImage:
    """Check one image.

    Args:
        path: A file, or a row of an array (``FILE.npy/ROW``).
        tone_mapping: How more than 8 bits are mapped to 8.
    """
    kind = None
    row = path.parent.suffix == ".npy"
    if not row:
        try:
            if not path.stat().st_size:
                return CheckedImage(EMPTY)
            with path.open("rb"):
                kind = kind_of(path)
        except OSError as error:
            return CheckedImage(UNREADABLE, error.strerror or str(error))
        if not kind.format:
            return CheckedImage(NOT_AN_IMAGE, kind.one, kind)
    try:
        image = read_image(path, tone_mapping)
    except ImageError as error:
        return CheckedImage(DAMAGED, str(error)) if row else _fault(error)
    digest = hashlib.blake2b(repr((image.height, image.width, 3)).encode(), digest_size=16)
    for strip in strips_of(image):
        digest.update(strip.data)
    return CheckedImage(
        kind=kind,
        size=image.size,
        chroma=mean_chroma(strips_of(image)),
        flat=not np.ptp(np.array(image.getextrema()), axis=1).any(),
        digest=digest.digest(),
        metadata=image.info.get(METADATA_FAULT, ""),
        levels=image.info.get(LEVELS),
        remarks=image.info.get(REMARKS, ()),
    )


def _fault(error: ImageError) -> CheckedImage:
    match error.__cause__:
        # Only the limit on pixels is an error without a decoder's as its cause.
        case None | Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return CheckedImage(TOO_LARGE)
        case UnidentifiedImageError():
            # Its message is nothing but the path.
            return CheckedImage(DAMAGED, UNRECOGNISED)
        case ToneMappingError():
            return CheckedImage(UNMAPPED, str(error.__cause__))
        case cause:
            return CheckedImage(DAMAGED, str(cause))
