"""Feature files: Parquet, with a row per image, in groups of about 1,000 rows, with checksums.

    path        text: absolute, or the name alone of an uploaded image
    modality    text: visible or infrared
    guessed     boolean: whether the modality was guessed from the image
    camera, identity, tracklet, note    texts, empty if unknown
    sha256      text: SHA-256 of the image file's bytes
    time, added               timestamps in UTC, or null; see ImageInfo
    thumbnail   bytes: a small JPEG; empty if there is none
    feature     d float32, of norm 1

The metadata hold, under ``vireid`` and as JSON, the model of the features: ``fingerprint``,
``dimension`` and ``about``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from vireid.errors import ConfigError, DatasetError
from vireid.features.extract import ExtractedBatch, Known
from vireid.files import open_atomic
from vireid.types import ImageInfo, IndexedImage, Modality, ModelInfo

__all__ = [
    "FeatureFile",
    "check_ending",
    "from_table",
    "naming_unwritable",
    "to_table",
    "write_features",
]

_GROUP = 1024
"""Rows per group, the most that is held in memory beyond one batch."""
_TIMES = ("time", "added")
_TEXTS = ("camera", "identity", "tracklet", "note")
_FACTS = ("path", "sha256", "modality", "guessed", *_TEXTS, *_TIMES)
"""The columns that are fields of ImageInfo."""


def check_ending(file: Path) -> None:
    """Refuse a file name of another format.

    Raises:
        ConfigError: It does not end in ``.parquet``.
    """
    if file.suffix.lower() != ".parquet":
        raise ConfigError(
            f"'{file}' ends in '{file.suffix}'; expected a name that ends in .parquet."
        )


def write_features(file: Path, batches: Iterable[ExtractedBatch], model: ModelInfo) -> int:
    """Write a feature file atomically, in bounded memory.

    Args:
        file: The file, ending in ``.parquet``; an existing one is replaced.
        batches: The images with their features.
        model: The model of all features.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: The name has another ending, or the file cannot be written; an existing file
            is left untouched.
    """
    check_ending(file)
    rows = 0
    waiting: list[pa.Table] = []
    with (
        naming_unwritable(file),
        open_atomic(file) as stream,
        parquet.ParquetWriter(
            stream, _schema(model), use_dictionary=list(_FACTS), write_page_checksum=True
        ) as writer,
    ):
        for batch in batches:
            if batch.images:
                waiting.append(to_table(batch.images, model))
            rows += len(batch)
            if sum(map(len, waiting)) >= _GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return rows


class FeatureFile:
    """A feature file, read in bounded memory.

    Iterating yields :class:`~vireid.features.extract.ExtractedBatch` of about 1,000 images each.

    Args:
        path: The file.

    Attributes:
        path: The file.
        model: The model of the features.
        rows: How many images it holds.

    Raises:
        ConfigError: The name does not end in ``.parquet``.
        DatasetError: The file is missing, damaged, or was not written by vireid; also while
            iterating.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        check_ending(path)
        if not path.is_file():
            raise DatasetError(
                f"'{path}' is no file; expected one that `vireid encode` or `vireid gallery export`"
                " wrote; check its name."
            )
        self.path = path
        with _naming_damage(path), parquet.ParquetFile(path) as file:
            meta = file.schema_arrow.metadata or {}
            self.model = ModelInfo(**json.loads(meta[b"vireid"]))
            self.rows = file.metadata.num_rows

    def __iter__(self) -> Iterator[ExtractedBatch]:
        return self.unless(_none)

    def unless(self, known: Known) -> Iterator[ExtractedBatch]:
        """Yield the images with their features, except those that are known.

        Args:
            known: Called for about 1,000 images at a time before their features are read; the
                images it returns are left out and counted.

        Raises:
            DatasetError: The file is damaged.
        """
        with (
            _naming_damage(self.path),
            parquet.ParquetFile(self.path, page_checksum_verification=True) as file,
        ):
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["sha256"]).column("sha256").to_pylist()
                done = known(names)
                new = [name not in done for name in names]
                table = file.read_row_group(group) if any(new) else file.schema_arrow.empty_table()
                if not all(new):
                    table = table.filter(pa.array(new[: len(table)], pa.bool_()))
                yield replace(from_table(table, self.model), known=len(new) - sum(new))


def to_table(images: Sequence[IndexedImage], model: ModelInfo) -> pa.Table:
    """Images with their features as an Arrow table with the columns of a feature file.

    Args:
        images: The images; at least one.
        model: The model of the features.
    """
    columns = {name: [getattr(image.info, name) for image in images] for name in _FACTS}
    columns["path"] = list(map(str, columns["path"]))
    columns["thumbnail"] = [image.thumbnail for image in images]
    numbers = pa.array(np.concatenate([image.feature for image in images]))
    columns["feature"] = pa.FixedSizeListArray.from_arrays(numbers, model.dimension)
    return pa.table(columns, schema=_schema(model))


def from_table(table: pa.Table, model: ModelInfo) -> ExtractedBatch:
    """The reverse of :func:`to_table`.

    Args:
        table: The table; other columns are ignored.
        model: The model of the features.

    Raises:
        ValueError: A feature or a modality is invalid.
    """
    numbers = table.column("feature").combine_chunks().flatten().to_numpy()
    features = numbers.reshape(len(table), model.dimension)
    if not np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3):
        raise ValueError("not all of its features have the norm 1")
    images = []
    for row, feature in zip(
        table.select([*_FACTS, "thumbnail"]).to_pylist(), features, strict=True
    ):
        thumbnail = row.pop("thumbnail")
        row["path"] = Path(row["path"])
        row["modality"] = Modality(row["modality"])
        images.append(IndexedImage(ImageInfo(**row), feature, thumbnail))
    return ExtractedBatch(tuple(images))


@contextlib.contextmanager
def naming_unwritable(file: Path) -> Iterator[None]:
    """Turn an operating system's error into a message about the file.

    Args:
        file: What is being written, as the user knows it.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"'{file}' cannot be written ({error.strerror or error}); expected a writable folder"
            " with enough space; free some, or choose another file with --out."
        ) from error


def _none(_: Sequence[str]) -> Collection[str]:
    return ()


def _schema(model: ModelInfo) -> pa.Schema:
    types = {"guessed": pa.bool_()} | dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC"))
    return pa.schema(
        [(name, types.get(name, pa.string())) for name in _FACTS]
        + [("thumbnail", pa.binary()), ("feature", pa.list_(pa.float32(), model.dimension))],
        metadata={"vireid": json.dumps(asdict(model))},
    )


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Turn any error of a damaged or foreign file into a message."""
    try:
        yield
    except (KeyError, TypeError):
        raise DatasetError(
            f"'{path}' was not written by vireid; expected a file that `vireid encode` or `vireid"
            " gallery export` wrote; encode the images themselves, with `vireid encode`."
        ) from None
    except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DatasetError(
            f"'{path}' is damaged ({error}); expected a file as `vireid encode` or `vireid gallery"
            " export` wrote it; copy or write it again."
        ) from error
