"""The contact sheet of a check: visible and infrared images of a few identities."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from vireid.data.check.content import Splits
from vireid.data.images import read_image
from vireid.data.sheet import Cell, contact_sheet
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError
from vireid.files import write_atomic
from vireid.types import ImageRecord, Modality

__all__ = ["check_extension", "write_sheet"]

T = TypeVar("T")

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_IDENTITIES = 3  # a split
_COLUMNS = 8
_CELL = (84, 168)


def check_extension(path: Path) -> None:
    """Check the file name of a sheet before any work is done.

    Raises:
        ConfigError: If the extension is not one of a format for sheets.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(
            f"--sheet '{path}' has no image extension; expected one of {', '.join(_FORMATS)};"
            " pass a name such as sheet.jpg."
        )


def write_sheet(
    path: Path, splits: Splits, readable: Collection[Path], tone_mapping: ToneMapping
) -> Path:
    """Write a contact sheet: visible images of an identity in one row, infrared ones below.

    Args:
        path: The file to write (.jpg or .png).
        splits: The images of each split.
        readable: The images that can be read; others are omitted.
        tone_mapping: How images of more than 8 bits are mapped to 8.

    Returns:
        ``path``.

    Raises:
        OSError: If the file cannot be written.
    """
    rows: list[str | list[Cell]] = []
    for split, records in splits.items():
        usable = [record for record in records if record.path in readable]
        identities = sorted({(record.identity, record.identity_name) for record in usable})
        for identity, name in _spread(identities, _IDENTITIES):
            rows.append(f"{split}, identity {name}: visible, infrared below")
            for modality in Modality:
                seen = [r for r in usable if (r.identity, r.modality) == (identity, modality)]
                seen.sort(key=lambda record: (record.camera, record.path))
                rows.append([_cell(record, tone_mapping) for record in _spread(seen, _COLUMNS)])
    if not rows:
        rows.append("No image of any split can be read.")
    buffer = io.BytesIO()
    contact_sheet(rows, cell=_CELL).save(buffer, _FORMATS[path.suffix.lower()], quality=90)
    return write_atomic(path, buffer.getvalue())


def _cell(record: ImageRecord, tone_mapping: ToneMapping) -> Cell:
    camera = f", cam {record.camera_name}" if record.camera else ""
    image = read_image(record.path, tone_mapping.of(record.camera_name))
    return Cell(image, f"{record.identity_name}{camera}")


def _spread(values: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of the values, evenly spaced."""
    if len(values) <= count:
        return list(values)
    return [values[i] for i in np.linspace(0, len(values) - 1, count).round().astype(int)]
