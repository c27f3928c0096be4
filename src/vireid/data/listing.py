"""Lists of images from files, folders, patterns and manifests.

A manifest is a CSV, TSV or Parquet file; only the column ``path`` is required:

    path,modality,camera,identity,time,tracklet,note
    day/a.jpg,visible,entrance,,2024-05-31T12:00:00+02:00,7,
    night/b.png,infrared,yard,Ada,,,seen twice

``path`` is relative to the manifest's folder unless it is absolute. ``camera``, ``identity`` and
``tracklet`` (unique within a camera) are free text, ``modality`` is a key of
:data:`~vireid.data.rows.MODALITIES`, ``time`` is in ISO 8601 (UTC unless it has an offset). Other
columns are ignored, so a training manifest, or a file that ``vireid encode`` or ``vireid gallery
export`` wrote, works too. A pattern reads the same from paths (:mod:`vireid.data.layouts.pattern`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from vireid.data.layouts._common import plain_path
from vireid.data.layouts.pattern import PathPattern
from vireid.data.rows import TABLES, Columns, parse_modality, read_rows
from vireid.data.walk import Walk, split_images, walk
from vireid.errors import ConfigError, DatasetError, first_few, many
from vireid.log import log, printable
from vireid.times import parse_time
from vireid.types import ImageInfo, Modality

__all__ = ["fill_in", "list_images"]

_COLUMNS = Columns(
    required=("path",),
    optional=("modality", "camera", "identity", "time", "tracklet", "note", "added"),
)


def list_images(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    modality: Modality | None = None,
    camera: str = "",
    pattern: PathPattern | None = None,
    videos: bool = True,
) -> list[ImageInfo]:
    """List images, each once, in the order of their sources.

    Args:
        sources: One or several: image files, folders (searched recursively for images, sorted),
            patterns such as ``day/**/*.jpg``, and manifests (``.csv``, ``.parquet``). What is left
            out of folders and patterns is logged. The name of an existing file or folder is no
            pattern.
        modality: Modality where neither manifest nor pattern gives one.
        camera: Camera likewise.
        pattern: Pattern of the ends of paths, which gives what manifests do not; how many images
            match is logged.
        videos: Whether to log that videos are left out.

    Returns:
        At least one image. Files named by a manifest or a link need not exist.

    Raises:
        ConfigError: No source is given.
        DatasetError: A source does not exist or names no image, a manifest cannot be read or has
            an invalid cell, two sources contradict each other, or no image matches the pattern.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    if not sources:
        raise ConfigError(
            "no image is named; expected image files, folders, patterns such as 'day/*.jpg', or"
            " manifests (.csv, .tsv, .parquet)."
        )
    found: dict[str, ImageInfo] = {}
    folders: dict[str, str] = {}
    roots: dict[str, Path] = {}
    for source in sources:
        root, images = _named_by(os.fspath(source), videos)
        for image in images:
            # Links and paths with .. may lead to the same file.
            key = _real_path(str(image.path), folders)
            found[key] = _merge(found[key], image) if key in found else image
            roots.setdefault(key, root)
    if pattern:
        found = _filled_in(found, pattern, roots)
    return [
        replace(image, modality=image.modality or modality, camera=image.camera or camera)
        if (modality and not image.modality) or (camera and not image.camera)
        else image
        for image in found.values()
    ]


def _real_path(path: str, folders: dict[str, str]) -> str:
    """As ``os.path.realpath``, resolving each folder once."""
    folder, slash, name = path.rpartition("/")
    if folder not in folders:
        folders[folder] = os.path.realpath(folder + slash)
    real = f"{folders[folder]}/{name}"
    if name == ".." or os.path.islink(real):  # noqa: PTH114
        return os.path.realpath(real)
    # Of a million images, equal texts must not be held twice.
    return path if path == real else real


def _named_by(source: str, videos: bool) -> tuple[Path, list[ImageInfo]]:
    """The images of a source, and the folder where the pattern of their paths starts."""
    path, files, remark = Path(source), list[Path](), ""
    root = path
    if not source:
        # An unset shell variable must not mean the current folder.
        problem = "is empty"
    elif path.is_dir():
        files, remark = split_images(walk([path]), videos=videos)
        problem = "is a folder without any image in it or below"
    elif path.suffix.lower() in TABLES and path.is_file():
        return path.parent, _read_manifest(path)
    elif path.is_file() or path.is_symlink():
        return Path(), [ImageInfo(path=path)]
    elif glob.has_magic(source):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        files, remark = split_images(_matches(source), videos=videos)
        problem = "is a pattern that no image matches"
    elif "://" in source:
        # A camera's address may hold a password.
        address = re.sub("//[^/@]*@", "//***@", source)
        raise DatasetError(
            f"'{address}' is the address of a stream or a server; expected files on this machine;"
            " run `vireid detect` on a stream and pass the manifest that it writes, or download the"
            " files and pass their folder."
        )
    else:
        problem = "does not exist" if not path.exists() else "is no ordinary file"
    if not files:
        raise DatasetError(
            f"'{source}' {problem}; expected an image, a folder or pattern with images, or a"
            f" manifest (.csv, .tsv, .parquet); check its name.{remark and ' '}{remark}"
        )
    if remark:
        log(printable(f"'{source}': {remark}"))
    return root, [ImageInfo(path=file) for file in files]


def _filled_in(
    images: Mapping[str, ImageInfo], pattern: PathPattern, roots: Mapping[str, Path]
) -> dict[str, ImageInfo]:
    """The images with what a pattern gives and they do not have yet."""
    filled, others = {}, list[str]()
    for key, image in images.items():
        fields = pattern.match_end(image.path, roots[key])
        filled[key] = image if fields is None else fill_in(image, fields, pattern)
        others += [str(image.path)] if fields is None else []
    if len(others) == len(images):
        raise DatasetError(
            f"None of {many(len(images), 'image')} matches the pattern '{pattern.pattern}':"
            f" {first_few(others)}; expected it to describe the ends of their paths; fix it."
        )
    notes = {"time": "time (UTC unless it has an offset)", "split": "split (not used)"}
    given = ", ".join(notes.get(name, name) for name in pattern.fields) or "nothing"
    rest = f"; the others get nothing from it: {first_few(others)}" if others else ""
    log(
        f"The pattern '{pattern.pattern}' matches {len(images) - len(others):,} of"
        f" {many(len(images), 'image')} and gives their {given}{rest}."
    )
    return filled


def fill_in(image: ImageInfo, fields: Mapping[str, str], pattern: PathPattern) -> ImageInfo:
    """An image with what the fields of a pattern give and it does not have yet.

    Raises:
        DatasetError: A field cannot be parsed.
    """
    values: dict[str, Any] = dict(fields)
    values.pop("split", None)
    for name, parse in (("modality", parse_modality), ("time", parse_time)):
        if name in values:
            try:
                values[name] = parse(values[name])
            except ValueError as error:
                raise DatasetError(
                    f"'{image.path}' has the {name} {error}, as the pattern '{pattern.pattern}'"
                    " reads it; fix the pattern, or rename the file."
                ) from None
    return replace(image, **{n: value for n, value in values.items() if not getattr(image, n)})


def _matches(pattern: str) -> Walk:
    """The files that a pattern matches; ``**`` stands for any folders, each once."""
    parts = Path(pattern).parts
    if "**" not in parts:
        found = map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207
        return Walk([path for path in found if not path.is_dir()])
    depth = parts.index("**")
    start = str(Path(*parts[:depth]))
    walked = walk(map(Path, sorted(glob.glob(start))))  # noqa: PTH207
    walked.files = [file for file in walked.files if _fits(file.parts[depth:], parts[depth:])]
    return walked


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path below a folder matches a pattern; hidden names need a pattern with a dot."""
    if not pattern or not names:
        return not names and all(part == "**" for part in pattern)
    shown = not names[0].startswith(".")
    if pattern[0] == "**":
        return _fits(names, pattern[1:]) or (shown and _fits(names[1:], pattern))
    fits = fnmatchcase(names[0], pattern[0]) and (shown or pattern[0].startswith("."))
    return fits and _fits(names[1:], pattern[1:])


def _read_manifest(file: Path) -> list[ImageInfo]:
    rows = read_rows(file, _COLUMNS)
    columns = rows.columns
    if not len(rows):
        raise DatasetError(
            f"'{file}' has 0 rows below its header; expected one per image; add them, or name"
            " another file."
        )
    absent = columns["path"].empty
    errors = [(absent, "has no path; expected the path of an image in every row")]
    values: dict[str, list[Any]] = {
        "path": [file.parent / plain_path(text) for text in columns["path"].texts]
    }
    for name, parse in (("modality", parse_modality), ("time", parse_time), ("added", parse_time)):
        values[name], wrong, error = columns[name].parsed(parse)
        errors.append((wrong, f"has the {name} {error}, or nothing"))
    number = sum(np.count_nonzero(wrong) for wrong, _ in errors)
    if number:
        wrong, what = min(
            (error for error in errors if error[0].any()), key=lambda e: e[0].argmax()
        )
        raise DatasetError(
            f"{rows.where(int(wrong.argmax()))} {what}; fix the row"
            + (f" (the first of {number:,} such errors)." if number > 1 else ".")
        )
    cells = (
        map((values.get(name) or column.texts).__getitem__, column.codes.tolist())
        for name, column in columns.items()
    )
    return [
        ImageInfo(
            path=path,
            modality=modality,
            camera=camera,
            identity=identity,
            time=time,
            tracklet=tracklet,
            note=note,
            added=added,
        )
        for path, modality, camera, identity, time, tracklet, note, added in zip(
            *cells, strict=True
        )
    ]


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
