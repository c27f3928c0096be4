"""Tables of images, CSV or Parquet, read as columns of text."""

from __future__ import annotations

import codecs
import csv
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vireid.data.file_kind import mistaken_for
from vireid.errors import DatasetError, first_few
from vireid.log import log_once
from vireid.types import Modality

__all__ = ["MODALITIES", "TABLES", "Column", "Columns", "Rows", "parse_modality", "read_rows"]

T = TypeVar("T")
S = TypeVar("S", bound=np.generic)

TABLES = (".csv", ".tsv", ".parquet")
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

_FREE = ("path", "note")
"""Columns whose cells are kept as they are."""
_NOTHING = {"nan", "NaN", "NaT", "None", "NULL", "null", "N/A", "#N/A", "<NA>"}
"""What programs write into cells for no value."""
_SEPARATORS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK = 1 << 12  # rows, or characters


class Columns(NamedTuple):
    """The columns to read, in lower case; others are ignored.

    Attributes:
        required: Columns that must exist.
        optional: Columns that may exist.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of a column, with each distinct text kept once.

    Attributes:
        codes: The index of each cell's text, int32 ``[n]``.
        texts: The texts, stripped; empty where a cell is.
    """

    codes: NDArray[np.int32]
    texts: Sequence[str]

    @staticmethod
    def of(cells: Iterable[str]) -> Column:
        """The column of these cells."""
        builder = _Builder()
        builder.extend(cells)
        return builder.column()

    @property
    def empty(self) -> NDArray[np.bool_]:
        """The rows without a text, bool ``[n]``."""
        return self.mapped([not text for text in self.texts], np.bool_)

    def text(self, row: int) -> str:
        """The text of a cell."""
        return self.texts[int(self.codes[row])]

    def mapped(self, values: Sequence[object], dtype: type[S]) -> NDArray[S]:
        """The value of each cell, ``[n]``, from the value of each text."""
        return np.array(values, dtype=dtype)[self.codes]

    def parsed(self, parse: Callable[[str], T]) -> tuple[list[T | None], NDArray[np.bool_], str]:
        """Parse each distinct text once.

        Args:
            parse: Returns a text's value; its ValueError says what is wrong with it.

        Returns:
            The value of each text, None where it is empty or wrong; the rows whose text is wrong,
            bool ``[n]``; and what is wrong with the first of them, empty if none is.
        """
        values: list[T | None] = []
        errors = [""] * len(self.texts)
        for code, text in enumerate(self.texts):
            value = None
            if text:
                try:
                    value = parse(text)
                except ValueError as error:
                    errors[code] = str(error)
            values.append(value)
        wrong = self.mapped([bool(error) for error in errors], np.bool_)
        return values, wrong, errors[self.codes[wrong.argmax()]] if wrong.any() else ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table by columns.

    Attributes:
        columns: The columns by name, all of one length; optional ones that the table lacks are
            empty.
        where: The position of a row, for messages, such as ``'a.csv' line 7``.
    """

    columns: Mapping[str, Column]
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).codes)


def read_rows(file: Path, columns: Columns) -> Rows:
    """Read a table: Parquet if that is its extension, else CSV (or TSV) with a header.

    CSV may be separated by commas, semicolons, tabs or ``|``, in UTF-8, UTF-16 or UTF-32, or else
    in Windows-1252, which is logged. Blank rows are passed over, and cells missing at the end of a
    row are empty. So is what programs write for no value, such as nan and NULL, which is logged,
    and whole numbers may be written as 17.0, except in paths and notes.

    Args:
        file: The table.
        columns: The columns to read.

    Raises:
        DatasetError: The file cannot be read, a column is missing or duplicate, or a row has too
            many cells.
    """
    try:
        if file.suffix.lower() == ".parquet":
            return _read_parquet(file, columns)
        return _read_csv(file, columns)
    except (DatasetError, OSError, UnicodeError, csv.Error) as error:
        if mistake := mistaken_for("a table (CSV or Parquet)", file):
            raise DatasetError(mistake) from error
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"'{file}' cannot be read ({error}); expected CSV in UTF-8; save it in that format."
        ) from error


def parse_modality(text: str) -> Modality:
    """The modality of a cell.

    Raises:
        ValueError: The text is no key of :data:`MODALITIES`, in any case.
    """
    if text.lower() not in MODALITIES:
        raise ValueError(f"'{text[:40]}'; expected {', '.join(MODALITIES)}")
    return MODALITIES[text.lower()]


class _Codes(dict[str, int]):
    """Numbers texts from 0, in the order of their first use."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


@dataclass(slots=True)
class _Builder:
    """A column that grows."""

    index: _Codes = field(default_factory=_Codes)
    codes: array[int] = field(default_factory=lambda: array("i"))

    def extend(self, texts: Iterable[str]) -> None:
        self.codes.extend(map(self.index.__getitem__, texts))

    def column(self) -> Column:
        texts = [text.strip() for text in self.index]
        return Column(np.array(self.codes, dtype=np.int32), texts)


class _Table:
    """Builds the columns that are wanted of a table.

    Args:
        file: The table, for messages.
        names: The names of all its columns.
        columns: The columns that are wanted.

    Raises:
        DatasetError: A column is missing or duplicate.
    """

    def __init__(self, file: Path, names: Sequence[str], columns: Columns) -> None:
        self.file = file
        self.header = [name.strip().lower() for name in names]
        missing = [name for name in columns.required if name not in self.header]
        self.wanted = (*columns.required, *columns.optional)
        twice = [name for name in self.wanted if self.header.count(name) > 1]
        if missing or twice:
            what = (
                f"has no column {first_few(missing)}"
                if missing
                else f"has {first_few(twice)} twice"
            )
            *most, last = columns.optional
            raise DatasetError(
                f"'{file}' {what} in its header '{','.join(names)[:200]}'; expected one each of"
                f" {', '.join(columns.required)} and, optionally, {', '.join(most)} and {last}; fix"
                " the header."
            )
        self.places = {name: self.header.index(name) for name in self.wanted if name in self.header}
        self.builders = {name: _Builder() for name in self.places}

    def columns(self) -> dict[str, Column]:
        found = {name: self._column(name) for name in self.builders}
        none = np.zeros(len(next(iter(found.values())).codes), dtype=np.int32)
        return {name: found.get(name) or Column(none, [""]) for name in self.wanted}

    def _column(self, name: str) -> Column:
        column = self.builders[name].column()
        if name in _FREE:
            return column
        if nothing := sorted(_NOTHING.intersection(column.texts)):
            words = first_few(nothing)
            log_once(f"'{self.file}' has {words} in its column '{name}', read as empty cells.")
        # pandas writes 17.0 for 17 as soon as another cell is empty.
        texts = [re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text) for text in column.texts]
        return Column(column.codes, ["" if text in _NOTHING else text for text in texts])


def _read_csv(file: Path, columns: Columns) -> Rows:
    source = _Source.of(file, columns)
    records = source.records()
    _, names = next(records, (0, []))
    table = _Table(file, names, columns)
    width = len(names)
    lines = array("q")
    excess: list[str] = []
    repeated = 0

    def regular() -> Iterator[list[str]]:
        nonlocal repeated
        for line, cells in records:
            # Most rows need no closer look.
            if len(cells) != width or not cells[0].strip() or cells[0].endswith(names[0]):
                if not any(map(str.strip, cells)):
                    continue
                # Files with byte order marks may have been joined.
                if [cells[0].lstrip("\ufeff"), *cells[1:]] == names:
                    repeated += 1
                    continue
                if any(map(str.strip, cells[width:])):
                    excess.append(f"'{file}' line {line} has {len(cells)} cells")
                    continue
                cells = (cells + [""] * width)[:width]  # noqa: PLW2901
            lines.append(line)
            yield cells

    rows = regular()
    while chunk := list(islice(rows, _CHUNK)):
        cells = list(zip(*chunk, strict=True))
        for name, builder in table.builders.items():
            builder.extend(cells[table.places[name]])
    if excess:
        raise DatasetError(
            f"{excess[0]}; expected {width}, as many as the header; put cells that hold a"
            f" '{source.separator}' into quotes"
            + (f" (the first of {len(excess):,} such rows)." if len(excess) > 1 else ".")
        )
    if repeated:
        log_once(f"'{file}' repeats its header in {repeated:,} rows, which are passed over.")
    return Rows(table.columns(), lambda row: f"'{file}' line {lines[row]}")


class _Source(NamedTuple):
    """A CSV file, and how it is written."""

    file: Path
    encoding: str
    separator: str
    skipped: int

    @classmethod
    def of(cls, file: Path, columns: Columns) -> Self:
        """Find out the encoding, and the separator under which most columns are known."""
        encoding = _encoding(file)
        with file.open(encoding=encoding, newline="") as stream:
            # Excel reads and writes such a line above the header.
            hint = re.fullmatch(r'"?sep=([^\w"\s]|\t)"?\s*', stream.readline(), re.IGNORECASE)
        separators = (hint[1],) if hint else _SEPARATORS
        candidates = [cls(file, encoding, separator, int(bool(hint))) for separator in separators]
        return max(candidates, key=lambda source: source._known(columns))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not empty, and the line where it begins."""
        with self.file.open(encoding=self.encoding, newline="") as stream:
            for _ in range(self.skipped):
                stream.readline()
            reader = csv.reader(stream, delimiter=self.separator, strict=True)
            line = self.skipped + 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = self.skipped + reader.line_num + 1
            except csv.Error as error:
                raise csv.Error(f"line {line}: {error}") from error

    def _known(self, columns: Columns) -> int:
        """The number of known columns in the header."""
        try:
            _, names = next(self.records(), (0, []))
        except csv.Error:
            return 0
        known = {*columns.required, *columns.optional}
        return sum(name.strip().lower() in known for name in names)


def _encoding(file: Path) -> str:
    """The encoding of a CSV file; a guess is logged.

    Raises:
        UnicodeError: The file is not text.
    """
    with file.open("rb") as stream:
        head = stream.read(4)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros == b"\0\0":
            return encoding
    if _any_text(file, "utf-8-sig", "[\0]") is False:
        return "utf-8-sig"
    # Accented letters of Windows-1252 hardly ever make valid UTF-8; mixed text would be garbled.
    mixed = _any_text(file, "utf-8-sig", "[^\0-\x7f\ufffd]", errors="replace")
    if mixed or _any_text(file, "cp1252", "[\0-\x08\x0e-\x1f]") is not False:
        raise UnicodeError("it is not text in UTF-8, UTF-16 or Windows-1252, or not throughout")
    log_once(f"'{file}' is not in UTF-8; it is read as Windows-1252 (cp1252).")
    return "cp1252"


def _any_text(file: Path, encoding: str, pattern: str, *, errors: str = "strict") -> bool | None:
    """Whether a pattern matches anywhere in a text file; None if it is not in that encoding."""
    try:
        with file.open(encoding=encoding, errors=errors, newline="") as stream:
            return any(re.search(pattern, text) for text in iter(lambda: stream.read(_CHUNK), ""))
    except UnicodeDecodeError:
        return None


def _read_parquet(file: Path, columns: Columns) -> Rows:
    # A slow import that few need.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            table = _Table(file, names, columns)
            stored = {name: names[place] for name, place in table.places.items()}
            for batch in opened.iter_batches(_CHUNK, columns=list(stored.values())):
                for name, builder in table.builders.items():
                    builder.extend(_texts(batch.column(stored[name])))
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"'{file}' cannot be read ({error}); expected a Parquet file with text, numbers or"
            " times in its columns; write it again."
        ) from error
    return Rows(table.columns(), lambda row: f"'{file}' row {row + 1}")


def _texts(column: Any) -> list[str]:
    """The cells of a column of any plain type as text, empty where there is none."""
    import pyarrow as pa

    # pandas writes integers with gaps as floating-point numbers.
    if pa.types.is_floating(column.type):
        return ["" if n is None or math.isnan(n) else f"{n:.17g}" for n in column.to_pylist()]
    return [cell or "" for cell in column.cast(pa.string()).to_pylist()]
