"""Lists of images from files, folders, patterns and manifests.

A manifest is a CSV or Parquet file; only the column ``path`` is required:

    path,modality,camera,identity,time,note
    day/a.jpg,visible,entrance,,2024-05-31T12:00:00+02:00,
    night/b.png,infrared,yard,Ada,,seen twice

``path`` is relative to the manifest's folder unless it is absolute. ``camera`` and ``identity`` are
free text, ``modality`` is a key of :data:`~vireid.data.rows.MODALITIES`, ``time`` is in ISO 8601
(UTC unless it has an offset). Other columns are ignored, so a training manifest, or a file that
``vireid encode`` or ``vireid gallery export`` wrote, works too.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from vireid.data.layouts._common import files_below, is_image
from vireid.data.rows import MODALITIES, TABLES, Columns, read_rows
from vireid.errors import ConfigError, DatasetError, first_few
from vireid.times import parse_time
from vireid.types import ImageInfo, Modality

__all__ = ["list_images"]

_COLUMNS = Columns(
    required=("path",), optional=("modality", "camera", "identity", "time", "note", "added")
)


def list_images(
    sources: Sequence[str], *, modality: Modality | None = None, camera: str = ""
) -> list[ImageInfo]:
    """List images, each once, in the order of their sources.

    Args:
        sources: Image files, folders (searched recursively for files with the extension of an
            image, sorted), patterns such as ``day/**/*.jpg``, and manifests (``.csv``,
            ``.parquet``). The name of an existing file or folder is no pattern.
        modality: Modality where the manifest gives none.
        camera: Camera where the manifest gives none.

    Returns:
        At least one image. Files named by a manifest or a link need not exist.

    Raises:
        ConfigError: No source is given.
        DatasetError: A source does not exist or names no image, a manifest cannot be read or has
            an invalid cell, or two sources contradict each other.
    """
    if not sources:
        raise ConfigError(
            "no image is named; expected image files, folders, patterns such as 'day/*.jpg', or"
            " manifests (.csv, .parquet)."
        )
    found: dict[str, ImageInfo] = {}
    for source in sources:
        for image in _named_by(source):
            # Links and paths with .. may lead to the same file.
            key = os.path.realpath(image.path)
            found[key] = _merge(found[key], image) if key in found else image
    return [
        replace(image, modality=image.modality or modality, camera=image.camera or camera)
        for image in found.values()
    ]


def _named_by(source: str) -> Iterable[ImageInfo]:
    path = Path(source)
    if not source:
        # An unset shell variable must not mean the current folder.
        files, problem = [], "is empty"
    elif path.is_dir():
        files = [file for file in files_below([path]) if is_image(file)]
        problem = "is a folder without any image in it or below"
    elif path.suffix.lower() in TABLES and path.is_file():
        return _read_manifest(path)
    elif path.is_file() or path.is_symlink():
        return [ImageInfo(path=path)]
    elif glob.has_magic(source):
        matches = map(Path, sorted(glob.glob(source, recursive=True)))  # noqa: PTH207
        files = [match for match in matches if is_image(match) and not match.is_dir()]
        problem = "is a pattern that no image matches"
    else:
        files, problem = [], "does not exist" if not path.exists() else "is no ordinary file"
    if not files:
        raise DatasetError(
            f"'{source}' {problem}; expected an image, a folder or pattern with files that end in"
            " .jpg, .png or the like, or a manifest (.csv, .parquet); check its name."
        )
    return [ImageInfo(path=file) for file in files]


def _read_manifest(file: Path) -> list[ImageInfo]:
    images, errors = [], list[str]()
    for where, cells in read_rows(file, _COLUMNS):
        found = list(_errors(where, cells))
        errors += found
        if not found:
            modality = cells["modality"].lower()
            images.append(
                ImageInfo(
                    path=file.parent / cells["path"],
                    modality=MODALITIES[modality] if modality else None,
                    camera=cells["camera"],
                    identity=cells["identity"],
                    time=parse_time(cells["time"]) if cells["time"] else None,
                    note=cells["note"],
                    added=parse_time(cells["added"]) if cells["added"] else None,
                )
            )
    if errors:
        raise DatasetError(
            f"{errors[0]}; fix the row"
            + (f" (the first of {len(errors):,} such errors)." if len(errors) > 1 else ".")
        )
    if not images:
        raise DatasetError(
            f"'{file}' has 0 rows below its header; expected one per image; add them, or name"
            " another file."
        )
    return images


def _errors(where: str, cells: dict[str, str]) -> Iterator[str]:
    """Yield the errors of a row, each the beginning of a message."""
    if not cells["path"]:
        yield f"{where} has no path; expected the path of an image in every row"
    if cells["modality"] and cells["modality"].lower() not in MODALITIES:
        yield (
            f"{where} has the modality '{cells['modality'][:40]}'; expected"
            f" {', '.join(MODALITIES)}, or nothing"
        )
    for column in ("time", "added"):
        if cells[column]:
            try:
                parse_time(cells[column])
            except ValueError as error:
                yield f"{where} has the {column} {error}, or nothing"


def _merge(one: ImageInfo, other: ImageInfo) -> ImageInfo:
    """What two sources give for the same file; the path is that of the first."""
    merged = {}
    for column in (field.name for field in fields(ImageInfo) if field.name != "path"):
        values = [value for image in (one, other) if (value := getattr(image, column))]
        if len(set(values)) > 1:
            raise DatasetError(
                f"'{one.path}' is listed twice, with the {column} {first_few(values)}; expected the"
                " same in both; fix one of them."
            )
        merged[column] = values[0] if values else getattr(one, column)
    return replace(one, **merged)
