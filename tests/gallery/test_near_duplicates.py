from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery.filters import Hit
from vireid.gallery.near_duplicates import (
    MAX_GAP,
    MIN_COSINE,
    group_near_duplicates,
    mean_feature,
)
from vireid.types import ImageInfo, Modality

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)


def hit(
    name: str,
    score: float,
    *,
    camera: str = "hall",
    time: datetime | None = NOON,
    modality: Modality = Modality.VISIBLE,
    tracklet: str = "",
) -> Hit:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Hit(
        ImageInfo(
            sha256=sha256,
            path=Path(name),
            modality=modality,
            added=NOON,
            camera=camera,
            time=time,
            tracklet=tracklet,
        ),
        score,
    )


def at(angle: float) -> NDArray[np.float32]:
    """A unit feature; the cosine of two is that of the difference of their angles."""
    return np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)


def with_features(hits: Sequence[Hit], angles: Sequence[float]) -> list[Hit]:
    return [replace(one, feature=at(angle)) for one, angle in zip(hits, angles, strict=True)]


def names(hits: list[Hit], angles: Sequence[float] | None = None) -> list[list[str]]:
    groups = group_near_duplicates(with_features(hits, angles or [0.0] * len(hits)))
    return [[one.info.name for one in members] for members in groups]


def test_frames_of_one_tracklet_are_grouped_best_first() -> None:
    hits = [
        hit("a", 0.9),
        hit("b", 0.8, camera="yard"),
        hit("a2", 0.7, time=NOON + MAX_GAP),
        hit("b2", 0.6, camera="yard"),
        hit("a3", 0.5, time=NOON - MAX_GAP),
    ]
    assert names(hits) == [["a", "a2", "a3"], ["b", "b2"]]
    assert names(hits[::-1]) == [["a", "a2", "a3"], ["b", "b2"]]


def test_a_tracklet_is_a_group_whatever_its_features_and_times() -> None:
    hits = [
        hit("a", 0.9, tracklet="7"),
        hit("other camera", 0.8, tracklet="7", camera="yard"),
        hit("other tracklet", 0.7, tracklet="8"),
        hit("no tracklet", 0.6),
        hit("a2", 0.5, tracklet="7", time=NOON + timedelta(hours=1)),
    ]
    apart = [0.0, 0.0, 0.0, 0.0, 2.0]
    assert names(hits, apart) == [
        ["a", "a2"],
        ["other camera"],
        ["other tracklet"],
        ["no tracklet"],
    ]


@pytest.mark.parametrize(
    "other",
    [
        hit("b", 0.5, camera="yard"),
        hit("b", 0.5, camera=""),
        hit("b", 0.5, time=NOON + MAX_GAP + timedelta(seconds=1)),
        hit("b", 0.5, time=NOON - MAX_GAP - timedelta(seconds=1)),
        hit("b", 0.5, modality=Modality.INFRARED),
    ],
)
def test_another_camera_time_or_modality_is_another_group(other: Hit) -> None:
    assert names([hit("a", 0.9), other]) == [["a"], ["b"]]


def test_unknown_time_does_not_separate() -> None:
    assert names([hit("a", 0.9), hit("b", 0.5, time=None)]) == [["a", "b"]]
    assert names([hit("a", 0.9, time=None), hit("b", 0.5, time=None)]) == [["a", "b"]]


def test_without_a_camera_both_times_are_needed() -> None:
    nowhere = [
        hit("a", 0.9, camera=""),
        hit("b", 0.8, camera="", time=None),
        hit("c", 0.7, camera="", time=NOON + MAX_GAP),
        hit("d", 0.6, camera="", time=None),
    ]
    assert names(nowhere) == [["a", "c"], ["b"], ["d"]]


def test_times_are_compared_across_zones_and_without_one_as_utc() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    bare = NOON.replace(tzinfo=None)
    assert names([hit("a", 0.9), hit("b", 0.5, time=east), hit("c", 0.4, time=bare)]) == [
        ["a", "b", "c"]
    ]


def test_similarity_is_to_the_best_hit_and_not_transitive() -> None:
    edge = math.acos(MIN_COSINE)
    angles = [0.0, edge - 0.01, 2 * edge - 0.02, edge + 0.01]
    hits = [hit(name, 0.9 - 0.1 * rank) for rank, name in enumerate("abcd")]
    assert names(hits, angles) == [["a", "b"], ["c", "d"]]


def test_thresholds_can_be_chosen() -> None:
    hits = [hit("a", 0.9), hit("b", 0.8, time=NOON + timedelta(hours=1))]
    hits = with_features(hits, [0.0, 1.0])
    assert len(group_near_duplicates(hits)) == 2
    assert len(group_near_duplicates(hits, min_cosine=0.5, max_gap=timedelta(hours=1))) == 1


def test_hit_without_feature_is_alone() -> None:
    a, b, c = with_features([hit("a", 0.9), hit("b", 0.8), hit("c", 0.7)], [0.0, 0.0, 0.0])
    groups = group_near_duplicates([a, replace(b, feature=None), c])
    assert [[h.info.name for h in g] for g in groups] == [["a", "c"], ["b"]]
    assert group_near_duplicates([]) == []


times = st.none() | st.integers(0, 300).map(lambda seconds: NOON + timedelta(seconds=seconds))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.2, 0.3, 0.4]),
            st.sampled_from(["", "hall", "yard"]),
            times,
            st.floats(0, 3),
        ),
        max_size=12,
    )
)
def test_groups_partition_the_hits(
    some: list[tuple[float, str, datetime | None, float]],
) -> None:
    hits = [hit(str(n), s, camera=c, time=t) for n, (s, c, t, _) in enumerate(some)]
    hits = with_features(hits, [angle for *_, angle in some])
    features = {one.info.id: at(angle) for one, (*_, angle) in zip(hits, some, strict=True)}
    groups = group_near_duplicates(hits)
    flat = [one for members in groups for one in members]
    assert sorted(flat, key=lambda one: int(one.info.name)) == hits
    best = [members[0] for members in groups]
    assert best == sorted(best, key=lambda one: (-one.score, int(one.info.name)))
    for members in groups:
        assert members == sorted(members, key=lambda one: (-one.score, int(one.info.name)))
        for one in members[1:]:
            first = members[0].info
            assert one.info.camera == first.camera
            assert features[one.info.id] @ features[first.id] >= MIN_COSINE
            if one.info.time and first.time:
                assert abs(one.info.time - first.time) <= MAX_GAP
            else:
                assert first.camera


def test_mean_feature_is_the_normalised_mean() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = mean_feature(rows.astype(np.float32))
    total = [sum(rows[i, j] for i in range(5)) for j in range(8)]
    length = math.sqrt(sum(value * value for value in total))
    np.testing.assert_allclose(found, [value / length for value in total], atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(mean_feature(rows[:1].astype(np.float32)), rows[0], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.empty((0, 4)), r"shape \(0, 4\) make no query"),
        (np.ones(4) / 2, r"shape \(4,\) make no query"),
        (np.array([[1.0, 0.0], [math.nan, 0.0]]), "image 2 of 2 has the norm nan"),
        (np.array([[math.inf, 0.0]]), "image 1 of 1 has the norm inf"),
        (np.array([[0.0, 0.0]]), "image 1 of 1 has the norm 0"),
        (np.array([[1.0, 0.0], [0.0, 2.0]]), "image 2 of 2 has the norm 2"),
        (np.array([[1.0, 0.0], [-1.0, 0.0]]), "2 images cancel out"),
    ],
)
def test_invalid_query_features_are_refused(rows: NDArray[np.float64], message: str) -> None:
    with pytest.raises(GalleryError, match=message):
        mean_feature(rows.astype(np.float32))
