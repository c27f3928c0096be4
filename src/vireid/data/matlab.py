"""Read cell arrays and numeric arrays from MATLAB files of versions 5 to 7.

Every length is checked. SciPy's reader, whose inner loops are written in C, ends the process with a
segmentation fault on some damaged files.

Source: The MathWorks, MAT-File Level 5 File Format.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_matlab"]

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"
}  # fmt: skip
"""NumPy's type of each type of numeric data."""
_CELL, _NUMERIC_CLASSES = 1, range(6, 16)
_OTHER_CLASSES = {2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"}
_COMPLEX = 0x800
_MOST_BYTES = 2**31
"""MATLAB's own limit of a variable in these versions."""
_MOST_DEPTH, _MOST_CELLS = 8, 1_000_000
"""Levels of cell arrays within each other, and cells of each; the official files of SYSU-MM01 have
two levels, and one cell per identity."""


class _Element(NamedTuple):
    """A data element.

    Attributes:
        kind: The number of its type.
        data: Its content.
    """

    kind: int
    data: memoryview


def read_matlab(path: Path, name: str) -> NDArray[Any] | None:
    """Read one variable.

    Args:
        path: A MATLAB file of version 5 to 7 (``save -v6``, ``save -v7``, ``scipy.io.savemat``).
        name: The name of the variable.

    Returns:
        A numeric array, of the type in which it is stored; of a cell array, an array of objects
        that are such arrays. None if there is no such variable.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is damaged, has another version, or the variable is of another kind.
    """
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("it has no header of versions 5 to 7")
    if struct.unpack_from(f"{order}H", content, 124) == (0x200,):
        raise ValueError("it has version 7.3 (HDF5), which is not supported")
    for element in _elements(memoryview(content)[128:], order):
        compressed = element.kind == _COMPRESSED
        variable = _decompressed(element.data, order) if compressed else element
        if variable.kind == _MATRIX:
            found, array = _matrix(variable.data, order, name)
            if found == name:
                return array
    return None


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it is truncated")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            # A small element: size and type share four bytes, the data the other four.
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size
            if kind != _COMPRESSED:
                end += -size % 8
        if start + size > len(data) or (start == at + 4 and size > 4):
            raise ValueError("it is truncated, or a length in it is wrong")
        yield _Element(kind, data[start : start + size])
        at = end


def _decompressed(data: memoryview, order: str) -> _Element:
    """The element that compressed data hold."""
    stream = zlib.decompressobj()
    try:
        head = stream.decompress(data, 8)
        if len(head) < 8:
            raise ValueError("it is truncated")
        kind, size = struct.unpack(f"{order}II", head)
        if size > _MOST_BYTES:
            raise ValueError(f"a variable has {size:,} bytes; expected at most {_MOST_BYTES:,}")
        content = stream.decompress(stream.unconsumed_tail, size) if size else b""
    except zlib.error as error:
        raise ValueError(f"a compressed variable is damaged ({error})") from None
    if len(content) < size:
        raise ValueError("it is truncated")
    return _Element(kind, memoryview(content))


def _matrix(
    data: memoryview, order: str, wanted: str = "", depth: int = 0
) -> tuple[str, NDArray[Any]]:
    """The name of an array, and the array; of a name that is not wanted, an empty array."""
    empty: NDArray[Any] = np.empty((0, 0))
    if not data:
        return "", empty
    elements = _elements(data, order)
    try:
        flags, dimensions, title = next(elements), next(elements), next(elements)
        name = bytes(title.data).decode("latin-1")
        if name != wanted:
            return name, empty
        (what,) = struct.unpack_from(f"{order}I", flags.data)
        sides = np.frombuffer(dimensions.data, f"{order}i4").tolist()
        if len(sides) < 2 or min(sides) < 0:
            raise ValueError(f"an array has the dimensions {sides}")
        count = math.prod(sides)
        if what & 0xFF == _CELL:
            if depth == _MOST_DEPTH or count > _MOST_CELLS:
                raise ValueError(f"a cell array has {count:,} cells on level {depth + 1}")
            # Not allocated by the dimensions, which may be damaged.
            cells = [_cell(next(elements), order, depth, number) for number in range(1, count + 1)]
            array: NDArray[Any] = np.empty(count, object)
            array[:] = cells
        elif what & 0xFF in _NUMERIC_CLASSES and not what & _COMPLEX:
            numbers = next(elements)
            array = np.frombuffer(numbers.data, order + _NUMBERS[numbers.kind])
        else:
            kind = "complex" if what & _COMPLEX else _OTHER_CLASSES.get(what & 0xFF, "unknown")
            raise ValueError(f"an array is of the class '{kind}'; expected real numbers")
    except StopIteration:
        raise ValueError("an array is truncated") from None
    except (KeyError, struct.error):
        raise ValueError("an array is damaged") from None
    if len(array) != count:
        raise ValueError(f"an array has {len(array):,} values; expected {count:,}")
    return name, array.reshape(sides, order="F")


def _cell(element: _Element, order: str, depth: int, number: int) -> NDArray[Any]:
    try:
        if element.kind != _MATRIX:
            raise ValueError("an array is damaged")
        return _matrix(element.data, order, depth=depth + 1)[1]
    except ValueError as error:
        raise ValueError(f"in cell {number}, {error}") from None
