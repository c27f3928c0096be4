"""The contract of all stores."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.gallery.toys import (
    CAMERAS,
    DIMENSION,
    IDENTITIES,
    MODEL,
    NOTES,
    OTHER,
    START,
    TIMES,
    TRACKLETS,
    NewGallery,
    by_id,
    changed,
    matches,
    picture,
    ranked,
    row,
    same,
    unit,
)

from vireid.errors import ConfigError, GalleryError
from vireid.gallery import Added, Filters, Gallery, Verification
from vireid.gallery import store as stores
from vireid.gallery.saved import SavedSearch
from vireid.standardisation import Standardisation, arrays_of
from vireid.types import IndexedImage, Modality, ModelInfo, id_of

# Warnings of the client's in-memory server; none affects results.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]

ROWS = [row(number) for number in range(130)]
TEXTS = st.text(max_size=20)
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


@pytest.fixture(scope="module")
def filled(lasting_gallery: NewGallery) -> Gallery:
    """A gallery of ROWS that tests do not change."""
    gallery = lasting_gallery()
    assert gallery.add(ROWS) == Added(len(ROWS), 0)
    return gallery


def times() -> st.SearchStrategy[datetime | None]:
    """Times at, just before and just after those of the rows, and others."""
    known = [time if time is None or time.tzinfo else time.replace(tzinfo=UTC) for time in TIMES]
    near = st.builds(
        lambda time, step: time and time + timedelta(microseconds=step),
        st.sampled_from([*known, *(one.info.added for one in ROWS[:5])]),
        st.integers(-1, 1),
    )
    return st.none() | near | st.datetimes(timezones=st.just(UTC))


def some_filters() -> st.SearchStrategy[Filters]:
    """Filters of every kind, most of which match something."""
    ids = st.sampled_from([one.info.id for one in ROWS] + [id_of("0" * 64), "no id", ""])
    parts = st.sampled_from(["red", "COAT", "ß", "ss", "i̇", "%", "_x*", "t, b", "nowhere"])
    return st.builds(
        Filters,
        cameras=st.lists(st.sampled_from(CAMERAS) | TEXTS, max_size=3).map(tuple),
        modality=st.none() | st.sampled_from(Modality),
        since=times(),
        until=times(),
        identities=st.lists(st.sampled_from(IDENTITIES) | TEXTS, max_size=3).map(tuple),
        tracklets=st.lists(st.sampled_from(TRACKLETS) | TEXTS, max_size=3).map(tuple),
        note=st.just("") | parts | st.sampled_from(NOTES) | TEXTS,
        ids=st.just(()) | st.lists(ids, min_size=1, max_size=60).map(tuple),
        without_ids=st.lists(ids, max_size=60).map(tuple),
        retained_before=times(),
    )


any_example = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_rows_round_trip(filled: Gallery) -> None:
    rows = list(filled.rows())
    assert len(rows) == len(ROWS)
    assert all(same(*pair) for pair in zip(rows, by_id(ROWS), strict=True))


def test_rows_without_features_and_thumbnails(filled: Gallery) -> None:
    bare = list(filled.rows(features=False, thumbnails=False))
    assert [one.info for one in bare] == [one.info for one in by_id(ROWS)]
    assert {(len(one.feature), one.thumbnail) for one in bare} == {(0, b"")}


def test_more_rows_than_a_page(new_gallery: NewGallery) -> None:
    rows = [row(number) for number in range(700)]
    gallery = new_gallery()
    gallery.add(rows)
    assert [one.info.id for one in gallery.rows()] == [one.info.id for one in by_id(rows)]


def test_one_entry(filled: Gallery) -> None:
    found = filled.entry(ROWS[7].info.id)
    assert found is not None
    assert same(found, ROWS[7])
    assert filled.thumbnail(ROWS[7].info.id) == ROWS[7].thumbnail


@pytest.mark.parametrize("id", [id_of("0" * 64), "no id", "", "../../etc/passwd", "\0"])
def test_missing_entry(filled: Gallery, id: str) -> None:
    assert filled.entry(id) is None
    assert filled.thumbnail(id) == b""


@any_example
@given(filters=some_filters())
def test_filters_against_a_loop(filled: Gallery, filters: Filters) -> None:
    expected = [one for one in by_id(ROWS) if matches(one, filters)]
    assert filled.count(filters) == len(expected)
    found = filled.rows(filters, features=False, thumbnails=False)
    assert [one.info for one in found] == [one.info for one in expected]
    for field in ("camera", "modality", "identity"):
        counts: dict[str, int] = {}
        for one in expected:
            value = str(getattr(one.info, field))
            counts[value] = counts.get(value, 0) + 1
        assert list(filled.count_by(field, filters).items()) == sorted(counts.items())


@any_example
@given(
    filters=some_filters(),
    numbers=st.lists(st.integers(0, 999), max_size=3),
    limit=st.integers(1, 200),
)
def test_search_against_a_loop(
    filled: Gallery, filters: Filters, numbers: list[int], limit: int
) -> None:
    queries = np.stack([unit(n) for n in numbers]) if numbers else np.zeros((0, DIMENSION), "f4")
    answers = filled.search(queries, filters=filters, limit=limit)
    assert len(answers) == len(numbers)
    entries = {one.info.id: one.info for one in ROWS}
    for hits, query in zip(answers, queries, strict=True):
        expected = ranked(ROWS, query, filters)[:limit]
        assert [hit.info for hit in hits] == [entries[id] for id, _ in expected]
        np.testing.assert_allclose([h.score for h in hits], [s for _, s in expected], atol=1e-6)


def test_equal_scores_in_the_order_of_ids(new_gallery: NewGallery) -> None:
    ties = [replace(row(number), feature=unit(0)) for number in range(50)]
    others = [row(number) for number in range(50, 60)]
    gallery = new_gallery()
    gallery.add([*others, *reversed(ties)])
    ids = sorted(one.info.id for one in ties)
    for limit in (1, 7, 50):
        [hits] = gallery.search(unit(0)[None], limit=limit)
        assert [hit.info.id for hit in hits] == ids[:limit]
        assert {hit.score for hit in hits} == {hits[0].score}
        assert hits[0].score <= 1
    [hits] = gallery.search(unit(0)[None], limit=100)
    assert [hit.info.id for hit in hits[:50]] == ids
    assert len(hits) == 60


def test_hits_with_their_features(filled: Gallery) -> None:
    features = {one.info.id: one.feature for one in ROWS}
    queries = np.stack([unit(1), unit(2)])
    for hits in filled.search(queries, with_features=True):
        assert len(hits) == 20
        for hit in hits:
            assert hit.feature is not None
            assert hit.feature.dtype == np.float32
            np.testing.assert_array_equal(hit.feature, features[hit.info.id])
    assert all(hit.feature is None for hits in filled.search(queries) for hit in hits)


def test_filters_for_each_query(filled: Gallery) -> None:
    some = [Filters(modality=Modality.VISIBLE), Filters(without_ids=(ROWS[0].info.id,))]
    queries = np.stack([unit(0), unit(0)])
    answers = filled.search(queries, filters=some, limit=200)
    assert answers == [
        filled.search(unit(0)[None], filters=filters, limit=200)[0] for filters in some
    ]
    assert [len(hits) for hits in answers] == [len(ROWS) // 2, len(ROWS) - 1]


def test_more_values_than_one_request(filled: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = filled.count_by("camera")
    for limit in (1, 2, len(CAMERAS)):
        monkeypatch.setattr(stores, "FACETS", limit)
        assert filled.count_by("camera") == expected


def test_opposite_feature_scores_minus_one(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add([row(0)])
    [[hit]] = gallery.search(-unit(0)[None])
    assert -1 <= hit.score == pytest.approx(-1)


def test_adding_twice_changes_nothing(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    first, again = row(1), changed(row(1), note="another note", camera="elsewhere")
    assert gallery.add([first, again, row(2)]) == Added(2, 1)
    assert gallery.add([again, row(3)]) == Added(1, 1)
    assert gallery.add([]) == Added(0, 0)
    rows = list(gallery.rows())
    assert all(same(*pair) for pair in zip(rows, by_id([first, row(2), row(3)]), strict=True))


def refused(feature: NDArray[np.float32]) -> IndexedImage:
    return replace(row(0), feature=feature)


NAN = np.where(np.arange(DIMENSION) == 3, np.nan, unit(0)).astype(np.float32)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (refused(NAN), "'000000.jpg' has the norm nan; expected finite"),
        (refused(np.full(DIMENSION, np.inf, np.float32)), "has the norm inf"),
        (refused(2 * unit(0)), "has the norm 2; expected finite values of norm 1"),
        (refused(0 * unit(0)), "has the norm 0"),
        (refused(unit(0)[:-1]), f"has 23 values; expected {DIMENSION}"),
        (refused(unit(0)[None]), "has the shape \\(1, 24\\)"),
        (changed(row(0), sha256="AB" * 32), "the SHA-256 'AB.*expected 64 hexadecimal"),
        (changed(row(0), path=Path("p\udce4.jpg")), "not valid Unicode: 'p\\\\udce4.jpg'.*rename"),
        (changed(row(0), path=Path("p\udce4.jpg")), "not valid Unicode"),
    ],
)
def test_invalid_rows_are_refused_before_writing(
    filled: Gallery, bad: IndexedImage, message: str
) -> None:
    with pytest.raises(GalleryError, match=message):
        filled.add([row(5000), bad])
    assert filled.entry(row(5000).info.id) is None
    assert filled.count() == len(ROWS)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (unit(0), "have the shape \\(24,\\); expected \\[queries, 24\\]"),
        (unit(0)[None, :-1], "of a query has 23 values"),
        (NAN[None], "of a query has the norm nan"),
    ],
)
def test_invalid_queries_are_refused(
    filled: Gallery, queries: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(GalleryError, match=message):
        filled.search(queries)


def test_limit_below_one_is_refused(filled: Gallery) -> None:
    with pytest.raises(ConfigError, match="limit of a search is 0; expected 1 or more"):
        filled.search(unit(0)[None], limit=0)


@pytest.mark.parametrize(
    "field", ["cameras", "identities", "tracklets", "ids", "without_ids", "note"]
)
def test_filter_with_invalid_unicode_is_refused(filled: Gallery, field: str) -> None:
    text = "\ud800"
    filters = Filters(**{field: text if field == "note" else (text,)})  # type: ignore[arg-type]
    for ask in (filled.count, filled.rows, filled.delete):
        with pytest.raises(GalleryError, match=r"a filter is not valid Unicode: '\\ud800'"):
            ask(filters)
    with pytest.raises(GalleryError, match="not valid Unicode"):
        filled.search(unit(0)[None], filters=filters)
    with pytest.raises(GalleryError, match="not valid Unicode"):
        filled.count_by("camera", filters)


@any_example
@given(
    texts=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), time=st.datetimes(timezones=st.timezones())
)
def test_any_text_and_time_round_trips(
    growing: Gallery, texts: tuple[str, str, str, str, str], time: datetime
) -> None:
    name, camera, identity, tracklet, note = texts
    labels = {"camera": camera, "identity": identity, "tracklet": tracklet, "note": note}
    one = changed(row(growing.count()), path=Path(name), time=time, **labels)
    growing.add([one])
    found = growing.entry(one.info.id)
    assert found is not None
    assert found.info == one.info
    since = found.info.time
    assert since is not None
    until = since + timedelta(microseconds=1)
    exactly = Filters(cameras=(camera,), tracklets=(tracklet,), note=note, since=since, until=until)
    assert one.info in [other.info for other in growing.rows(exactly)]


@pytest.fixture(scope="module")
def growing(lasting_gallery: NewGallery) -> Gallery:
    """A gallery that tests add to."""
    return lasting_gallery()


def test_deleting(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add(ROWS)
    filters = Filters(identities=("0001",), modality=Modality.INFRARED)
    gone = [one for one in ROWS if matches(one, filters)]
    rest = [one for one in ROWS if not matches(one, filters)]
    assert gallery.delete(filters) == len(gone) > 0
    assert gallery.delete(filters) == 0
    assert all(same(*pair) for pair in zip(gallery.rows(), by_id(rest), strict=True))
    assert gallery.entry(gone[0].info.id) is None
    assert gallery.thumbnail(gone[0].info.id) == b""
    [hits] = gallery.search(gone[0].feature[None], limit=len(ROWS))
    assert [hit.info.id for hit in hits] == [
        id for id, _ in ranked(rest, gone[0].feature, Filters())
    ]
    assert gallery.add(gone) == Added(len(gone), 0)
    assert gallery.count() == len(ROWS)


def test_deleting_everything_by_mistake_is_refused(filled: Gallery) -> None:
    with pytest.raises(ConfigError, match="would empty the gallery; expected an id"):
        filled.delete(Filters())
    with pytest.raises(ConfigError, match="would empty the gallery; expected an id"):
        filled.delete(Filters(without_ids=(ROWS[0].info.id,)))
    assert filled.count() == len(ROWS)


def test_expiry_counts_from_the_earlier_of_taken_and_added(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    day = timedelta(days=1)
    kept = changed(row(0), added=START, time=None)
    old = changed(row(1), added=START - 40 * day, time=None)
    taken_long_ago = changed(row(2), added=START, time=START - 40 * day)
    just_not_yet = changed(row(3), added=START - 30 * day, time=None)
    gallery.add([kept, old, taken_long_ago, just_not_yet])
    assert gallery.expire(30 * day, now=START) == 2
    assert {one.info.id for one in gallery.rows()} == {kept.info.id, just_not_yet.info.id}
    assert gallery.expire(30 * day, now=START.replace(tzinfo=None) + day) == 1


def test_a_letter_is_one_however_it_was_typed(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    texts = {"camera": "Tür", "identity": "Zoë", "note": "im Café"}
    for number, form in enumerate(FORMS):
        typed = {name: unicodedata.normalize(form, text) for name, text in texts.items()}
        gallery.add([changed(row(number), **typed)])
    for form in FORMS:
        camera, identity, note = (
            unicodedata.normalize(form, text) for text in ("Tür", "Zoë", "CAFÉ")
        )
        assert gallery.count(Filters(cameras=(camera,))) == 2
        assert gallery.count(Filters(note=note)) == 2
        assert gallery.count(Filters(identities=(identity,))) == 2
    assert gallery.count_by("identity") == {"Zoë": 2}
    assert gallery.delete(Filters(identities=(unicodedata.normalize("NFD", "Zoë"),))) == 2


@pytest.mark.parametrize("year", [1, 9999])
def test_times_at_the_edges(new_gallery: NewGallery, year: int) -> None:
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, tzinfo=UTC)
    gallery = new_gallery()
    gallery.add([changed(row(0), time=first), changed(row(1), time=last)])
    assert [one.info.time for one in by_id(list(gallery.rows()))] == [
        one.info.time for one in by_id([changed(row(0), time=first), changed(row(1), time=last)])
    ]
    assert gallery.count(Filters(since=first, until=last)) == 1
    assert gallery.count(Filters(since=last)) == 1


def test_calibration_is_stored(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    assert gallery.calibration == ""
    gallery.save_calibration('{"thresholds": [0.5, "½"]}')
    assert gallery.calibration == '{"thresholds": [0.5, "½"]}'
    gallery.save_calibration("second")
    assert gallery.calibration == "second"
    gallery.save_calibration("")
    assert gallery.calibration == ""


def test_copying(new_gallery: NewGallery, filled: Gallery) -> None:
    target = new_gallery()
    target.add(ROWS[:10])
    assert filled.copy_to(target) == len(ROWS) - 10
    assert all(same(*pair) for pair in zip(target.rows(), by_id(ROWS), strict=True))
    assert filled.copy_to(target) == 0


def test_copying_adds_the_calibration_if_there_is_none(new_gallery: NewGallery) -> None:
    source, bare, calibrated = new_gallery(), new_gallery(), new_gallery()
    source.save_calibration("of the source")
    calibrated.save_calibration("its own")
    source.copy_to(bare)
    source.copy_to(calibrated)
    assert (bare.calibration, calibrated.calibration) == ("of the source", "its own")


def saved(name: str, *numbers: int, threshold: float | None = None) -> SavedSearch:
    """A search for the rows of some numbers."""
    first = row(numbers[0])
    return SavedSearch(
        name=name,
        saved=START,
        ids=tuple(row(number).info.id for number in numbers),
        modality=first.info.modality,
        camera=first.info.camera,
        vector=SavedSearch.encoded(first.feature),
        threshold=threshold,
    )


def test_copying_adds_saved_searches(
    new_gallery: NewGallery, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = new_gallery(), new_gallery()
    for search in (saved("one", 1), saved("two", 2, threshold=0.5), saved("upload", 99)):
        source.save_search(search)
    source.add(ROWS[:10])
    target.save_search(saved("one", 3))
    source.copy_to(target)
    theirs = [saved("one", 3), saved("two", 2, threshold=0.5), saved("upload", 99)]
    assert list(target.searches) == theirs
    assert f"'{target.location}' has 2 saved searches of" in capsys.readouterr().err
    # They go with their queries, also with those that are no entries.
    target.delete(Filters(ids=(row(2).info.id, row(99).info.id)))
    assert list(target.searches) == theirs[:1]
    assert len(source.searches) == 3


def test_saved_searches_between_standardised_galleries(
    new_gallery: NewGallery, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (
        Standardisation.fit(*arrays_of(rows), source="entries") for rows in (ROWS[:60], ROWS[60:])
    )
    plain = new_gallery()
    for search in (saved("one", 1), saved("two", 1, 2), saved("by-score", 1, threshold=0.5)):
        plain.save_search(search)
    galleries = [plain]
    for statistics in (one, other):
        target = new_gallery(statistics.model(MODEL))
        target.save_standardisation(statistics)
        galleries[-1].copy_cases_and_searches(target)
        [search] = target.searches
        [expected] = statistics.of_images([row(1)])
        assert search.name == "one"
        np.testing.assert_allclose(search.feature, expected.feature, atol=1e-6)
        galleries.append(target)
    said = capsys.readouterr().err
    assert f"2 saved searches stay in '{plain.location}' ('by-score', 'two'): thresholds" in said
    assert said.count(" has 1 saved search of ") == 2


def test_copy_to_another_network_is_refused(new_gallery: NewGallery, filled: Gallery) -> None:
    for model in (OTHER, ModelInfo(fingerprint=MODEL.fingerprint, dimension=7)):
        other = new_gallery(model)
        assert other.model == model
        with pytest.raises(GalleryError, match=r"holds features of network .* cannot be comp"):
            filled.copy_to(other)
        assert other.count() == 0


def test_empty_gallery(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    assert gallery.model == MODEL
    assert gallery.search(np.stack([unit(0), unit(1)])) == [[], []]
    assert gallery.search(np.zeros((0, DIMENSION), np.float32)) == []
    assert (gallery.count(), list(gallery.rows()), gallery.count_by("camera")) == (0, [], {})
    assert gallery.delete(Filters(cameras=("entrance",))) == 0
    assert gallery.verify().passed
    assert "entries     0" in str(gallery.info())


def test_info(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add([row(0), row(1), row(2)])
    gallery.save_calibration("x")
    info = gallery.info()
    assert (info.entries, info.model, info.calibrated) == (3, MODEL, True)
    assert info.modalities == {"infrared": 1, "visible": 2}
    assert info.cameras == {"": 1, "entrance": 1, "Entrance": 1}
    assert info.identities == 1
    assert "cameras     unknown 1, Entrance 1, entrance 1" in str(info)
    assert "network     a1b2c3, dimension 24" in str(info)
    assert "unknown 2, \\x1b[1m 1" in str(replace(info, cameras={"": 2, "\x1b[1m": 1}))


def test_read_only_gallery_refuses_changes(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add([row(0)])
    reader = Gallery(gallery._store, location="people", write=False)
    changes: list[Callable[[], object]] = [
        lambda: reader.add([row(1)]),
        lambda: reader.delete(Filters(cameras=("",))),
        lambda: reader.expire(timedelta(0), now=START),
        lambda: reader.save_calibration("x"),
        reader.index,
    ]
    for change in changes:
        with pytest.raises(GalleryError, match="'people' was opened read-only"):
            change()
    assert (reader.count(), reader.calibration) == (1, "")


def test_search_after_indexing(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add(ROWS)
    gallery.index()
    query = unit(999)
    expected = [id for id, _ in ranked(ROWS, query, Filters())[:5]]
    for exact in (True, None, False):
        [hits] = gallery.search(query[None], limit=5, exact=exact)
        assert [hit.info.id for hit in hits] == expected
    gallery.add([row(500)])
    assert gallery.delete(Filters(ids=(ROWS[0].info.id,))) == 1
    assert gallery.count() == len(ROWS)


def test_verification_passes(filled: Gallery, tmp_path: Path) -> None:
    found = filled.verify()
    assert found.passed
    assert found.rows == len(ROWS)
    assert set(found.missing) == {one.info.file for one in ROWS if one.info.file is not None}
    assert f"{len(ROWS)} rows read, 0 faults" in str(found)


def test_verification_lists_missing_images(new_gallery: NewGallery, tmp_path: Path) -> None:
    there, gone = tmp_path / "there.jpg", tmp_path / "gone.jpg"
    there.write_bytes(picture(0))
    gallery = new_gallery()
    gallery.add(
        [
            changed(row(0), path=there),
            changed(row(1), path=gone),
            changed(row(2), path=Path("2.jpg")),
        ]
    )
    found = gallery.verify()
    assert (found.missing, found.passed) == ((gone,), True)
    assert str(gone) in str(found)


def test_verification_with_impossible_paths(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add([changed(row(0), path=Path("/" + 300 * "a")), changed(row(1), path=Path("/a\0"))])
    assert len(gallery.verify().missing) == 2


def test_verification_prints_a_readable_summary() -> None:
    """One line each, at most 20."""
    found = Verification(rows=1234, missing=tuple(Path(f"/{n}\x1b\n.jpg") for n in range(1234)))
    head, files, *listed, rest = str(found).splitlines()
    assert head == "1,234 rows read, 0 faults"
    assert files == "1,234 image files are no longer at their path"
    assert listed == [rf"  /{n}\x1b\n.jpg" for n in range(20)]
    assert rest == "  and 1,214 more"


def test_verification_decodes_thumbnails(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    thumbnails = (b"no JPEG", picture(1)[:-200], b"", picture(3))
    gallery.add([replace(row(number), thumbnail=t) for number, t in enumerate(thumbnails)])
    found = gallery.verify()
    assert (found.rows, found.passed) == (4, False)
    message = " ".join(found.faults)
    bad = [one.info.id for one in ROWS[:4] if f"thumbnail of '{one.info.id}' cannot be" in message]
    assert bad == [ROWS[0].info.id, ROWS[1].info.id]
    assert len(found.faults) == 2


def test_verification_reports_an_entry_that_still_exists(filled: Gallery) -> None:
    found = filled.verify(deleted=[ROWS[0], id_of("ab" * 32)])
    assert not found.passed
    assert f"Entry '{ROWS[0].info.id}' is still there." in str(found)


def test_verification_of_an_invalid_id(filled: Gallery) -> None:
    with pytest.raises(
        GalleryError, match=r"'people/1.jpg' is not the id of an entry; expected one"
    ):
        filled.verify(deleted=["people/1.jpg"])


def test_threads_share_a_gallery(store: str, new_gallery: NewGallery) -> None:
    if store == "memory":
        pytest.skip("the client's in-memory server is not thread-safe")
    gallery = new_gallery()
    gallery.add(ROWS[:100])
    wrong: list[object] = []

    def search(start: int) -> None:
        for one in ROWS[start : start + 20]:
            [hits] = gallery.search(one.feature[None], limit=1)
            if hits[0].info != one.info:
                wrong.append((one, hits))

    def add() -> None:
        for one in ROWS[100:]:
            gallery.add([one])

    threads = [threading.Thread(target=search, args=(start,)) for start in range(0, 100, 20)]
    threads.append(threading.Thread(target=add))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert gallery.count() == len(ROWS)


def test_deleting_a_tracklet(filled: Gallery) -> None:
    """Deletion goes by the entries' own values, which are compared without an index."""
    filters = Filters(tracklets=("7",), cameras=("entrance",))
    gone = {one.info.id for one in ROWS if matches(one, filters)}
    assert 0 < len(gone) == filled.count(filters)
    assert filled.select(filters) == tuple(sorted(gone))


def test_editing(new_gallery: NewGallery) -> None:
    gallery = new_gallery()
    gallery.add(ROWS)
    before, other = row(1), row(2)
    moved: dict[str, Any] = {
        "camera": "roof",
        "identity": "Zoe\u0308",
        "time": None,
        "tracklet": "9",
        "note": "",
    }
    changes: dict[str, dict[str, Any]] = {
        before.info.id: moved,
        other.info.id: {"camera": other.info.camera},
        "9" * 36: moved,
    }
    assert gallery.edit(changes, dry_run=True) == 1
    assert gallery.entry(before.info.id) is not None
    assert all(same(*pair) for pair in zip(gallery.rows(), by_id(ROWS), strict=True))
    assert gallery.edit(changes) == 1
    assert gallery.edit(changes) == 0
    expected = changed(before, **moved)
    rows = [expected if one.info == before.info else one for one in ROWS]
    assert all(same(*pair) for pair in zip(gallery.rows(), by_id(rows), strict=True))
    for filters in (
        Filters(cameras=("roof",)),
        Filters(identities=("Zoë",), tracklets=("9",)),
        Filters(cameras=(before.info.camera,)),
    ):
        assert gallery.count(filters) == sum(matches(one, filters) for one in rows)
    [hits] = gallery.search(before.feature[None], limit=1)
    assert hits[0].info == expected.info
