from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireid.errors import GalleryError
from vireid.gallery.entry import Hit
from vireid.gallery.near_duplicates import CLOSE, GAP, fuse, group
from vireid.types import ImageInfo, Modality

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)


def hit(
    name: str,
    score: float,
    *,
    camera: str = "hall",
    time: datetime | None = NOON,
    modality: Modality = Modality.VISIBLE,
) -> Hit:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Hit(
        ImageInfo(
            sha256=sha256, path=Path(name), modality=modality, added=NOON, camera=camera, time=time
        ),
        score,
    )


def at(angle: float) -> NDArray[np.float32]:
    """A unit feature; the cosine of two is that of the difference of their angles."""
    return np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)


def names(hits: list[Hit], angles: dict[str, float] | None = None) -> list[list[str]]:
    given_angles = angles or {}
    features = {one.info.id: at(given_angles.get(one.info.name, 0.0)) for one in hits}
    return [[one.info.name for one in members] for members in group(hits, features)]


def test_frames_of_one_walk_are_one_group_in_the_order_of_the_best() -> None:
    hits = [
        hit("a", 0.9),
        hit("b", 0.8, camera="yard"),
        hit("a2", 0.7, time=NOON + GAP),
        hit("b2", 0.6, camera="yard"),
        hit("a3", 0.5, time=NOON - GAP),
    ]
    assert names(hits) == [["a", "a2", "a3"], ["b", "b2"]]
    assert names(hits[::-1]) == [["a", "a2", "a3"], ["b", "b2"]]


@pytest.mark.parametrize(
    "other",
    [
        hit("b", 0.5, camera="yard"),
        hit("b", 0.5, camera=""),
        hit("b", 0.5, time=NOON + GAP + timedelta(seconds=1)),
        hit("b", 0.5, time=NOON - GAP - timedelta(seconds=1)),
        hit("b", 0.5, modality=Modality.INFRARED),
    ],
)
def test_another_camera_time_or_light_is_another_walk(other: Hit) -> None:
    assert names([hit("a", 0.9), other]) == [["a"], ["b"]]


def test_what_is_not_known_keeps_nobody_apart() -> None:
    assert names([hit("a", 0.9), hit("b", 0.5, time=None)]) == [["a", "b"]]
    assert names([hit("a", 0.9, time=None), hit("b", 0.5, time=None)]) == [["a", "b"]]


def test_without_a_camera_only_times_say_that_it_is_one_walk() -> None:
    nowhere = [
        hit("a", 0.9, camera=""),
        hit("b", 0.8, camera="", time=None),
        hit("c", 0.7, camera="", time=NOON + GAP),
        hit("d", 0.6, camera="", time=None),
    ]
    assert names(nowhere) == [["a", "c"], ["b"], ["d"]]


def test_times_are_compared_across_zones_and_without_one_as_utc() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    bare = NOON.replace(tzinfo=None)
    assert names([hit("a", 0.9), hit("b", 0.5, time=east), hit("c", 0.4, time=bare)]) == [
        ["a", "b", "c"]
    ]


def test_closeness_is_to_the_best_hit_and_does_not_creep() -> None:
    edge = math.acos(CLOSE)
    angles = {"a": 0.0, "b": edge - 0.01, "c": 2 * edge - 0.02, "d": edge + 0.01}
    hits = [hit(name, 0.9 - 0.1 * place) for place, name in enumerate("abcd")]
    assert names(hits, angles) == [["a", "b"], ["c", "d"]]


def test_limits_can_be_chosen() -> None:
    hits = [hit("a", 0.9), hit("b", 0.8, time=NOON + timedelta(hours=1))]
    features = {hits[0].info.id: at(0.0), hits[1].info.id: at(1.0)}
    assert len(group(hits, features)) == 2
    assert len(group(hits, features, close=0.5, gap=timedelta(hours=1))) == 1


def test_a_hit_without_feature_stays_alone() -> None:
    hits = [hit("a", 0.9), hit("b", 0.8), hit("c", 0.7)]
    known = {one.info.id: at(0.0) for one in hits if one.info.name != "b"}
    assert [[h.info.name for h in g] for g in group(hits, known)] == [["a", "c"], ["b"]]
    assert group([], {}) == []


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
def test_nothing_is_lost_and_groups_hold_together(
    some: list[tuple[float, str, datetime | None, float]],
) -> None:
    hits = [hit(str(n), s, camera=c, time=t) for n, (s, c, t, _) in enumerate(some)]
    features = {one.info.id: at(angle) for one, (*_, angle) in zip(hits, some, strict=True)}
    groups = group(hits, features)
    flat = [one for members in groups for one in members]
    assert sorted(flat, key=lambda one: int(one.info.name)) == hits
    best = [members[0] for members in groups]
    assert best == sorted(best, key=lambda one: (-one.score, int(one.info.name)))
    for members in groups:
        assert members == sorted(members, key=lambda one: (-one.score, int(one.info.name)))
        for one in members[1:]:
            first = members[0].info
            assert one.info.camera == first.camera
            assert features[one.info.id] @ features[first.id] >= CLOSE
            if one.info.time and first.time:
                assert abs(one.info.time - first.time) <= GAP
            else:
                assert first.camera


def test_several_images_are_their_mean_of_unit_length() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = fuse(rows.astype(np.float32))
    total = [sum(rows[i, j] for i in range(5)) for j in range(8)]
    length = math.sqrt(sum(value * value for value in total))
    np.testing.assert_allclose(found, [value / length for value in total], atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(fuse(rows[:1].astype(np.float32)), rows[0], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.empty((0, 4)), r"shape \(0, 4\) make no query"),
        (np.ones(4) / 2, r"shape \(4,\) make no query"),
        (np.array([[1.0, 0.0], [math.nan, 0.0]]), "image 2 of 2 has the length nan"),
        (np.array([[math.inf, 0.0]]), "image 1 of 1 has the length inf"),
        (np.array([[0.0, 0.0]]), "image 1 of 1 has the length 0"),
        (np.array([[1.0, 0.0], [0.0, 2.0]]), "image 2 of 2 has the length 2"),
        (np.array([[1.0, 0.0], [-1.0, 0.0]]), "2 images cancel out"),
    ],
)
def test_what_makes_no_query_is_refused(rows: NDArray[np.float64], told: str) -> None:
    with pytest.raises(GalleryError, match=told):
        fuse(rows.astype(np.float32))
