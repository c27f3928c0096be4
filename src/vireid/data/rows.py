"""Tables of images, CSV or Parquet, read as rows of text."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vireid.errors import DatasetError, first_few
from vireid.types import Modality

__all__ = ["MODALITIES", "TABLES", "Columns", "read_rows"]

TABLES = (".csv", ".parquet")
"""The extensions of tables."""

MODALITIES: Mapping[str, Modality] = {
    "visible": Modality.VISIBLE,
    "vis": Modality.VISIBLE,
    "rgb": Modality.VISIBLE,
    "infrared": Modality.INFRARED,
    "ir": Modality.INFRARED,
    "nir": Modality.INFRARED,
    "thermal": Modality.INFRARED,
}
"""The names of modalities in tables, in lower case."""


class Columns(NamedTuple):
    """The columns to read, in lower case; others are ignored.

    Attributes:
        required: Columns that must exist.
        optional: Columns that may exist.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]


def read_rows(file: Path, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a table: Parquet if that is its extension, else CSV (UTF-8, commas, a header).

    Args:
        file: The table.
        columns: The columns to read.

    Yields:
        The position of a row, for messages, such as ``'a.csv' line 7``, and its cells as stripped
        text, empty where there is none.

    Raises:
        DatasetError: The file cannot be read, or a column is missing or duplicate.
    """
    read = _read_parquet if file.suffix.lower() == ".parquet" else _read_csv
    wanted = (*columns.required, *columns.optional)
    for where, cells in read(file, columns):
        yield where, {column: cells.get(column, "").strip() for column in wanted}


def _read_csv(file: Path, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = _header(next(reader, []), file, columns)
            for cells in reader:
                where = f"'{file}' line {reader.line_num}"
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise DatasetError(
                        f"{where} has {len(cells)} cells; expected {len(header)}, as many as the"
                        " header; put cells that hold a comma into quotes."
                    )
                yield where, dict(zip(header, cells, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"'{file}' cannot be read ({error}); expected CSV in UTF-8 with commas between the"
            " cells; save it in that format."
        ) from error


def _read_parquet(file: Path, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    # A slow import that few need.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            header = _header(names, file, columns)
            wanted = {
                column: names[header.index(column)]
                for column in (*columns.required, *columns.optional)
                if column in header
            }
            table = opened.read(columns=list(wanted.values()))
        cells = [_texts(table.column(name)) for name in wanted.values()]
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"'{file}' cannot be read ({error}); expected a Parquet file with text, numbers or"
            " times in its columns; write it again."
        ) from error
    for number, row in enumerate(zip(*cells, strict=True), 1):
        yield f"'{file}' row {number}", dict(zip(wanted, row, strict=True))


def _texts(column: Any) -> list[str]:
    """The cells of a column of any plain type as text, empty where there is none."""
    import pyarrow as pa

    # pandas writes integers with gaps as floating-point numbers.
    if pa.types.is_floating(column.type):
        return ["" if n is None or math.isnan(n) else f"{n:.17g}" for n in column.to_pylist()]
    return [cell or "" for cell in column.cast(pa.string()).to_pylist()]


def _header(names: Sequence[str], file: Path, columns: Columns) -> list[str]:
    """The names of all columns in lower case; the required ones exist."""
    header = [name.strip().lower() for name in names]
    missing = [name for name in columns.required if name not in header]
    twice = [name for name in (*columns.required, *columns.optional) if header.count(name) > 1]
    if missing or twice:
        what = f"has no column {first_few(missing)}" if missing else f"has {first_few(twice)} twice"
        *most, last = columns.optional
        raise DatasetError(
            f"'{file}' {what} in its header '{','.join(names)[:200]}'; expected one each of"
            f" {', '.join(columns.required)} and, optionally, {', '.join(most)} and {last}; fix the"
            " header."
        )
    return header
