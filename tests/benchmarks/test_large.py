"""The bench of large galleries finds what a plain comparison finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.large import _search_quantised


@pytest.mark.parametrize(("name", "size"), [("float32", 4 * 64), ("scalar", 64 + 4)])
def test_quantised_search_finds_the_nearest(tmp_path: Path, name: str, size: int) -> None:
    found = _search_quantised(tmp_path, name, 400, 64)
    # Scalar: a byte a number and an offset a row; the files have a header besides.
    assert size <= found.size < size + 20
    assert min(found.again) > 0.99
    assert found.alone == (1, 1) if name == "float32" else 0.8 < min(found.alone) < 1
