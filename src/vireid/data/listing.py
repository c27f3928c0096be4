"""Which images somebody means: files, folders, patterns and manifests, in one list.

A manifest here is a CSV or Parquet file of which only the column ``path`` is needed:

    path,modality,camera,identity,time,note
    day/a.jpg,visible,entrance,,2024-05-31T12:00:00+02:00,
    night/b.png,infrared,yard,Ada,,seen twice

``path`` starts from the manifest's folder unless it is absolute. ``camera`` and ``identity`` are
free texts, ``modality`` is a word of :data:`~vireid.data.rows.MODALITIES`, ``time`` is in ISO 8601
(UTC where it names no zone). Every other column is passed over, so that a manifest to train on, or
a file that ``vireid encode`` or ``vireid gallery export`` wrote, does as well.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

from vireid.data.layouts._common import files_below, is_image
from vireid.data.rows import MODALITIES, TABLES, Columns, parse_time, read_rows
from vireid.errors import ConfigError, DatasetError, first_few
from vireid.types import ImageInfo, Modality

__all__ = ["list_images", "read_time"]

_COLUMNS = Columns(
    required=("path",), optional=("modality", "camera", "identity", "time", "note", "added")
)


def list_images(
    sources: Sequence[str], *, modality: Modality | None = None, camera: str = ""
) -> list[ImageInfo]:
    """List the images that some words name, each once, in the order of the words.

    Args:
        sources: Image files, folders (searched with all folders below, files with an image's
            ending, sorted), patterns such as ``day/**/*.jpg``, and manifests (``.csv``,
            ``.parquet``). What is there by that very name is no pattern.
        modality: The light of all images whose manifest does not tell it.
        camera: The camera of all images whose manifest does not tell it.

    Returns:
        At least one image. Files named in a manifest or by a link need not exist.

    Raises:
        ConfigError: No source is given.
        DatasetError: A source does not exist or names no image, a manifest cannot be read or holds
            a word that is not understood, or two sources contradict one another.
    """
    if not sources:
        raise ConfigError(
            "no image is named; expected image files, folders, patterns such as 'day/*.jpg', or"
            " manifests (.csv, .parquet)."
        )
    found: dict[str, ImageInfo] = {}
    for source in sources:
        for image in _named_by(source):
            # Links and detours lead to the same file.
            key = os.path.realpath(image.path)
            found[key] = _merge(found[key], image) if key in found else image
    return [
        replace(image, modality=image.modality or modality, camera=image.camera or camera)
        for image in found.values()
    ]


def read_time(word: str) -> datetime | None:
    """A time in ISO 8601, taken as UTC where it names no zone; None if the word is empty.

    Raises:
        ValueError: It is something else.
    """
    time = parse_time(word)
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _named_by(source: str) -> Iterable[ImageInfo]:
    path = Path(source)
    if not source:
        # Else a shell variable that is not set would mean the present folder.
        files, nothing = [], "names nothing"
    elif path.is_dir():
        files = [file for file in files_below([path]) if is_image(file)]
        nothing = "is a folder without any image in it or below"
    elif path.suffix.lower() in TABLES and path.is_file():
        return _read_manifest(path)
    elif path.is_file() or path.is_symlink():
        return [ImageInfo(path=path)]
    elif glob.has_magic(source):
        matches = map(Path, sorted(glob.glob(source, recursive=True)))  # noqa: PTH207
        files = [match for match in matches if is_image(match) and not match.is_dir()]
        nothing = "is a pattern that no image matches"
    else:
        files, nothing = [], "does not exist" if not path.exists() else "is no ordinary file"
    if not files:
        raise DatasetError(
            f"'{source}' {nothing}; expected an image, a folder or pattern with files that end in"
            " .jpg, .png or the like, or a manifest (.csv, .parquet); look for a slip in the name."
        )
    return [ImageInfo(path=file) for file in files]


def _read_manifest(file: Path) -> list[ImageInfo]:
    images, wrong = [], []
    for where, cells in read_rows(file, _COLUMNS):
        faults = list(_faults(where, cells))
        wrong += faults
        if not faults:
            word = cells["modality"].lower()
            images.append(
                ImageInfo(
                    path=file.parent / cells["path"],
                    modality=MODALITIES[word] if word else None,
                    camera=cells["camera"],
                    identity=cells["identity"],
                    time=read_time(cells["time"]),
                    note=cells["note"],
                    added=read_time(cells["added"]),
                )
            )
    if wrong:
        raise DatasetError(
            f"{wrong[0]}; mend the row"
            + (f" (the first of {len(wrong):,} such faults)." if len(wrong) > 1 else ".")
        )
    if not images:
        raise DatasetError(
            f"'{file}' has 0 rows below its header; expected one an image; write them, or name"
            " another file."
        )
    return images


def _faults(where: str, cells: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a row, each the beginning of a sentence."""
    if not cells["path"]:
        yield f"{where} has no path; expected the path of an image in every row"
    if cells["modality"] and cells["modality"].lower() not in MODALITIES:
        yield (
            f"{where} has the modality '{cells['modality'][:40]}'; expected"
            f" {', '.join(MODALITIES)}, or nothing"
        )
    for column in ("time", "added"):
        try:
            parse_time(cells[column])
        except ValueError:
            yield (
                f"{where} has the {column} '{cells[column][:40]}'; expected ISO 8601, such as"
                " 2024-05-31T22:15:00+02:00, or nothing"
            )


def _merge(one: ImageInfo, other: ImageInfo) -> ImageInfo:
    """What two sources say of the same file; the path is the first one's."""
    said = {}
    for column in (field.name for field in fields(ImageInfo) if field.name != "path"):
        words = [word for image in (one, other) if (word := getattr(image, column))]
        if len(set(words)) > 1:
            raise DatasetError(
                f"'{one.path}' is named twice, with the {column} {first_few(words)}; expected all"
                " that is said of one image to agree; mend one of them."
            )
        said[column] = words[0] if words else getattr(one, column)
    return replace(one, **said)
