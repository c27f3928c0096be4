"""Looking through a gallery: is every row whole, and is nothing left of what was forgotten."""

from __future__ import annotations

import base64
import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from vireid.errors import GalleryError
from vireid.gallery._checks import check_rows
from vireid.gallery._payload import is_id, payload_of
from vireid.gallery._traces import SHORTEST
from vireid.gallery.entry import EVERYTHING
from vireid.gallery.store import Store
from vireid.log import printable
from vireid.types import IndexedImage, id_of

__all__ = ["Verification", "verify"]

PIECE = 32
"""Bytes of a piece of a thumbnail or feature that is looked for: the engine's compression of
payloads breaks longer runs up."""

PIECES = 4
"""How many pieces of each are looked for."""

TABLES = 864
"""Bytes at the beginning that say nothing: a JPEG's tables, the same in all thumbnails, have 623,
and 831 as base64."""

SHOWN = 20
"""How many faults, files or traces are listed at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What looking through a gallery found; prints itself for people.

    Attributes:
        rows: How many rows were read; None where only forgotten entries were looked for.
        faults: What is wrong with them, a sentence each.
        missing: Images whose files are not where they were when they were added; no fault, since
            searching does not need them.
        gone: How many forgotten entries were looked for.
        traces: What was found of them, a sentence each; None where the store's files are on a
            server and cannot be looked into.
    """

    rows: int | None
    faults: tuple[str, ...] = ()
    missing: tuple[Path, ...] = ()
    gone: int = 0
    traces: tuple[str, ...] | None = ()

    @property
    def whole(self) -> bool:
        """Whether no row has a fault and no trace of a forgotten entry was found."""
        return not self.faults and not self.traces

    def __str__(self) -> str:
        lines = []
        if self.rows is not None:
            lines.append(f"{self.rows:,} rows read, {len(self.faults):,} with faults")
            lines += _listed(self.faults)
        if self.missing:
            lines.append(f"{len(self.missing):,} image files are not where they were")
            lines += _listed(self.missing)
        if self.gone and self.traces is None:
            lines.append(
                f"{self.gone:,} forgotten entries are not found any more; whether bytes of them "
                "are left in the server's files cannot be seen from here"
            )
        elif self.gone:
            traces = self.traces or ()
            lines.append(f"{self.gone:,} forgotten entries, {len(traces):,} traces of them")
            lines += _listed(traces)
        return "\n".join(lines)


def _listed(things: Sequence[object]) -> Iterator[str]:
    """A line each, of so many of them that one can read them."""
    for thing in things[:SHOWN]:
        yield f"  {printable(str(thing))}"
    if len(things) > SHOWN:
        yield f"  and {len(things) - SHOWN:,} more"


def verify(
    store: Store, gone: Sequence[IndexedImage | str] = (), *, rows: bool = True
) -> Verification:
    """Read every row of a store, and look for what is left of entries that were forgotten.

    Args:
        store: The store.
        gone: Forgotten entries: rows as they were, or only their ids. Of an id it is proved that
            it is in no file; of a row also its SHA-256, thumbnail and feature.
        rows: Read the rows; without them only what was forgotten is looked for.

    Raises:
        GalleryError: The store does not answer, or what should be an id is none.
    """
    for one in gone:
        if not is_id(_id(one)):
            raise GalleryError(
                f"'{_id(one)}' is no id of an entry; expected one such as '{id_of('ab' * 32)}', "
                "as a search prints it."
            )
    read = _read(store) if rows else Verification(rows=None)
    return replace(read, gone=len(gone), traces=_traces(store, gone))


def _read(store: Store) -> Verification:
    """Read every row."""
    rows, faults, missing = 0, list[str](), list[Path]()
    try:
        for row in store.rows(EVERYTHING):
            rows += 1
            faults += _faults(row, store)
            # Path.exists raises where a name is too long or a folder may not be entered.
            if row.info.file is not None and not os.path.exists(row.info.file):  # noqa: PTH110
                missing.append(row.info.file)
    except GalleryError as error:
        faults.append(f"Reading ended after {rows} rows: {error}")
    if missing_rows := store.count_lost():
        faults.append(
            f"{missing_rows} rows are lost: files of the gallery are gone or damaged. Put back a "
            "copy, or add the images again; those that are there change nothing."
        )
    return Verification(rows=rows, faults=tuple(faults), missing=tuple(missing))


def _faults(row: IndexedImage, store: Store) -> Iterator[str]:
    try:
        check_rows([row], store.model)
    except GalleryError as error:
        yield str(error)
    if row.thumbnail:
        try:
            with Image.open(io.BytesIO(row.thumbnail)) as image:
                image.load()
        except (OSError, SyntaxError, ValueError):
            yield (
                f"The thumbnail of '{row.info.id}' cannot be decoded; forget the entry and add "
                "its image again."
            )


def _traces(store: Store, gone: Sequence[IndexedImage | str]) -> tuple[str, ...] | None:
    """What is found of forgotten entries, in the store and in its files."""
    if not gone:
        return ()
    parts: dict[bytes, str] = {}
    for one in gone:
        parts.update(_parts(one))
    known = store.existing([_id(one) for one in gone])
    there = tuple(f"Entry '{id}' is still there." for id in sorted(known))
    found = store.find_bytes(list(parts))
    if found is None:
        return there or None
    if found:
        # Pictures share flat areas, and the same picture may be there in another file.
        try:
            for row in store.rows(EVERYTHING):
                held = _bytes_of(row)
                found = {part: files for part, files in found.items() if part not in held}
        except GalleryError as error:
            there += (f"Whether other entries have the following rightly cannot be told: {error}",)
    return there + tuple(
        f"The {parts[part]} is still found in {', '.join(files)}." for part, files in found.items()
    )


def _id(one: IndexedImage | str) -> str:
    return one if isinstance(one, str) else one.info.id


def _parts(one: IndexedImage | str) -> Iterator[tuple[bytes, str]]:
    """Runs of bytes that would be left of an entry, with what they are."""
    id = _id(one)
    name = uuid.UUID(id)
    for form in (id.encode(), name.hex.encode(), name.bytes, name.bytes[::-1]):
        yield form, f"id of '{id}'"
    if isinstance(one, IndexedImage):
        yield one.info.sha256.encode(), f"SHA-256 of '{id}'"
        for whole in (one.thumbnail, base64.b64encode(one.thumbnail)):
            for piece in _pieces(whole):
                yield piece, f"thumbnail of '{id}'"
        for piece in _pieces(one.feature.tobytes()):
            yield piece, f"feature of '{id}'"


def _pieces(whole: bytes) -> Iterator[bytes]:
    """A few pieces from all over a run of bytes, without those that say nothing."""
    if len(whole) >= SHORTEST:
        last = max(0, len(whole) - PIECE)
        for start in np.linspace(min(TABLES, last), last, PIECES, dtype=int):
            piece = whole[start : start + PIECE]
            if piece.strip(b"\0"):
                yield piece


def _bytes_of(row: IndexedImage) -> bytes:
    """All that is stored of a row."""
    return (
        json.dumps(payload_of(row), ensure_ascii=False).encode()
        + row.thumbnail
        + row.feature.tobytes()
    )
