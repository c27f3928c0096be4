"""Verification of a gallery: every row is readable, and no trace of deleted entries is left."""

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

from vireid.errors import GalleryError, many
from vireid.gallery._checks import check_rows
from vireid.gallery._indexes import IndexComparison
from vireid.gallery._payload import is_id, payload_of
from vireid.gallery._traces import SHORTEST
from vireid.gallery.filters import EVERYTHING
from vireid.gallery.store import Store
from vireid.log import printable
from vireid.types import IndexedImage, id_of

__all__ = ["Verification", "verify"]

PIECE = 32
"""Bytes of a piece of a thumbnail or feature that is searched for: the engine's compression of
payloads breaks longer ones up."""

PIECES = 4
"""Number of pieces of each that are searched for."""

TABLES = 864
"""Bytes at the beginning that are skipped: the tables of a JPEG, the same in all thumbnails, take
623, and 831 in base64."""

SHOWN = 20
"""Maximum number of faults, files or traces that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of a verification; ``str`` formats it for the terminal.

    Attributes:
        rows: Number of rows read; None if only traces of deleted entries were searched for.
        faults: Faults of the rows and of the filter indexes, a sentence each.
        missing: Image files that are no longer at their path; no fault, since searching does not
            need them.
        deleted: Number of deleted entries whose traces were searched for.
        traces: Traces of them, a sentence each; None if the files are on a server and not
            accessible.
        cases: Number of cases read.
        deleted_of_cases: Number of images of these cases that were deleted from the gallery.
    """

    rows: int | None
    faults: tuple[str, ...] = ()
    missing: tuple[Path, ...] = ()
    deleted: int = 0
    traces: tuple[str, ...] | None = ()
    cases: int = 0
    deleted_of_cases: int = 0

    @property
    def passed(self) -> bool:
        """Whether there are no faults and no traces of deleted entries."""
        return not self.faults and not self.traces

    def __str__(self) -> str:
        lines = []
        if self.rows is not None:
            lines.append(f"{many(self.rows, 'row')} read, {many(len(self.faults), 'fault')}")
            lines += _listed(self.faults)
        if self.cases:
            lines.append(
                f"{many(self.cases, 'case')} read; {self.deleted_of_cases:,} of their images were"
                " deleted from the gallery"
            )
        if self.missing:
            lines.append(
                many(len(self.missing), "image file is", "image files are")
                + " no longer at their path"
            )
            lines += _listed(self.missing)
        if self.deleted and self.traces is None:
            lines.append(
                f"{many(self.deleted, 'deleted entry is', 'deleted entries are')} not found any"
                " more; whether bytes of them "
                "are left in the server's files cannot be seen from here"
            )
        elif self.deleted:
            traces = self.traces or ()
            lines.append(
                f"{many(self.deleted, 'deleted entry', 'deleted entries')},"
                f" {many(len(traces), 'trace')} of them"
            )
            lines += _listed(traces)
        return "\n".join(lines)


def _listed(things: Sequence[object]) -> Iterator[str]:
    """A line each, up to ``SHOWN``, and the number of the rest."""
    for thing in things[:SHOWN]:
        yield f"  {printable(str(thing))}"
    if len(things) > SHOWN:
        yield f"  and {len(things) - SHOWN:,} more"


def verify(
    store: Store, deleted: Sequence[IndexedImage | str] = (), *, rows: bool = True
) -> Verification:
    """Read every row of a store, and search its files for traces of deleted entries.

    Args:
        store: The store.
        deleted: As in :meth:`~vireid.gallery.Gallery.verify`.
        rows: As there.

    Raises:
        GalleryError: The store does not answer, or an id is invalid.
    """
    for one in deleted:
        if not is_id(_id(one)):
            raise GalleryError(
                f"'{_id(one)}' is not the id of an entry; expected one such as "
                f"'{id_of('ab' * 32)}', as a search prints it."
            )
    read = _read(store) if rows else Verification(rows=None)
    return replace(read, deleted=len(deleted), traces=_traces(store, deleted))


def _read(store: Store) -> Verification:
    """Read every row, and compare the filter indexes with them."""
    rows, faults, missing = 0, list[str](), list[Path]()
    comparison = IndexComparison(store)
    try:
        for row in store.rows(EVERYTHING):
            rows += 1
            faults += _faults(row, store)
            comparison.add(row)
            # Path.exists raises if a name is too long or a folder is not accessible.
            if row.info.file is not None and not os.path.exists(row.info.file):  # noqa: PTH110
                missing.append(row.info.file)
        faults += comparison.faults()
    except GalleryError as error:
        faults.append(f"Reading ended after {many(rows, 'row')}: {error}")
    if missing_rows := store.count_lost():
        faults.append(
            f"{many(missing_rows, 'row is', 'rows are')} lost: files of the gallery are missing or"
            " damaged. Restore a copy, or add the images again; those that exist stay unchanged."
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
                f"The thumbnail of '{row.info.id}' cannot be decoded; delete the entry and add "
                "its image again."
            )


def _traces(store: Store, deleted: Sequence[IndexedImage | str]) -> tuple[str, ...] | None:
    """Traces of deleted entries in the store and in its files."""
    if not deleted:
        return ()
    parts: dict[bytes, str] = {}
    for one in deleted:
        parts.update(_parts(one))
    known = store.existing([_id(one) for one in deleted])
    there = tuple(f"Entry '{id}' is still there." for id in sorted(known))
    found = store.find_bytes(list(parts))
    if found is None:
        return there or None
    if found:
        # Images share flat areas, and another entry may have the same image.
        try:
            for row in store.rows(EVERYTHING):
                held = _bytes_of(row)
                found = {part: files for part, files in found.items() if part not in held}
        except GalleryError as error:
            there += (f"Whether the following belongs to other entries cannot be checked: {error}",)
    return there + tuple(
        f"The {parts[part]} is still found in {', '.join(files)}." for part, files in found.items()
    )


def _id(one: IndexedImage | str) -> str:
    return one if isinstance(one, str) else one.info.id


def _parts(one: IndexedImage | str) -> Iterator[tuple[bytes, str]]:
    """Byte strings that would be left of an entry, with what they are."""
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
    """A few pieces spread over a byte string, without those of zeros."""
    if len(whole) >= SHORTEST:
        last = max(0, len(whole) - PIECE)
        for start in np.linspace(min(TABLES, last), last, PIECES, dtype=int):
            piece = whole[start : start + PIECE]
            if piece.strip(b"\0"):
                yield piece


def _bytes_of(row: IndexedImage) -> bytes:
    """All bytes stored for a row."""
    return (
        json.dumps(payload_of(row), ensure_ascii=False).encode()
        + row.thumbnail
        + row.feature.tobytes()
    )
