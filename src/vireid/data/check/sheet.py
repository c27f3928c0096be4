"""The contact sheet of a check: what visible and infrared images of a few identities look like."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from vireid.data.check.content import Splits
from vireid.data.images import read_image
from vireid.data.sheet import Cell, contact_sheet
from vireid.errors import ConfigError
from vireid.files import write_atomic
from vireid.types import ImageRecord, Modality

__all__ = ["check_ending", "write_sheet"]

T = TypeVar("T")

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_IDENTITIES = 3  # a split
_COLUMNS = 8
_CELL = (84, 168)


def check_ending(path: Path) -> None:
    """Refuse a sheet's name before any work is done.

    Raises:
        ConfigError: If the ending tells no image format that a sheet is written in.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(
            f"--sheet '{path}' does not end like an image; expected one of {', '.join(_FORMATS)};"
            " name the file sheet.jpg, say."
        )


def write_sheet(path: Path, splits: Splits, whole: Collection[Path]) -> Path:
    """Write a contact sheet: visible images of an identity in one row, infrared ones beneath.

    Args:
        path: The file to write (.jpg or .png).
        splits: The images of each split.
        whole: The images that can be read; others are left out.

    Returns:
        ``path``.

    Raises:
        OSError: If the file cannot be written.
    """
    rows: list[str | list[Cell]] = []
    for split, records in splits.items():
        usable = [record for record in records if record.path in whole]
        identities = sorted({record.identity for record in usable})
        for identity in _spread(identities, _IDENTITIES):
            rows.append(f"{split}, identity {identity}: visible, and infrared beneath")
            for modality in Modality:
                seen = [r for r in usable if (r.identity, r.modality) == (identity, modality)]
                seen.sort(key=lambda record: (record.camera, record.path))
                rows.append([_cell(record) for record in _spread(seen, _COLUMNS)])
    if not rows:
        rows.append("No image of any split can be read.")
    buffer = io.BytesIO()
    contact_sheet(rows, cell=_CELL).save(buffer, _FORMATS[path.suffix.lower()], quality=90)
    return write_atomic(path, buffer.getvalue())


def _cell(record: ImageRecord) -> Cell:
    camera = f", cam {record.camera}" if record.camera else ""
    return Cell(read_image(record.path), f"{record.identity}{camera}")


def _spread(values: Sequence[T], count: int) -> list[T]:
    """At most so many of the values, evenly spread over them."""
    if len(values) <= count:
        return list(values)
    return [values[i] for i in np.linspace(0, len(values) - 1, count).round().astype(int)]
