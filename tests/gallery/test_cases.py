"""Cases: what they keep, that they lose what the gallery deletes, and what damages them."""

from __future__ import annotations

import json
import resource
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from tests.gallery.processes import Other
from tests.gallery.toys import MODEL, changed, row

from vireid.errors import ConfigError, DiskFullError, GalleryError, NotThereError
from vireid.gallery import Filters, Gallery, open_gallery
from vireid.gallery.cases import MOST_IMAGES, Case, CaseHit, CaseQuery
from vireid.gallery.server import ServerStore

IDS = [row(number).info.id for number in range(8)]
UPLOAD = row(99).info.id
"""The id of an image that is no entry."""
HOSTILE = "<script>alert(1)</script> \x1b[31m '; ../../x \u202e"


@pytest.fixture
def gallery(place: Path) -> Iterator[Gallery]:
    """Eight entries: 0001 are 2 and 3, 0002 are 4 and 5."""
    with open_gallery(place, model=MODEL, create=True) as opened:
        opened.add([row(number) for number in range(8)])
        yield opened


def case_of(gallery: Gallery) -> Case:
    """A case with everything: hits 2 (chosen) and 3 (rejected), an entry and an upload as query."""
    case = gallery.cases.create(HOSTILE, by="ada")
    hits = [
        CaseHit(id=IDS[2], by="ada", score=0.75, verdict="uncertain", queries=(IDS[1], UPLOAD)),
        CaseHit(id=IDS[3], by="ben", decision="rejected"),
    ]
    queries = [CaseQuery(id=IDS[1], by="ada"), CaseQuery(id=UPLOAD, name="night.png", by="ada")]
    gallery.cases.add(case.id, hits, queries)
    return gallery.cases.note(case.id, HOSTILE, by="ben")


def traces(gallery: Gallery, id: str) -> list[str]:
    """The files of cases that name an image."""
    folder = Path(gallery.location) / "cases"
    return [path.name for path in folder.iterdir() if id.encode() in path.read_bytes()]


def test_a_case_is_kept(gallery: Gallery) -> None:
    case = case_of(gallery)
    assert (case.name, case.notes[0].text) == (HOSTILE, HOSTILE)
    assert (case.count("chosen"), case.count("rejected"), case.shared) == (1, 1, False)
    assert gallery.info().cases == 1
    with open_gallery(gallery.location) as reader:
        assert reader.cases.read_all() == ([case], [])
        assert reader.cases.find(f" {HOSTILE} ") == case
        with pytest.raises(GalleryError, match="opened read-only"):
            reader.cases.note(case.id, "text", by="ada")
    again = gallery.cases.add(case.id, [CaseHit(id=IDS[3], by="ada"), CaseHit(id=IDS[4], by="ada")])
    assert [(hit.id, hit.by) for hit in again.hits[1:]] == [(IDS[3], "ada"), (IDS[4], "ada")]
    again = gallery.cases.add(case.id, [CaseHit(id=IDS[2], by="ben", decision="rejected")])
    assert (again.hits[-1].score, again.hits[-1].verdict) == (0.75, "uncertain")
    again = gallery.cases.add(case.id, queries=[CaseQuery(id=UPLOAD, name="x", by="ben")])
    assert {query.by for query in again.queries} == {"ada"}
    left = gallery.cases.remove(case.id, [IDS[1], IDS[2], case.notes[0].id])
    assert left.image_ids == {UPLOAD, IDS[3], IDS[4]}
    assert (left.notes, left.deleted) == ((), 0)
    assert gallery.cases.edit(case.id, name=" new ", shared=True).name == "new"
    gallery.cases.delete(case.id)
    assert gallery.cases.read_all() == ([], [])
    assert list((Path(gallery.location) / "cases").iterdir()) == []


def test_what_is_not_there_or_invalid_is_refused(gallery: Gallery) -> None:
    case = case_of(gallery)
    cases = gallery.cases
    for id in ("../gallery", str(uuid.uuid4()), case.id.upper(), f"{case.id}.json", ""):
        for action in (cases.get, cases.delete, lambda id: cases.note(id, "text", by="ada")):
            with pytest.raises(NotThereError, match="has no case"):
                action(id)
    for bad in (UPLOAD, "x" * 100, "\x00"):
        with pytest.raises(NotThereError, match="has no entry"):
            cases.add(case.id, [CaseHit(id=bad, by="ada")])
        with pytest.raises(NotThereError, match="has no entry"):
            cases.add(case.id, queries=[CaseQuery(id=bad, by="ada")])
    with pytest.raises(NotThereError, match=f"has no '{IDS[7]}'"):
        cases.remove(case.id, [IDS[7]])
    for text in ("", " \n", "x" * 2_001, "\ud800"):
        with pytest.raises(ConfigError, match=r"The note (has|is)"):
            cases.note(case.id, text, by="ada")
        with pytest.raises(ConfigError, match="The name of a case"):
            cases.create(text, by="ada")
    with pytest.raises(ConfigError, match="has the id 'x'"):
        cases.add(case.id, queries=[CaseQuery(id="x", name="x.png", by="ada")])
    twin = cases.create(HOSTILE, by="ada")
    with pytest.raises(ConfigError, match="the name of 2 cases") as refused:
        cases.find(HOSTILE)
    assert twin.id in str(refused.value)
    assert cases.get(case.id) == case


def test_deleted_entries_leave_a_number(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    case, other = case_of(gallery), gallery.cases.create("other", by="ada")
    gone = list(gallery.rows(Filters(identities=("0001",))))
    assert gallery.delete(Filters(identities=("0001",))) == 2
    left = gallery.cases.get(case.id)
    assert (left.hits, left.deleted, left.notes) == ((), 2, case.notes)
    assert left.changed == case.changed
    assert "2 images were removed from 1 case of" in capsys.readouterr().err
    found = gallery.verify(deleted=gone)
    assert found.passed
    assert (found.cases, found.deleted_of_cases) == (2, 2)
    assert "2 cases read; 2 of their images were deleted from the gallery" in str(found)
    # An image that only a case names, by the id that its file gives.
    assert gallery.delete(Filters(ids=(UPLOAD,))) == 0
    assert [query.id for query in gallery.cases.get(case.id).queries] == [IDS[1]]
    assert traces(gallery, UPLOAD) == traces(gallery, IDS[2]) == []
    assert gallery.cases.get(other.id) == other


def test_traces_of_a_query_in_hits_are_removed(gallery: Gallery) -> None:
    case = case_of(gallery)
    gallery.delete(Filters(ids=(IDS[1],)))
    assert gallery.cases.get(case.id).hits[0].queries == (UPLOAD,)
    # Also of an image that is no query of the case.
    gallery.cases.add(case.id, [CaseHit(id=IDS[4], by="ada", queries=(IDS[6],))])
    gallery.delete(Filters(ids=(IDS[6],)))
    assert traces(gallery, IDS[1]) == traces(gallery, IDS[6]) == []


def test_retention(gallery: Gallery) -> None:
    """Entries take their hits along; then the uploads and the empty cases follow."""
    now = datetime.now(UTC)
    case = case_of(gallery)
    for days, cases, queries in ((1, 1, 2), (-1, 0, 0)):
        gallery.add([changed(row(1), time=now, added=now), changed(row(2), added=now)])
        gallery.expire(timedelta(days=days), now=now)
        found = gallery.cases.read_all()[0]
        assert len(found) == cases
        assert sum(len(one.queries) for one in found) == (1 if days == 1 else queries)
    assert traces(gallery, case.id) == []


def test_a_damaged_case_hides_no_other(gallery: Gallery) -> None:
    case, whole = case_of(gallery), gallery.cases.create("whole", by="ada")
    file = Path(gallery.location) / "cases" / f"{case.id}.json"
    content = json.loads(file.read_text())
    for damaged in (
        file.read_bytes()[:-30],
        b"",
        b"[]",
        json.dumps(content | {"version": 2}).encode(),
        json.dumps(content | {"id": whole.id}).encode(),
        json.dumps(content | {"hits": [{"id": 3}]}).encode(),
        json.dumps(content | {"hits": [{"id": "../x", "by": "ada"}]}).encode(),
        json.dumps(content | {"changed": "2026-05-31T12:00:00"}).encode(),
    ):
        file.write_bytes(damaged)
        found, [problem] = gallery.cases.read_all()
        assert found == [whole]
        assert "restore a copy of it, or delete it (`vireid gallery case delete`)" in problem
        with pytest.raises(GalleryError, match="cannot be read"):
            gallery.cases.note(case.id, "text", by="ada")
        assert file.read_bytes() == damaged
    assert [str(file) in fault for fault in gallery.verify().faults] == [True]
    # Entries of other cases can still be deleted; those that it names too, but not silently.
    file.write_text(json.dumps(content)[:-30])
    assert gallery.delete(Filters(ids=(IDS[7],))) == 1
    with pytest.raises(GalleryError, match="1 damaged case still names them"):
        gallery.delete(Filters(ids=(IDS[2],)))
    assert gallery.count() == 6
    gallery.cases.delete(case.id)
    assert gallery.verify(deleted=[IDS[2]]).passed


def test_references_to_entries_that_are_gone_are_a_fault(gallery: Gallery) -> None:
    """A restored copy of a case may name an entry that was deleted since."""
    case = case_of(gallery)
    file = Path(gallery.location) / "cases" / f"{case.id}.json"
    copy = file.read_bytes()
    gallery.delete(Filters(ids=(IDS[2],)))
    file.write_bytes(copy)
    [fault] = gallery.verify().faults
    assert f"names 1 entry that the gallery does not have, such as '{IDS[2]}'" in fault
    gallery.cases.remove(case.id, [IDS[2]])
    assert gallery.verify().passed


def killed_deletion(place: Path, pipe: Connection) -> None:
    """Be killed after the cases were changed and before the entries are deleted."""
    with open_gallery(place, write=True) as opened:

        def stop(ids: object) -> None:
            pipe.send(None)
            pipe.recv()

        opened._store.delete = stop  # type: ignore[method-assign]
        opened.delete(Filters(ids=(IDS[2],)))


def test_copies_take_cases_along(
    gallery: Gallery, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, other = case_of(gallery), gallery.cases.create("other", by="ada")
    damaged = gallery.cases.create("damaged", by="ada")
    (place / "cases" / f"{damaged.id}.json").write_text("{")
    rows = list(gallery.rows())
    # An entry that was added and decided on after the copy had passed it.
    gallery.add([row(20)])
    gallery.cases.add(case.id, [CaseHit(id=row(20).info.id, by="ada", queries=(IDS[1],))])
    with open_gallery(place / "copy", model=MODEL, create=True) as copy:
        copy.add(rows)
        gallery.copy_cases_and_searches(copy)
        assert copy.cases.get(case.id) == replace(
            case, changed=copy.cases.get(case.id).changed, deleted=1
        )
        assert copy.cases.get(other.id) == other
        said = capsys.readouterr().err
        assert f"has 2 cases of '{place}' too." in said
        assert "1 image of these cases is no entry of" in said
        assert (
            f"A case is not copied. The case '{place / 'cases' / damaged.id}.json' cannot" in said
        )
        # What is there stays as it is, and is erased there as everywhere.
        copy.cases.note(case.id, "of the copy", by="ada")
        assert gallery.copy_to(copy) == 1
        assert copy.cases.get(case.id).notes[-1].text == "of the copy"
        assert "cases of" not in capsys.readouterr().err
        copy.delete(Filters(ids=(IDS[2], UPLOAD)))
        assert traces(copy, IDS[2]) == traces(copy, UPLOAD) == []
        assert not copy.verify(deleted=[IDS[2], UPLOAD]).faults
        assert traces(gallery, IDS[2]) == [f"{case.id}.json"]


def test_a_killed_deletion_leaves_no_case_that_names_a_deleted_entry(place: Path) -> None:
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(number) for number in range(8)])
        case = case_of(gallery)
    other = Other(killed_deletion, place)
    other.hear()
    with pytest.raises(GalleryError, match="is being changed by"), open_gallery(place, write=True):
        pass
    with open_gallery(place) as reader:
        assert reader.cases.get(case.id).deleted == 1
    other.kill()
    temporary = place / "cases" / f".{case.id}.json.1-00.tmp"
    temporary.write_bytes(b"half")
    with open_gallery(place, write=True) as gallery:
        assert not temporary.exists()
        assert gallery.verify().passed
        assert gallery.count() == 8
        assert gallery.delete(Filters(ids=(IDS[2],))) == 1
        assert traces(gallery, IDS[2]) == []


def test_threads_lose_no_note_and_no_deletion(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = gallery.cases.create("x", by="ada")
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(gallery.cases.note, case.id, f"{n}", by="ada") for n in range(16)]:
            done.result()
        assert {note.text for note in gallery.cases.get(case.id).notes} == set(map(str, range(16)))
        # A hit that is added between the cases and the store of a deletion has to wait.
        waiting: list[Future[Case]] = []
        delete = gallery._store.delete

        def late(ids: Sequence[str]) -> None:
            hits = [CaseHit(id=IDS[2], by="ada")]
            waiting.append(pool.submit(gallery.cases.add, case.id, hits))
            delete(ids)

        monkeypatch.setattr(gallery._store, "delete", late)
        gallery.delete(Filters(ids=(IDS[2],)))
        with pytest.raises(NotThereError, match="has no entry"):
            waiting[0].result()
    assert traces(gallery, IDS[2]) == []


def test_writers_that_take_turns_share_the_cases(place: Path) -> None:
    """As two processes do: `vireid serve` and the shell."""
    with (
        open_gallery(place, model=MODEL, create=True, turns=True) as one,
        open_gallery(place, write=True, turns=True) as other,
    ):
        one.add([row(number) for number in range(8)])
        case = case_of(one)
        with ThreadPoolExecutor(4) as pool:
            for done in [
                pool.submit((one, other)[n % 2].cases.note, case.id, f"{n}", by="ada")
                for n in range(8)
            ]:
                done.result()
        assert len(one.cases.get(case.id).notes) == 1 + 8
        other.delete(Filters(ids=(IDS[2],)))
        assert one.cases.get(case.id).deleted == 1
        with pytest.raises(NotThereError, match="has no entry"):
            one.cases.add(case.id, [CaseHit(id=IDS[2], by="ada")])


def test_a_full_disk_keeps_the_former_case(gallery: Gallery) -> None:
    case = case_of(gallery)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(DiskFullError, match=r"cannot be changed \(.*\); allow larger files"):
            gallery.cases.note(case.id, "text", by="ada")
        with pytest.raises(DiskFullError):
            gallery.delete(Filters(ids=(IDS[2],)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert gallery.cases.read_all() == ([case], [])
    assert gallery.count() == 8


def test_ten_thousand_hits(gallery: Gallery) -> None:
    case = gallery.cases.create("large", by="ada")
    hits = tuple(CaseHit(id=str(uuid.UUID(int=n)), by="ada", score=0.5) for n in range(MOST_IMAGES))
    gallery.cases._save(replace(case, hits=hits))
    with pytest.raises(ConfigError, match="more than 10,000 images"):
        gallery.cases.add(case.id, [CaseHit(id=IDS[0], by="ada")])
    gone = {hit.id for hit in hits[::2]}
    with gallery.cases.forgetting(gone):
        pass
    left = gallery.cases.add(case.id, [CaseHit(id=IDS[0], by="ada")])
    assert (len(left.hits), left.deleted) == (5_001, 5_000)
    assert "names 5,000 entries" in gallery.verify().faults[0]


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_a_gallery_on_a_server_has_no_cases(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery.cases.create("x", by="ada")
    source = gallery
    store = ServerStore(QdrantClient(":memory:"), url="memory", collection="x", model=MODEL)
    with Gallery(store, location="http://host/x", write=True) as gallery:
        source.copy_cases_and_searches(gallery)
        assert f"1 case stays in '{source.location}': a gall" in capsys.readouterr().err
        gallery.add([row(0)])
        assert gallery.info().cases == 0
        with pytest.raises(GalleryError, match="keeps no cases"):
            gallery.cases.read_all()
        assert gallery.verify().passed
        assert gallery.expire(timedelta(), now=datetime.now(UTC)) == 1
        with pytest.raises(GalleryError, match=r"on a server.*vireid gallery copy"):
            gallery.cases.create("x", by="ada")
