"""Files of features, with what is known of their images: Parquet, or safetensors.

Parquet, a row an image, in groups of about 1,000 rows, with checksums:

    path        text: absolute, or the mere name of an image that was uploaded
    sha256      text: SHA-256 of the image file's bytes
    modality    text: visible or infrared
    guessed     truth value: whether the modality was guessed from the image
    camera, identity, note    texts, empty where nothing is told
    time, added               moments in UTC, or nothing; see ListedImage
    thumbnail   bytes: a small JPEG; empty where none is kept
    feature  d float32, of norm 1

safetensors, without thumbnails:

    features  float32 [n, d]
    images       uint8, UTF-8: the other columns, one JSON object a line and image

Both have in their metadata, under ``vireid`` and as JSON, of what network the features are:
``fingerprint``, ``dimension`` and ``about``. That of safetensors has besides the ``sha256`` of all
bytes behind the header.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from safetensors import SafetensorError, safe_open

from vireid.data.listing import ListedImage
from vireid.data.portrait import Portrait
from vireid.errors import ConfigError, DatasetError
from vireid.features.extract import ExtractedBatch, Known
from vireid.files import open_atomic
from vireid.types import Modality

__all__ = ["FeatureFile", "Network", "check_ending", "from_table", "to_table", "write_features"]

_GROUP = 1024
"""Rows of a group, the most that is held in memory beyond one batch."""
_MOMENTS = ("time", "added")
_SAID = ("path", "sha256", "modality", "guessed", "camera", "identity", "note", *_MOMENTS)


@dataclass(frozen=True, slots=True)
class Network:
    """The network that features are of.

    Attributes:
        fingerprint: Short name of exactly its weights.
        dimension: Length of its features.
        about: What it is, as text by name.
    """

    fingerprint: str
    dimension: int
    about: Mapping[str, str]


def check_ending(file: Path) -> None:
    """Refuse a file of neither kind.

    Raises:
        ConfigError: It ends in neither ``.parquet`` nor ``.safetensors``.
    """
    if file.suffix.lower() not in (".parquet", ".safetensors"):
        raise ConfigError(
            f"'{file}' ends in '{file.suffix}'; expected a name that ends in .parquet or"
            " .safetensors."
        )


def write_features(file: Path, batches: Iterable[ExtractedBatch], network: Network) -> int:
    """Write features in bounded memory; the file appears when it is whole.

    Args:
        file: The file, ending in ``.parquet`` or ``.safetensors``; one of that name is replaced.
        batches: The features, all of the one network.
        network: The network.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: The file ends in something else, or cannot be written; one that was there
            before is untouched.
    """
    check_ending(file)
    write = _write_parquet if _is_parquet(file) else _write_safetensors
    with naming_unwritable(file), open_atomic(file) as stream:
        return write(stream, batches, network)


class FeatureFile:
    """A file of features, read in bounded memory.

    Iterating yields :class:`~vireid.features.extract.ExtractedBatch` of about 1,000 images each.

    Args:
        path: The file.

    Attributes:
        path: The file.
        network: The network that the features are of.
        rows: How many there are.

    Raises:
        ConfigError: The file ends in neither ``.parquet`` nor ``.safetensors``.
        DatasetError: It is missing, damaged, or not one that vireid wrote; also while iterating.
    """

    def __init__(self, path: Path) -> None:
        check_ending(path)
        if not path.is_file():
            raise DatasetError(
                f"'{path}' is no file; expected one that `vireid encode` or `vireid gallery export`"
                " wrote; look for a slip in its name."
            )
        self.path = path
        with _naming_damage(path):
            self.network, self.rows = (
                _open_parquet(path) if _is_parquet(path) else _open_safetensors(path)
            )

    def __iter__(self) -> Iterator[ExtractedBatch]:
        return self.unless(_none)

    def unless(self, known: Known) -> Iterator[ExtractedBatch]:
        """Yield what is in it but for images that need no feature any more.

        Args:
            known: Asked for about 1,000 images at once, before their features are read: the
                images that it knows are left out and counted.

        Raises:
            DatasetError: It is damaged.
        """
        read = _read_parquet if _is_parquet(self.path) else _read_safetensors
        with _naming_damage(self.path):
            yield from read(self.path, self.network, known)


def to_table(batch: ExtractedBatch, network: Network) -> pa.Table:
    """Features as an Arrow table with the columns of the Parquet file.

    Args:
        batch: The features.
        network: The network that they are of.
    """
    rows = [_row(*pair) for pair in zip(batch.images, batch.portraits, strict=True)]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _SAID}
    columns["thumbnail"] = [portrait.thumbnail for portrait in batch.portraits]
    numbers = pa.array(np.ascontiguousarray(batch.values).ravel())
    columns["feature"] = pa.FixedSizeListArray.from_arrays(numbers, network.dimension)
    return pa.table(columns, schema=_schema(network))


def from_table(table: pa.Table, network: Network) -> ExtractedBatch:
    """What :func:`to_table` made a table of.

    Args:
        table: The table; further columns are passed over.
        network: The network that its features are of.

    Raises:
        ValueError: A feature or a modality cannot be one.
    """
    rows = table.select([*_SAID, "thumbnail"]).to_pylist()
    numbers = table.column("feature").combine_chunks().flatten().to_numpy()
    return _described(rows, numbers.reshape(len(rows), network.dimension), network)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _schema(network: Network) -> pa.Schema:
    kinds = {"guessed": pa.bool_()} | dict.fromkeys(_MOMENTS, pa.timestamp("us", tz="UTC"))
    return pa.schema(
        [(name, kinds.get(name, pa.string())) for name in _SAID]
        + [("thumbnail", pa.binary()), ("feature", pa.list_(pa.float32(), network.dimension))],
        metadata={"vireid": json.dumps(asdict(network))},
    )


def _write_parquet(stream: BinaryIO, batches: Iterable[ExtractedBatch], network: Network) -> int:
    rows = 0
    waiting: list[pa.Table] = []
    with parquet.ParquetWriter(
        stream, _schema(network), use_dictionary=list(_SAID), write_page_checksum=True
    ) as writer:
        for batch in batches:
            if batch.images:
                waiting.append(to_table(batch, network))
            rows += len(batch)
            if sum(map(len, waiting)) >= _GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return rows


def _open_parquet(path: Path) -> tuple[Network, int]:
    with parquet.ParquetFile(path) as file:
        meta = file.schema_arrow.metadata or {}
        return Network(**json.loads(meta[b"vireid"])), file.metadata.num_rows


def _none(_: Sequence[str]) -> Collection[str]:
    return ()


def _read_parquet(path: Path, network: Network, known: Known) -> Iterator[ExtractedBatch]:
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            names = file.read_row_group(group, columns=["sha256"]).column("sha256").to_pylist()
            done = known(names)
            new = [name not in done for name in names]
            table = file.read_row_group(group) if any(new) else _schema(network).empty_table()
            if not all(new):
                table = table.filter(pa.array(new[: len(table)], pa.bool_()))
            yield replace(from_table(table, network), known=len(new) - sum(new))


def _write_safetensors(
    stream: BinaryIO, batches: Iterable[ExtractedBatch], network: Network
) -> int:
    # Its header tells how many rows follow, so that it is written last, into room left for it.
    room = 8 * (128 + len(json.dumps(asdict(network))))
    stream.write(bytes(8 + room))
    digest = hashlib.sha256()
    rows = 0
    lines = []
    for batch in batches:
        data = np.ascontiguousarray(batch.values, dtype="<f4").tobytes()
        stream.write(data)
        digest.update(data)
        rows += len(batch)
        lines += [_line(*pair) for pair in zip(batch.images, batch.portraits, strict=True)]
    images = "".join(lines).encode()
    stream.write(images)
    digest.update(images)
    end = 4 * rows * network.dimension
    meta = {**asdict(network), "sha256": digest.hexdigest()}
    header = {
        "__metadata__": {"vireid": json.dumps(meta)},
        "features": {
            "dtype": "F32",
            "shape": [rows, network.dimension],
            "data_offsets": [0, end],
        },
        "images": {
            "dtype": "U8",
            "shape": [len(images)],
            "data_offsets": [end, end + len(images)],
        },
    }
    stream.seek(0)
    stream.write(struct.pack("<Q", room) + json.dumps(header).encode().ljust(room))
    return rows


def _open_safetensors(path: Path) -> tuple[Network, int]:
    with safe_open(path, framework="numpy") as file:
        plain = json.loads((file.metadata() or {})["vireid"])
        rows = file.get_slice("features").get_shape()[0]
    with path.open("rb") as stream:
        (header,) = struct.unpack("<Q", stream.read(8))
        stream.seek(8 + header)
        if hashlib.file_digest(stream, "sha256").hexdigest() != plain.pop("sha256"):
            raise ValueError("its bytes are not the ones that were written")
    return Network(**plain), rows


def _read_safetensors(path: Path, network: Network, known: Known) -> Iterator[ExtractedBatch]:
    with safe_open(path, framework="numpy") as file:
        lines = bytes(file.get_tensor("images")).splitlines()
        values = file.get_slice("features")
        for at in range(0, len(lines), _GROUP):
            rows = [json.loads(line) for line in lines[at : at + _GROUP]]
            for row in rows:
                row |= {name: row[name] and datetime.fromisoformat(row[name]) for name in _MOMENTS}
                row["thumbnail"] = b""
            done = known([row["sha256"] for row in rows])
            new = [number for number, row in enumerate(rows) if row["sha256"] not in done]
            batch = _described(
                [rows[number] for number in new], values[at : at + len(rows)][new], network
            )
            yield replace(batch, known=len(rows) - len(new))


def _row(image: ListedImage, portrait: Portrait) -> dict[str, Any]:
    """The cells of an image but for thumbnail and feature."""
    return {
        "path": str(image.path),
        "sha256": portrait.sha256,
        "modality": str(portrait.modality),
        "guessed": portrait.guessed,
        "camera": image.camera,
        "identity": image.identity,
        "note": image.note,
        "time": image.time,
        "added": image.added,
    }


def _line(image: ListedImage, portrait: Portrait) -> str:
    """The same as a line of JSON."""
    row = _row(image, portrait)
    moments = {name: row[name] and row[name].astimezone(UTC).isoformat() for name in _MOMENTS}
    return json.dumps(row | moments) + "\n"


def _described(
    rows: list[dict[str, Any]], values: NDArray[np.float32], network: Network
) -> ExtractedBatch:
    if not np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-3):
        raise ValueError("not all of its features have the norm 1")
    return ExtractedBatch(
        images=tuple(
            ListedImage(
                path=Path(row["path"]),
                modality=None if row["guessed"] else Modality(row["modality"]),
                camera=row["camera"],
                identity=row["identity"],
                note=row["note"],
                time=row["time"] and row["time"].astimezone(UTC),
                added=row["added"] and row["added"].astimezone(UTC),
            )
            for row in rows
        ),
        portraits=tuple(
            Portrait(row["sha256"], Modality(row["modality"]), row["guessed"], row["thumbnail"])
            for row in rows
        ),
        values=values,
        model=dict(network.about),
        fingerprint=network.fingerprint,
    )


@contextlib.contextmanager
def naming_unwritable(file: Path) -> Iterator[None]:
    """Turn a failure to write into a sentence.

    Args:
        file: What is being written, as its user knows it.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"'{file}' cannot be written ({error.strerror or error}); expected room in a folder"
            " that you may write to; make room, or choose another file with --out."
        ) from error


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or foreign file leads to into a sentence."""
    try:
        yield
    except (KeyError, TypeError):
        raise DatasetError(
            f"'{path}' was not written by vireid; expected a file that `vireid encode` or `vireid"
            " gallery export` wrote; encode the images themselves, with `vireid encode`."
        ) from None
    except (OSError, ValueError, AttributeError, pa.ArrowException, SafetensorError) as error:
        raise DatasetError(
            f"'{path}' is damaged ({error}); expected a file as `vireid encode` or `vireid gallery"
            " export` wrote it; copy it again, or write it again."
        ) from error
