"""The bench's galleries are as it says, and both of its sides find the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.gallery import synthetic_features

from benchmarks import gallery as bench
from vireid.gallery import EVERYTHING, open_gallery


def test_people_are_alike_as_far_as_the_docs_say() -> None:
    first, again = (
        synthetic_features(3, 512, rows=200),
        synthetic_features(3, 512, rows=200, draw=1),
    )
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(first, synthetic_features(3, 512, rows=200))
    cosines = first @ again.T
    same = np.arange(200)[:, None] // 20 == np.arange(200) // 20
    assert 0.55 < cosines[same].mean() < 0.65
    assert 0.0 < cosines[~same].mean() < 0.15
    # 1 / sqrt(40) for centres, of which images have about 0.6.
    assert 0.06 < cosines[~same].std() < 0.14


def test_both_sides_find_the_same_rows(tmp_path: Path) -> None:
    place, rows, dimension = tmp_path / "gallery", 1_400, 32
    assert bench._fill(place, rows, dimension) > 0
    with open_gallery(place) as gallery:
        assert gallery.count() == rows
        assert set(gallery.count_by("camera").values()) <= {233, 234}
        name_of = {row.info.id: int(row.info.name[:-4]) for row in gallery.rows()}
    times, found = bench._searches(place, dimension, EVERYTHING, True)
    assert 0 < times.p50 <= times.p95
    values = np.concatenate(
        [synthetic_features(0, dimension), synthetic_features(1, dimension, rows=400)]
    )
    for query, ids in zip(bench.query_features(dimension), found, strict=True):
        expected = bench.top_rows(values, query)
        assert [str(name_of[id]) for id in ids] == expected
    assert bench._index(place) > 0
    assert bench._cold(place, dimension) > 0
