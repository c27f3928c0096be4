"""Faults 31 to 38 of an embedded gallery, really injected: kills, crowds, damage, leftovers."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import qdrant_edge as edge
from tests.gallery.crowd import (
    BATCH,
    Other,
    build_graph,
    contents,
    forget,
    hold,
    ingest,
    occupy,
    small_steps,
    write_half,
)
from tests.gallery.toys import MODEL, OTHER, changed, row, same

from vireid.errors import ConfigError, GalleryError
from vireid.gallery import Filters, Gallery, embedded, open_gallery
from vireid.gallery._about import About, read_about
from vireid.gallery._payload import payload_of
from vireid.gallery.embedded import EmbeddedStore
from vireid.types import ModelInfo


@pytest.fixture
def made(place: Path) -> Path:
    """A gallery of 100 rows in several segments, closed."""
    with small_steps(), open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(number) for number in range(100)])
    return place


@pytest.fixture
def few(place: Path) -> Path:
    """A gallery of 5 rows in one segment, closed."""
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(number) for number in range(5)])
    return place


def numbers_in(gallery: Gallery) -> set[int]:
    """The numbers of the rows, each of which must be whole, found by its feature, and once."""
    rows = list(gallery.rows())
    numbers = [int(one.info.name[:6]) for one in rows]
    assert all(same(one, row(number)) for one, number in zip(rows, numbers, strict=True))
    assert gallery.count() == len(set(numbers)) == len(numbers)
    assert sum(gallery.count_by("camera").values()) == len(numbers)
    if rows:
        answers = gallery.search(np.stack([one.feature for one in rows]), limit=1)
        assert [hits[0].info for hits in answers] == [one.info for one in rows]
    return set(numbers)


def a_moment(rng: random.Random) -> None:
    """Let the other process get somewhere; where is part of the draw, and any place will do."""
    threading.Event().wait(rng.uniform(0, 0.05))


def test_what_was_acknowledged_survives_kills(place: Path) -> None:
    """Fault 31: the writer is killed, opened again, killed again."""
    rng = random.Random(31)
    there: set[int] = set()
    for start in (0, 1000, 2000, 3000):
        other = Other(ingest, place, start, 1000)
        acknowledged = set[int]()
        other.hear()
        for _ in range(rng.randrange(8)):
            acknowledged.update(other.hear())
        a_moment(rng)
        for batch in other.kill():
            acknowledged.update(batch)
        begun = range(start, start + len(acknowledged) + BATCH)
        with open_gallery(place, write=True) as gallery:
            found = numbers_in(gallery)
            assert gallery.verify(gone=[row(n) for n in set(begun) - found]).traces == ()
        assert there | acknowledged <= found <= there | set(begun)
        there = found
    assert len(there) > 4 * BATCH


def test_what_was_forgotten_stays_forgotten_after_kills(made: Path) -> None:
    """Fault 31, in the middle of forgetting, which writes segments anew."""
    rng = random.Random(32)
    there = set(range(100))
    for _ in range(3):
        order = rng.sample(sorted(there), len(there))
        other = Other(forget, made, order)
        other.hear()
        gone = [other.hear() for _ in range(rng.randrange(1, 4))]
        a_moment(rng)
        gone += other.kill()
        with open_gallery(made, write=True) as gallery:
            found = numbers_in(gallery)
            assert not found & set(gone)
            # The one that was being forgotten may be there or not.
            assert there - set(order[: len(gone) + 1]) <= found <= there
            # Opening it for writing has finished what was begun.
            lost = [row(number) for number in there - found]
            assert gallery.verify(gone=lost).traces == ()
        there = found


def test_what_was_never_acknowledged_leaves_no_bytes(made: Path) -> None:
    """Fault 31: thumbnails of rows that no one can forget, because the gallery never had them."""
    rows = [row(number) for number in range(100, 110)]
    other = Other(write_half, made, list(range(100, 110)))
    other.hear()
    other.kill()
    whole = contents(made)
    assert all(PARTS["thumbnail"](one) in whole for one in rows)
    with open_gallery(made, write=True) as gallery:
        assert numbers_in(gallery) == set(range(100))
        assert gallery.verify(gone=rows).whole
    rest = contents(made)
    assert not any(part(one) in rest for one in rows for part in PARTS.values())


def test_an_interrupted_operation_is_cleared_up_like_a_kill(few: Path) -> None:
    """Ctrl-C after the engine took a row: the row may be there, and the next writer clears up."""
    one, mark = row(7), few / "writer.json"
    point = edge.Point(one.info.id, one.feature.tolist(), payload_of(one))
    with open_gallery(few, write=True) as gallery:
        store = gallery._store
        assert isinstance(store, EmbeddedStore)
        with pytest.raises(KeyboardInterrupt), store._open() as shard:  # noqa: PT012
            shard.update(edge.UpdateOperation.upsert_points([point]))
            raise KeyboardInterrupt
        assert numbers_in(gallery) - {7} == set(range(5))
        assert gallery.verify().whole
    assert mark.exists()
    with open_gallery(few, write=True) as gallery:
        assert numbers_in(gallery) - {7} == set(range(5))
        assert gallery.verify().whole
    assert not mark.exists()


def test_killed_while_the_graph_is_built(made: Path) -> None:
    rng = random.Random(33)
    other = Other(build_graph, made)
    other.hear()
    a_moment(rng)
    other.kill()
    with small_steps(), open_gallery(made, write=True) as gallery:
        assert numbers_in(gallery) == set(range(100))
        gallery.index()
        assert numbers_in(gallery) == set(range(100))


def test_killed_while_the_gallery_is_made(place: Path) -> None:
    """What a kill leaves before gallery.json is written is no gallery yet, and is made anew."""
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(0)])
    (place / "gallery.json").unlink()
    (place / ".gallery.json.1-abc.tmp").write_text("half")
    with pytest.raises(GalleryError, match="is no gallery"):
        open_gallery(place, write=True)
    with open_gallery(place, model=MODEL, create=True) as gallery:
        assert gallery.count() == 0
    assert not list(place.glob(".*.tmp"))


def test_a_second_writer_is_told_of_the_first(few: Path) -> None:
    """Fault 32."""
    other = Other(hold, few, True)
    assert other.hear() == 5
    expected = rf"being changed by process {other.process.pid} \(`.+`, since 20.+\); .*one writer"
    with pytest.raises(GalleryError, match=expected):
        open_gallery(few, write=True)
    with open_gallery(few) as reader:
        assert reader.count() == 5
    other.pipe.send(None)
    other.join()
    with open_gallery(few, write=True) as gallery:
        gallery.add([row(100)])


def test_a_second_writer_in_the_same_process_is_refused(few: Path) -> None:
    with open_gallery(few, write=True):
        with pytest.raises(GalleryError, match="one writer at a time"):
            open_gallery(few, write=True)
        (few / "writer.json").write_text("not what vireid writes")
        with pytest.raises(GalleryError, match="being changed by another process"):
            open_gallery(few, write=True)
    open_gallery(few, write=True).close()


def test_the_lock_file_tells_no_options(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option may be a token."""
    command = ["/somewhere/bin/vireid", "serve", "people", "--token", "secret", "more"]
    monkeypatch.setattr("sys.argv", command)
    with open_gallery(few, write=True):
        written = json.loads((few / "writer.json").read_text())
    assert written["command"] == "vireid serve people"


def test_a_lock_that_a_kill_left_is_none(few: Path) -> None:
    """Fault 36."""
    other = Other(hold, few, True)
    other.hear()
    other.kill()
    assert json.loads((few / "writer.json").read_text())["process"] == other.process.pid
    with open_gallery(few, write=True, lock_timeout=5) as gallery:
        gallery.add([row(100)])


def test_a_reader_gets_in_while_a_writer_is_at_work(few: Path) -> None:
    """Between two batches of an import that goes on all the time."""
    other = Other(ingest, few, 1000, 100_000)
    other.hear()
    seen = []
    with open_gallery(few) as reader:
        for _ in range(3):
            batch = other.hear()
            seen.append(reader.count())
            [hits] = reader.search(row(batch[-1]).feature[None], limit=1)
            assert hits[0].info == row(batch[-1]).info
    other.kill()
    assert seen == sorted(seen)
    assert seen[0] >= 5 + BATCH


def test_a_reader_gets_in_while_others_are_idle(few: Path) -> None:
    others = [Other(hold, few, False), Other(hold, few, True)]
    for other in others:
        assert other.hear() == 5
    with open_gallery(few) as first, open_gallery(few) as second:
        for reader in (first, second, first):
            assert reader.count() == 5
    for other in others:
        other.pipe.send(None)
        other.join()


def test_lock_timeout(few: Path) -> None:
    other = Other(occupy, few)
    other.hear()
    with (
        open_gallery(few, lock_timeout=0.05) as reader,
        pytest.raises(GalleryError, match=r"is busy in another process for more than 0.05 s"),
    ):
        reader.count()
    other.pipe.send(None)
    other.join()
    with open_gallery(few) as reader:
        assert reader.count() == 5


def test_a_note_of_another_process_is_seen(few: Path) -> None:
    with open_gallery(few) as reader, open_gallery(few, write=True) as writer:
        writer.save_calibration("new")
        assert reader.calibration == "new"


@pytest.mark.parametrize("model", [OTHER, ModelInfo(fingerprint=MODEL.fingerprint, dimension=7)])
@pytest.mark.parametrize("create", [False, True])
def test_the_gallery_of_another_network_is_refused(
    few: Path, model: ModelInfo, create: bool
) -> None:
    """Fault 33; the refused gallery is not left open."""
    expected = rf"the network in use is {model.fingerprint} \(dimension {model.dimension}\)"
    with pytest.raises(GalleryError, match=expected):
        open_gallery(few, model=model, create=create)
    with open_gallery(few, model=MODEL, create=True) as gallery:
        assert gallery.count() == 5


def test_a_new_gallery_needs_a_network(place: Path) -> None:
    with pytest.raises(ConfigError, match="needs to know its network"):
        open_gallery(place, create=True)


def test_no_gallery(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (tmp_path / "nowhere", file):
        with pytest.raises(GalleryError, match=r"is no gallery: it has no gallery.json"):
            open_gallery(path)
    assert not (tmp_path / "nowhere").exists()
    for path in (tmp_path, file):
        with pytest.raises(GalleryError, match="expected a folder"):
            open_gallery(path, model=MODEL, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to(place: Path, few: Path) -> None:
    """A lock file that cannot be opened, and a folder that cannot be few: root may all else."""
    (few / "shard.lock").unlink()
    (few / "shard.lock").mkdir()
    with pytest.raises(GalleryError, match=r"cannot be written to \(Is a directory\)"):
        open_gallery(few)
    (few / "shard.lock").rmdir()
    open_gallery(few, write=True).close()
    with pytest.raises(GalleryError, match=r"cannot be written to \(Not a directory\)"):
        open_gallery(few / "gallery.json" / "below", model=MODEL, create=True)


def test_a_closed_gallery_says_so(few: Path) -> None:
    gallery = open_gallery(few)
    gallery.close()
    gallery.close()
    with pytest.raises(GalleryError, match="was closed"):
        gallery.count()
    assert not [thread for thread in threading.enumerate() if "_attend" in thread.name]


def segment_file(place: Path, name: str) -> Path:
    """A file of one of the sealed segments."""
    sealed = next(place.glob("shard/segments/*/vector_storage/matrix.dat")).parents[1]
    return next(sealed.glob(name))


@pytest.mark.parametrize("content", ["", "{", '{"model": {"fingerprint": "x"}}', "[]"])
def test_a_damaged_gallery_json(few: Path, content: str) -> None:
    (few / "gallery.json").write_text(content)
    with pytest.raises(GalleryError, match=r"(?s)gallery.json' cannot be read: .*Put back a copy"):
        open_gallery(few)


@pytest.mark.parametrize(
    "name", ["segment.json", "id_tracker.versions", "payload_storage/config.json"]
)
def test_a_missing_file_of_the_engine(made: Path, name: str) -> None:
    segment_file(made, name).unlink()
    with (
        open_gallery(made) as gallery,
        pytest.raises(GalleryError, match=r"cannot be used: .*copy"),
    ):
        gallery.count()


def test_a_panic_of_the_engine_is_an_error_like_others(made: Path) -> None:
    """A panic is no Exception in Python; other processes must get in after it, too."""
    status = segment_file(made, "payload_index/*camera-null/is_null/status.dat")
    whole = status.read_bytes()
    status.write_bytes(b"")
    with open_gallery(made) as gallery, open_gallery(made, lock_timeout=1) as second:
        for one in (gallery, second, gallery):
            with pytest.raises(GalleryError, match="cannot be used"):
                one.count()
        status.write_bytes(whole)
        assert (gallery.count(), second.count()) == (100, 100)


def test_features_that_are_gone_are_noticed(made: Path) -> None:
    segment_file(made, "vector_storage/matrix.dat").unlink()
    with open_gallery(made) as gallery:
        found = gallery.verify()
        assert any("has no feature" in fault for fault in found.faults)
        with pytest.raises(GalleryError, match=r"is damaged \(it has no feature\).*forget it by"):
            list(gallery.rows())


def test_changed_features_are_noticed(made: Path) -> None:
    path = segment_file(made, "vector_storage/matrix.dat")
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(7).tobytes()
    path.write_bytes(data)
    with open_gallery(made) as gallery:
        [fault] = gallery.verify().faults
    assert "has the norm" in fault


def test_a_segment_that_is_gone_is_noticed_until_its_rows_are_back(made: Path) -> None:
    """The engine drops a segment without its version file, and says nothing."""
    segment_file(made, "version.info").unlink()
    with open_gallery(made, write=True) as gallery:
        there = gallery.count()
        assert 0 < there < 100
        assert f"{100 - there} rows are lost" in str(gallery.verify())
    with open_gallery(made, write=True) as gallery:
        assert not gallery.verify().whole
        gallery.add([row(number) for number in range(100)])
        assert gallery.verify().whole


def test_what_another_process_removes_meanwhile_is_not_lost(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the number of rows that should be there and of those that are nobody gets in."""

    def forget_and_read(folder: Path) -> About:
        patch.undo()
        about = read_about(folder)
        with suppress(GalleryError):
            writer.delete(Filters(ids=(row(3).info.id,)))
        return about

    with open_gallery(few) as gallery, open_gallery(few, write=True, lock_timeout=0.5) as writer:
        assert gallery.count() == 5
        store = gallery._store
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "read_about", forget_and_read)
            assert store.count_lost() == 0
        assert gallery.count() == 5


def test_a_lock_that_cannot_be_written_is_let_go(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(GalleryError, match=r"cannot be written to \(No space left"):
            open_gallery(few, write=True)
    open_gallery(few, write=True).close()


PARTS = {
    "id": lambda one: uuid.UUID(one.info.id).bytes,
    "SHA-256": lambda one: one.info.sha256.encode(),
    "thumbnail": lambda one: base64.b64encode(one.thumbnail)[-64:],
    "feature": lambda one: one.feature.tobytes(),
}
NOT_STORED = (
    lambda one: one.info.id.encode(),
    lambda one: one.thumbnail[-48:],
)


def test_nothing_is_left_of_what_was_forgotten(made: Path) -> None:
    """In a sealed segment and in the growing one; before, everything is there to see."""
    numbers = [3, 97]
    gone = [row(number) for number in numbers]
    whole = contents(made)
    assert all(part(one) in whole for one in gone for part in PARTS.values())
    with small_steps(), open_gallery(made, write=True) as gallery:
        before = set(made.glob("shard/segments/*"))
        assert gallery.delete(Filters(ids=tuple(one.info.id for one in gone))) == len(gone)
        assert before & set(made.glob("shard/segments/*")), "every segment was written anew"
        assert gallery.verify(gone=gone).whole
        rest = contents(made)
        assert not any(part(one) in rest for one in gone for part in PARTS.values())
        assert not any(part(one) in rest for one in gone for part in NOT_STORED)
        assert numbers_in(gallery) == set(range(100)) - set(numbers)


def test_nothing_is_left_of_a_gallery_that_was_emptied(few: Path) -> None:
    """The engine then says that it had nothing to write anew, and goes on holding the old files."""
    gone = [row(number) for number in range(5)]
    with open_gallery(few, write=True) as gallery:
        assert gallery.delete(Filters(ids=tuple(one.info.id for one in gone))) == 5
        assert gallery.verify(gone=gone).whole
        rest = contents(few)
        assert not any(part(one) in rest for one in gone for part in PARTS.values())
        assert gallery.add(gone).new == 5


def test_verification_finds_what_is_left(few: Path) -> None:
    gone, by_id_alone = row(3), row(4)
    leftovers = few / "shard" / "leftovers"
    with open_gallery(few, write=True) as gallery:
        gallery.delete(Filters(ids=(gone.info.id, by_id_alone.info.id)))
        leftovers.mkdir()
        for what, part in PARTS.items():
            (leftovers / what).write_bytes(b"before" + part(gone) + b"after")
        (leftovers / "thumbnail of the other").write_bytes(PARTS["thumbnail"](by_id_alone))
        found = gallery.verify(gone=[gone, by_id_alone.info.id, row(50)])
    assert not found.whole
    for what in PARTS:
        text = f"The {what} of '{gone.info.id}' is still found in shard/leftovers/{what}."
        assert text in str(found)
    assert by_id_alone.info.id not in str(found)
    assert "3 forgotten entries" in str(found)


def test_what_another_entry_holds_too_is_no_trace(few: Path) -> None:
    """The same picture in another file: its thumbnail and feature stay, rightly."""
    one = row(3)
    twin = changed(one, sha256="ab" * 32)
    with open_gallery(few, write=True) as gallery:
        gallery.add([twin])
        gallery.delete(Filters(ids=(one.info.id,)))
        assert gallery.verify(gone=[one]).whole
        gallery.delete(Filters(ids=(twin.info.id,)))
        assert gallery.verify(gone=[one, twin]).whole


def test_proving_that_something_is_gone_reads_no_other_row(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All thumbnails begin with the same tables, which are traces of none of them."""

    def rows(self: EmbeddedStore, *_: object, **__: object) -> NoReturn:
        pytest.fail("rows were read")

    gone = row(3)
    with open_gallery(few, write=True) as gallery:
        gallery.delete(Filters(ids=(gone.info.id,)))
        monkeypatch.setattr(EmbeddedStore, "rows", rows)
        found = gallery.verify(gone=[gone], rows=False)
    assert found.whole
    assert str(found) == "1 forgotten entries, 0 traces of them"
