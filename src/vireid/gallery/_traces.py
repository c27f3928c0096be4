"""Search files for byte strings, many at once in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

__all__ = ["SHORTEST", "find_bytes"]

SHORTEST = 8
"""Length of the shortest byte string that can be searched for."""

CHUNK = 1 << 20
"""Bytes read at once."""


def find_bytes(files: Iterable[Path], parts: Sequence[bytes]) -> dict[bytes, list[Path]]:
    """The files that contain some byte strings, at any offset.

    Args:
        files: The files.
        parts: The byte strings, of at least ``SHORTEST`` bytes each and not all zeros.

    Returns:
        The files of each byte string that is found at all.
    """
    parts = list(dict.fromkeys(parts))
    found: dict[bytes, list[Path]] = defaultdict(list)
    if not parts:
        return found
    by_head: dict[bytes, list[bytes]] = defaultdict(list)
    for part in parts:
        by_head[part[:SHORTEST]].append(part)
    longest = max(len(part) for part in parts)
    for path in files:
        inside: set[bytes] = set()
        rest = b""
        # Temporary files of a writer may be gone by now, and with them what they held.
        with suppress(FileNotFoundError), path.open("rb") as file:
            while read := file.read(CHUNK):
                data = rest + read
                # The engine allocates its files larger than their content.
                if data.strip(b"\0"):
                    inside.update(_within(data, by_head))
                rest = data[len(data) - min(len(data), longest - 1) :]
        for part in inside:
            found[part].append(path)
    return found


def _within(data: bytes, by_head: dict[bytes, list[bytes]]) -> Iterator[bytes]:
    """The byte strings found in ``data``, given all of them by their first bytes."""
    heads = np.frombuffer(b"".join(by_head), dtype="<u8")
    # A table of the first two bytes leaves few words for the slower comparison of all eight.
    table = np.zeros(1 << 16, dtype=bool)
    table[heads.astype(np.uint16)] = True
    present: set[bytes] = set()
    for shift in range(min(SHORTEST, len(data))):
        words = np.frombuffer(data, "<u8", count=(len(data) - shift) // SHORTEST, offset=shift)
        words = words[table[words.astype(np.uint16)]]
        present.update(word.tobytes() for word in np.unique(words[np.isin(words, heads)]))
    for head in present:
        yield from (part for part in by_head[head] if part in data)
