"""Comparison of the filter indexes of a store with its rows.

An index finds rows by a value, and the value of a row; each direction has its own data, and a
search uses either. Both are compared with what the rows themselves contain.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

from vireid.errors import many
from vireid.gallery._payload import INDEXED, Lookup, payload_of
from vireid.gallery.filters import EVERYTHING
from vireid.gallery.store import PAGE, Store
from vireid.times import parse_time
from vireid.types import IndexedImage

__all__ = ["IndexComparison"]

_Value: TypeAlias = tuple[str, str]
"""A key and its value as the payload contains it."""


class IndexComparison:
    """Collects what rows contain, and compares it with what the filter indexes answer.

    Memory grows with the number of different values, not with the number of rows.

    Args:
        store: The store of the rows and the indexes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Instead of all ids with a value their sum, in which a missing or an additional one shows.
        self._sums: defaultdict[_Value, int] = defaultdict(int)
        self._page: list[tuple[str, dict[str, str]]] = []
        self._suspects: set[_Value] = set()

    def add(self, row: IndexedImage) -> None:
        """Count a row, and look it up with the others of its page."""
        values = _values_of(row)
        for value in values.items():
            self._sums[value] += uuid.UUID(row.info.id).int
        self._page.append((row.info.id, values))
        if len(self._page) == PAGE:
            self._look_up()

    def faults(self) -> Iterator[str]:
        """A sentence for each index that does not match the rows."""
        self._look_up()
        for value, total in self._sums.items():
            if sum(uuid.UUID(id).int for id in self._store.indexed(_lookup(value))) != total:
                self._suspects.add(value)
        if not self._suspects:
            return
        # Other processes may have added or deleted rows since: what an index gives must be what the
        # rows contain before or after, and contain all that they contain before and after.
        before, every = self._rows_with_suspects()
        given = {value: self._store.indexed(_lookup(value)) for value in self._suspects}
        looked_up = {
            value: every - self._store.indexed(_lookup(value, every)) for value in self._suspects
        }
        after, _ = self._rows_with_suspects()
        wrong: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for value in sorted(self._suspects):
            always, ever = before[value] & after[value], before[value] | after[value]
            ids = set[str]()
            for answer in (given[value], looked_up[value]):
                ids |= (always - answer) | (answer - ever)
            if ids:
                key, text = value
                wrong[key][text] = len(ids)
        for key, texts in wrong.items():
            example = next(iter(texts))
            yield (
                f"The filter index of '{key}' does not match the entries for"
                f" {many(len(texts), 'value')}, such as '{example}'"
                f" ({many(texts[example], 'entry', 'entries')}), so filters miss entries or give "
                "others: rebuild the indexes with `vireid gallery verify --rebuild`."
            )

    def _look_up(self) -> None:
        """Compare the indexed values of a page of rows with those that they contain."""
        ids = {id for id, _ in self._page}
        having: defaultdict[_Value, set[str]] = defaultdict(set)
        for id, values in self._page:
            for value in values.items():
                having[value].add(id)
        for value, expected in having.items():
            if ids - self._store.indexed(_lookup(value, ids)) != expected:
                self._suspects.add(value)
        self._page.clear()

    def _rows_with_suspects(self) -> tuple[dict[_Value, set[str]], set[str]]:
        """The ids of the rows with each suspect value, and of all rows."""
        found: dict[_Value, set[str]] = {value: set() for value in self._suspects}
        every = set[str]()
        for row in self._store.rows(EVERYTHING, features=False, thumbnails=False):
            every.add(row.info.id)
            for value in _values_of(row).items() & found.keys():
                found[value].add(row.info.id)
        return found, every


def _values_of(row: IndexedImage) -> dict[str, str]:
    payload = payload_of(row)
    return {key: str(payload[key]) for key in INDEXED if key in payload}


def _lookup(value: _Value, without: set[str] | None = None) -> Lookup:
    key, text = value
    typed = parse_time(text) if INDEXED[key] == "datetime" else text
    return Lookup(key, typed, None if without is None else tuple(without))
