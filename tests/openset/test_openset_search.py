"""A search with near-duplicates, entries left out, and a verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from vireid.errors import ConfigError, GalleryError
from vireid.gallery import Filters, Gallery, Hit, open_gallery
from vireid.gallery.near_duplicates import mean_feature
from vireid.gallery.server import ServerStore
from vireid.openset.calibration import Calibration, PairVerdict, Verdict
from vireid.openset.fitting import calibrate
from vireid.openset.search import search_gallery
from vireid.openset.statistics import CameraView
from vireid.types import Features, ImageInfo, ImageRecord, IndexedImage, Modality, ModelInfo

MODEL = ModelInfo(fingerprint="a1b2", dimension=64)
NIGHT = CameraView(Modality.INFRARED)


def seen(person: int, frame: int) -> NDArray[np.float32]:
    """A feature of a person, a little different in each frame."""
    values: NDArray[np.float64] = np.eye(64)[person] + np.random.default_rng(
        [person, frame]
    ).normal(0, 0.01, 64)
    return np.asarray(values / np.linalg.norm(values), dtype=np.float32)


def row(
    person: int, frame: int, *, modality: Modality = Modality.VISIBLE, tracklet: str = ""
) -> IndexedImage:
    name = f"{person} {frame} {modality}"
    entry = ImageInfo(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        path=Path(name),
        modality=modality,
        added=datetime(2026, 1, 1, tzinfo=UTC),
        camera=("hall", "street")[frame % 2],
        identity="" if tracklet else str(person),
        tracklet=tracklet,
    )
    return IndexedImage(entry, seen(person, frame))


ROWS = [row(person, frame) for person in range(10) for frame in range(4)]


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """Ten people with two frames from each of two cameras."""
    with open_gallery(tmp_path / "people", model=MODEL, create=True) as made:
        made.add(ROWS)
        yield made


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """From forty other people in both modalities."""
    records = tuple(
        ImageRecord(Path(f"{modality}{person}-{frame}"), person, 0, modality)
        for modality in Modality
        for person in range(20, 60)
        for frame in range(4)
    )
    values = np.stack([seen(r.identity, 10 + n % 7) for n, r in enumerate(records)])
    return calibrate(Features(values, records), fingerprint=MODEL.fingerprint, resamples=20)


def test_hits_and_groups_of_near_duplicates(gallery: Gallery) -> None:
    query = seen(3, 9)[None]
    found = search_gallery(gallery, query, [NIGHT], limit=6)
    [expected] = gallery.search(query, limit=6)
    assert list(found.hits) == expected
    assert {hit.info.identity for hit in found.hits[:4]} == {"3"}
    # Both frames of a camera, without times.
    assert [len(group) for group in found.groups[:2]] == [2, 2]
    assert sorted(h.info.id for g in found.groups for h in g) == sorted(h.info.id for h in expected)
    assert found.considered == 40


def test_several_images_are_averaged(gallery: Gallery, calibration: Calibration) -> None:
    gallery.save_calibration(calibration.to_json())
    queries = np.stack([seen(3, 9), seen(3, 8), seen(5, 9)])
    found = search_gallery(gallery, queries, [NIGHT] * 3, limit=5)
    assert list(found.hits) == gallery.search(mean_feature(queries)[None], limit=5)[0]
    assert (found.verdict, found.verdicts) == (None, ())
    assert found.remark == "No verdict: the calibration is for searches with one image."


def test_left_out_entries_are_neither_found_nor_counted(gallery: Gallery) -> None:
    own = {r.info.id for r in ROWS if r.info.name.startswith("3 0")}
    found = search_gallery(gallery, seen(3, 0)[None], [NIGHT], leave_out=own, limit=40)
    assert len(found.hits) == found.considered == 39
    assert found.left_out == 1
    assert not own.intersection(hit.info.id for hit in found.hits)
    # Still the requested number of hits.
    few = search_gallery(gallery, seen(3, 0)[None], [NIGHT], leave_out=own, limit=2)
    assert few.hits == found.hits[:2]
    unknown = search_gallery(gallery, seen(3, 0)[None], [NIGHT], leave_out={"0" * 32})
    assert (unknown.considered, unknown.left_out) == (40, 0)


@pytest.mark.parametrize("filters", [Filters(cameras=("hall",)), Filters(identities=("4",))])
def test_leave_out_with_filters(gallery: Gallery, filters: Filters) -> None:
    inside = gallery.count(filters)
    for left_out in ROWS[:2] + ROWS[16:18]:
        found = search_gallery(
            gallery, seen(0, 9)[None], [NIGHT], filters=filters, leave_out={left_out.info.id}
        )
        expected = {row.info.id for row in gallery.rows(filters)} - {left_out.info.id}
        assert found.considered == len(expected) <= inside


def test_leave_out_with_ids(gallery: Gallery) -> None:
    ids = tuple(row.info.id for row in ROWS[:3])
    for out, number in (({ids[0]}, 2), ({ROWS[9].info.id}, 3), (set(ids), 0)):
        found = search_gallery(
            gallery, seen(0, 9)[None], [NIGHT], filters=Filters(ids=ids), leave_out=out
        )
        assert found.considered == len(found.hits) == number


def test_verdict(gallery: Gallery, calibration: Calibration) -> None:
    gallery.save_calibration(calibration.to_json())
    there = search_gallery(gallery, seen(3, 9)[None], [NIGHT], limit=6)
    assert there.verdict is Verdict.LIKELY
    assert there.verdicts[:4] == (PairVerdict.SAME,) * 4
    answer = calibration.answer(
        there.hits, query=NIGHT, images={Modality.VISIBLE: 40, Modality.INFRARED: 0}, people=10
    )
    assert answer is not None
    assert (answer.verdict, answer.hits, answer.note) == (
        there.verdict,
        there.verdicts,
        there.remark,
    )
    assert search_gallery(gallery, seen(15, 9)[None], [NIGHT], limit=6).verdict is Verdict.ABSENT


def test_no_verdict_without_calibration(gallery: Gallery, calibration: Calibration) -> None:
    found = search_gallery(gallery, seen(3, 9)[None], [NIGHT])
    assert (found.verdict, found.verdicts) == (None, ())
    assert found.remark == "No verdict: this gallery is not calibrated."
    by_day = [c for c in calibration.effective_images if c.query is Modality.VISIBLE]
    gallery.save_calibration(replace(calibration, effective_images=tuple(by_day)).to_json())
    found = search_gallery(gallery, seen(3, 9)[None], [NIGHT])
    assert found.remark == "No verdict: these modalities are not calibrated."
    gallery.save_calibration(calibration.to_json())
    nothing = search_gallery(gallery, seen(3, 9)[None], [NIGHT], filters=Filters(cameras=("x",)))
    assert (nothing.hits, nothing.groups, nothing.considered) == ((), (), 0)
    assert nothing.verdict is None
    assert nothing.remark.startswith("No entry has the camera 'x'; there are ")


def test_concurrent_deletion(
    gallery: Gallery, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process, between the search and the count."""
    gallery.save_calibration(calibration.to_json())
    count = Gallery.count_by

    def delete_and_count(self: Gallery, *arguments: object) -> object:
        self.delete(Filters(identities=("3",)))
        return count(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Gallery, "count_by", delete_and_count)
    found = search_gallery(gallery, seen(3, 9)[None], [NIGHT], limit=38)
    assert len(found.hits) == found.considered == 38
    assert found.verdict is Verdict.LIKELY


def ids(groups: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.info.id for hit in group] for group in groups]


class CountingClient:
    """A client of Qdrant that records its requests; each method call is one HTTP request."""

    def __init__(self) -> None:
        self._client = QdrantClient(":memory:")
        self.requests: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object, **options: object) -> object:
            self.requests.append(name)
            return getattr(self._client, name)(*arguments, **options)

        return call


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_requests_of_one_search(calibration: Calibration, gallery: Gallery) -> None:
    """One query, one count by modality, and with a calibration one count by identity."""
    client = CountingClient()
    store = ServerStore(client, url="memory", collection="people", model=MODEL)  # type: ignore[arg-type]
    with Gallery(store, location="people", write=True) as served:
        served.add(ROWS)
        plain = ["query_batch_points", "facet"]
        calibrated = [*plain, "facet"]
        for requests in (plain, calibrated):
            for leave_out in ((), (ROWS[12].info.id, "0" * 32)):
                search_gallery(served, seen(3, 9)[None], [NIGHT])  # metadata after a change
                client.requests.clear()
                found = search_gallery(served, seen(3, 9)[None], [NIGHT], leave_out=leave_out)
                assert client.requests == requests
                expected = search_gallery(gallery, seen(3, 9)[None], [NIGHT], leave_out=leave_out)
                assert found.considered == expected.considered
                assert (found.verdict, found.left_out) == (expected.verdict, expected.left_out)
                assert ids(found.groups) == ids(expected.groups)
            for one in (served, gallery):
                one.save_calibration(calibration.to_json())
        client.requests.clear()
        queries = np.stack([seen(3, 9), seen(3, 8)])
        search_gallery(served, queries, [NIGHT, NIGHT])
        assert client.requests == ["get_collection", *plain]
        client.requests.clear()
        search_gallery(served, queries, [NIGHT, NIGHT])
        assert client.requests == plain


def test_invalid_searches_are_refused(gallery: Gallery) -> None:
    with pytest.raises(ConfigError, match="limit of a search is 0; expected 1"):
        search_gallery(gallery, seen(0, 9)[None], [NIGHT], limit=0, leave_out={ROWS[0].info.id})
    with pytest.raises(GalleryError, match="expected"):
        search_gallery(gallery, np.empty((0, 64), np.float32), [])
    gallery.save_calibration('{"fingerprint": "another"}')
    with pytest.raises(GalleryError, match="calibration"):
        search_gallery(gallery, seen(0, 9)[None], [NIGHT])


def test_the_own_modality_is_left_out_where_both_are_there(gallery: Gallery) -> None:
    gallery.add([row(person, 0, modality=Modality.INFRARED) for person in range(10)])
    query = seen(3, 99)[None]

    def kinds(views: list[CameraView], **options: Any) -> tuple[set[Modality | None], int, int]:
        found = search_gallery(gallery, query.repeat(len(views), 0), views, limit=50, **options)
        return {h.info.modality for h in found.hits}, found.considered, found.own_modality

    day = CameraView(Modality.VISIBLE)
    visible, infrared = {Modality.VISIBLE}, {Modality.INFRARED}
    assert kinds([NIGHT]) == (visible, 40, 10)
    assert kinds([day, day]) == (infrared, 10, 40)
    assert kinds([day, NIGHT]) == (visible | infrared, 50, 0)
    assert kinds([NIGHT], both_modalities=True) == (visible | infrared, 50, 0)
    assert kinds([day], filters=Filters(modality=Modality.VISIBLE)) == (visible, 40, 0)
    # Of the matching entries: all of them are infrared.
    ids = tuple(r.info.id for r in gallery.rows() if r.info.modality is Modality.INFRARED)
    assert kinds([NIGHT], filters=Filters(ids=ids)) == (infrared, 10, 0)
    own = row(3, 0, modality=Modality.INFRARED).info.id
    assert kinds([NIGHT], leave_out={own}) == (visible, 40, 9)


class TestTracklets:
    """Ten people whom each of two cameras saw for twelve frames; one image is in no tracklet."""

    @pytest.fixture
    def tracked(self, tmp_path: Path) -> Iterator[Gallery]:
        rows = [row(p, f, tracklet=str(p)) for p in range(10) for f in range(24)]
        with open_gallery(tmp_path / "tracked", model=MODEL, create=True) as made:
            made.add([*rows, row(10, 0)])
            yield made

    def test_a_hit_is_a_whole_tracklet(self, tracked: Gallery) -> None:
        query = seen(3, 99)
        found = search_gallery(tracked, query[None], [NIGHT], limit=5)
        assert [len(group) for group in found.groups] == [12] * 5
        assert {(g[0].info.tracklet, g[0].info.camera) for g in found.groups[:2]} == {
            ("3", "hall"),
            ("3", "street"),
        }
        for group, mean in zip(found.groups, found.mean_scores, strict=True):
            key = group[0].info.tracklet_key
            values = np.stack([r.feature for r in tracked.rows() if r.info.tracklet_key == key])
            assert mean == pytest.approx(float(mean_feature(values) @ query), abs=1e-6)
            expected = sorted((float(v @ query) for v in values), reverse=True)
            assert [hit.score for hit in group] == pytest.approx(expected, abs=1e-6)
        assert found.hits[:5] == tuple(tracked.search(query[None], limit=5)[0])
        assert len(found.hits) == 60

    def test_filters_hold_within_tracklets(self, tracked: Gallery) -> None:
        ids = tuple(r.info.id for r in tracked.rows() if r.info.tracklet == "3")[:5]
        found = search_gallery(tracked, seen(3, 99)[None], [NIGHT], filters=Filters(ids=ids))
        assert {hit.info.id for hit in found.hits} == set(ids)

    def test_a_query_leaves_its_tracklet_out(self, tracked: Gallery) -> None:
        own = row(3, 0, tracklet="3").info.id
        found = search_gallery(tracked, seen(3, 0)[None], [NIGHT], leave_out={own}, limit=2)
        assert (found.left_out, found.considered) == (12, 241 - 12)
        best = found.groups[0][0].info
        assert (best.tracklet, best.camera) == ("3", "street")

    def test_a_tracklet_counts_as_one_person(
        self, tracked: Gallery, calibration: Calibration
    ) -> None:
        tracked.save_calibration(calibration.to_json())
        found = search_gallery(tracked, seen(3, 99)[None], [NIGHT], limit=5)
        [top] = tracked.search(seen(3, 99)[None], limit=20)
        images = {Modality.VISIBLE: 241, Modality.INFRARED: 0}
        answer = calibration.answer(top, query=NIGHT, images=images, people=21)
        alone = calibration.answer(top, query=NIGHT, images=images)
        assert answer is not None
        assert alone is not None
        thresholds = [
            calibration.match_threshold(
                NIGHT, CameraView(Modality.VISIBLE), images=images, people=p
            )
            for p in (21, None)
        ]
        assert thresholds[0].high < thresholds[1].high  # type: ignore[union-attr]
        assert (found.verdict, found.remark) == (answer.verdict, answer.note)
        assert found.verdicts[:20] == answer.hits[:20]
        assert len(found.verdicts) == len(found.hits) == 60
