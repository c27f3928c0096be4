"""Byte strings are found at any offset, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vireid.gallery import _traces
from vireid.gallery._traces import SHORTEST, find_bytes

# Few different letters, so that prefixes of parts occur often.
LETTERS = st.sampled_from(b"\0\0\0a")
PARTS = st.lists(LETTERS, min_size=SHORTEST, max_size=20).map(bytes).filter(any)
DATA = st.lists(LETTERS, max_size=200).map(bytes)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(DATA, max_size=3),
    parts=st.lists(PARTS, max_size=6),
    cuts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 190)), max_size=6),
    chunk=st.integers(SHORTEST, 64),
)
def test_equals_a_plain_search(
    tmp_path: Path,
    contents: list[bytes],
    parts: list[bytes],
    cuts: list[tuple[int, int]],
    chunk: int,
) -> None:
    files = []
    for number, data in enumerate(contents):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(data)
    cut = [contents[f][at : at + 12] for f, at in cuts if f < len(contents)]
    parts += [part for part in cut if len(part) >= SHORTEST and any(part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_traces, "CHUNK", chunk)
        found = find_bytes(files, parts)
    expected = {
        part: [file for file, data in zip(files, contents, strict=True) if part in data]
        for part in parts
    }
    assert found == {part: files for part, files in expected.items() if files}


def test_across_chunk_borders(tmp_path: Path) -> None:
    part = bytes(range(100))
    for before in (_traces.CHUNK - 99, _traces.CHUNK - 1, _traces.CHUNK, 2 * _traces.CHUNK - 50):
        file = tmp_path / "file"
        file.write_bytes(b"\0" * before + part + b"\0" * 10)
        assert find_bytes([file], [part, part[:-1] + b"x"]) == {part: [file]}


def test_many_parts_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.bytes(300_000)
    there = [data[at : at + 16] for at in range(0, len(data) - 16, 700)]
    file = tmp_path / "file"
    file.write_bytes(data)
    found = find_bytes([file], [*there, *(rng.bytes(16) for _ in there)])
    assert found == {part: [file] for part in there}
