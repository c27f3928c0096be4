"""Injected faults 31 to 38 of an embedded gallery: kills, concurrency, damage, leftovers."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
import resource
import shutil
import threading
import uuid
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import qdrant_edge as edge
from tests.gallery.processes import (
    BATCH,
    Other,
    build_graph,
    contents,
    delete,
    hold,
    ingest,
    occupy,
    small_steps,
    write_half,
)
from tests.gallery.toys import MODEL, OTHER, START, changed, matches, row, same

from vireid.errors import ConfigError, GalleryError
from vireid.gallery import EVERYTHING, Filters, Gallery, _engine, embedded, open_gallery
from vireid.gallery._about import VERSION, About, read_about
from vireid.gallery._indexes import IndexComparison
from vireid.gallery._payload import payload_of
from vireid.gallery.embedded import EmbeddedStore
from vireid.types import ModelInfo


@pytest.fixture
def made(place: Path) -> Path:
    """A closed gallery of 100 rows in several segments."""
    with small_steps(), open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(number) for number in range(100)])
    return place


@pytest.fixture
def few(place: Path) -> Path:
    """A closed gallery of 5 rows in one segment."""
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(number) for number in range(5)])
    return place


def numbers_in(gallery: Gallery) -> set[int]:
    """The numbers of the rows; each row must be unchanged, unique, and found by its feature."""
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
    """Let the other process continue for a random time."""
    threading.Event().wait(rng.uniform(0, 0.05))


def test_acknowledged_rows_survive_kills(place: Path) -> None:
    """Fault 31: repeated kills of the writer."""
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
            assert gallery.verify(deleted=[row(n) for n in set(begun) - found]).traces == ()
        assert there | acknowledged <= found <= there | set(begun)
        there = found
    assert len(there) > 4 * BATCH


def test_deleted_rows_stay_deleted_after_kills(made: Path) -> None:
    """Fault 31, while segments are rewritten by a deletion."""
    rng = random.Random(32)
    there = set(range(100))
    for _ in range(3):
        order = rng.sample(sorted(there), len(there))
        other = Other(delete, made, order)
        other.hear()
        gone = [other.hear() for _ in range(rng.randrange(1, 4))]
        a_moment(rng)
        gone += other.kill()
        with open_gallery(made, write=True) as gallery:
            found = numbers_in(gallery)
            assert not found & set(gone)
            # The one being deleted may exist or not.
            assert there - set(order[: len(gone) + 1]) <= found <= there
            # Opening for writing has finished the interrupted deletion.
            lost = [row(number) for number in there - found]
            assert gallery.verify(deleted=lost).traces == ()
        there = found


def test_unacknowledged_rows_leave_no_bytes(made: Path) -> None:
    """Fault 31: rows that cannot be deleted, because the gallery never had them."""
    rows = [row(number) for number in range(100, 110)]
    other = Other(write_half, made, list(range(100, 110)))
    other.hear()
    other.kill()
    whole = contents(made)
    assert all(PARTS["thumbnail"](one) in whole for one in rows)
    with open_gallery(made, write=True) as gallery:
        assert numbers_in(gallery) == set(range(100))
        assert gallery.verify(deleted=rows).passed
    rest = contents(made)
    assert not any(part(one) in rest for one in rows for part in PARTS.values())


def test_interrupted_operation_is_cleaned_up_like_a_kill(few: Path) -> None:
    """Ctrl-C after the engine got a row: the row may exist, and the next writer cleans up."""
    one, mark = row(7), few / "writer.json"
    point = edge.Point(one.info.id, one.feature.tolist(), payload_of(one))
    with open_gallery(few, write=True) as gallery:
        store = gallery._store
        assert isinstance(store, EmbeddedStore)
        with pytest.raises(KeyboardInterrupt), store._open() as shard:  # noqa: PT012
            shard.update(edge.UpdateOperation.upsert_points([point]))
            raise KeyboardInterrupt
        assert numbers_in(gallery) - {7} == set(range(5))
        assert gallery.verify().passed
    assert mark.exists()
    with open_gallery(few, write=True) as gallery:
        assert numbers_in(gallery) - {7} == set(range(5))
        assert gallery.verify().passed
    assert not mark.exists()


def test_kill_while_the_graph_is_built(made: Path) -> None:
    rng = random.Random(33)
    other = Other(build_graph, made)
    other.hear()
    a_moment(rng)
    other.kill()
    with small_steps(), open_gallery(made, write=True) as gallery:
        assert numbers_in(gallery) == set(range(100))
        gallery.index()
        assert numbers_in(gallery) == set(range(100))


def test_kill_while_the_gallery_is_created(place: Path) -> None:
    """Without gallery.json the folder is not a gallery, and is created again."""
    with open_gallery(place, model=MODEL, create=True) as gallery:
        gallery.add([row(0)])
    (place / "gallery.json").unlink()
    (place / ".gallery.json.1-abc.tmp").write_text("half")
    with pytest.raises(GalleryError, match="is not a gallery"):
        open_gallery(place, write=True)
    with open_gallery(place, model=MODEL, create=True) as gallery:
        assert gallery.count() == 0
    assert not list(place.glob(".*.tmp"))


def test_second_writer_gets_the_name_of_the_first(few: Path) -> None:
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


def test_second_writer_in_the_same_process_is_refused(few: Path) -> None:
    with open_gallery(few, write=True):
        with pytest.raises(GalleryError, match="one writer at a time"):
            open_gallery(few, write=True)
        (few / "writer.json").write_text("not what vireid writes")
        with pytest.raises(GalleryError, match="being changed by another process"):
            open_gallery(few, write=True)
    open_gallery(few, write=True).close()


def test_writer_file_contains_no_options(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option may contain a token."""
    command = ["/somewhere/bin/vireid", "serve", "people", "--token", "secret", "more"]
    monkeypatch.setattr("sys.argv", command)
    with open_gallery(few, write=True):
        written = json.loads((few / "writer.json").read_text())
    assert written["command"] == "vireid serve people"


def test_lock_ends_with_a_kill(few: Path) -> None:
    """Fault 36."""
    other = Other(hold, few, True)
    other.hear()
    other.kill()
    assert json.loads((few / "writer.json").read_text())["process"] == other.process.pid
    with open_gallery(few, write=True, lock_timeout=5) as gallery:
        gallery.add([row(100)])


def test_reader_gets_access_while_a_writer_works(few: Path) -> None:
    """Between two batches of a continuous import."""
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


def test_reader_gets_access_while_others_are_idle(few: Path) -> None:
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


def test_folder_removed_while_it_is_open(few: Path) -> None:
    with open_gallery(few) as unused, open_gallery(few) as used:
        assert used.count() == 5
        shutil.rmtree(few)
        assert used.count() == 5
        with pytest.raises(GalleryError, match=r"cannot be (locked|read)"):
            unused.count()


def test_note_of_another_process_is_seen(few: Path) -> None:
    with open_gallery(few) as reader, open_gallery(few, write=True) as writer:
        writer.save_calibration("new")
        assert reader.calibration == "new"


@pytest.mark.parametrize("model", [OTHER, ModelInfo(fingerprint=MODEL.fingerprint, dimension=7)])
@pytest.mark.parametrize("create", [False, True])
def test_gallery_of_another_network_is_refused(few: Path, model: ModelInfo, create: bool) -> None:
    """Fault 33; the refused gallery is closed."""
    expected = rf"the network in use is {model.fingerprint} \(dimension {model.dimension}\)"
    with pytest.raises(GalleryError, match=expected):
        open_gallery(few, model=model, create=create)
    with open_gallery(few, model=MODEL, create=True) as gallery:
        assert gallery.count() == 5


def test_new_gallery_needs_a_model(place: Path) -> None:
    with pytest.raises(ConfigError, match="needs to know its network"):
        open_gallery(place, create=True)


def test_no_gallery(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (tmp_path / "nowhere", file):
        with pytest.raises(GalleryError, match=r"is not a gallery: it has no gallery.json"):
            open_gallery(path)
    assert not (tmp_path / "nowhere").exists()
    for path in (tmp_path, file):
        with pytest.raises(GalleryError, match="expected a folder"):
            open_gallery(path, model=MODEL, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_is_not_writable(place: Path, few: Path) -> None:
    """A lock file and a folder that even root cannot open."""
    (few / "shard.lock").unlink()
    (few / "shard.lock").mkdir()
    with pytest.raises(GalleryError, match=r"cannot be written to \(Is a directory\)"):
        open_gallery(few)
    (few / "shard.lock").rmdir()
    open_gallery(few, write=True).close()
    with pytest.raises(GalleryError, match=r"cannot be written to \(Not a directory\)"):
        open_gallery(few / "gallery.json" / "below", model=MODEL, create=True)


def test_closed_gallery_is_refused(few: Path) -> None:
    gallery = open_gallery(few)
    gallery.close()
    gallery.close()
    with pytest.raises(GalleryError, match="was closed"):
        gallery.count()
    assert not [thread for thread in threading.enumerate() if "_watch" in thread.name]


def segment_file(place: Path, name: str) -> Path:
    """A file of one of the sealed segments."""
    sealed = next(place.glob("shard/segments/*/vector_storage/matrix.dat")).parents[1]
    return next(sealed.glob(name))


@pytest.mark.parametrize("version", [99, 0, "2", None])
def test_a_gallery_of_another_version_is_refused(few: Path, version: object) -> None:
    content = json.loads((few / "gallery.json").read_text())
    assert content["version"] == VERSION
    (few / "gallery.json").write_text(json.dumps(content | {"version": version}))
    with pytest.raises(GalleryError, match=f"has the format version {version!r};"):
        open_gallery(few)


@pytest.mark.parametrize("content", ["", "{", '{"model": {"fingerprint": "x"}}', "[]"])
def test_damaged_gallery_json(few: Path, content: str) -> None:
    (few / "gallery.json").write_text(content)
    with pytest.raises(GalleryError, match=r"(?s)gallery.json' cannot be read: .*restore a copy"):
        open_gallery(few)


@pytest.mark.parametrize(
    "name", ["segment.json", "id_tracker.versions", "payload_storage/config.json"]
)
def test_missing_file_of_the_engine(made: Path, name: str) -> None:
    segment_file(made, name).unlink()
    with (
        open_gallery(made) as gallery,
        pytest.raises(GalleryError, match=r"cannot be used: .*copy"),
    ):
        gallery.count()


def test_without_file_descriptors_nobody_is_told_to_create_the_gallery_again(few: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    messages = []
    with open_gallery(few) as gallery:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        while taken[-1] <= highest:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        for free in range(1, 40):
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + free, hard))
            try:
                gallery.count()
                break
            except GalleryError as error:
                messages.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert gallery.count() == 5
    for descriptor in taken:
        os.close(descriptor)
    assert len(messages) > 2
    assert all("allow more open files (ulimit -n)" in message for message in messages)
    assert not any("gallery add" in message for message in messages)


def test_panic_of_the_engine_is_a_gallery_error(made: Path) -> None:
    """A panic is not an Exception in Python; other processes must still get access after it."""
    status = segment_file(made, "payload_index/*camera-null/is_null/status.dat")
    whole = status.read_bytes()
    status.write_bytes(b"")
    with open_gallery(made) as gallery, open_gallery(made, lock_timeout=1) as second:
        for one in (gallery, second, gallery):
            with pytest.raises(GalleryError, match="cannot be used"):
                one.count()
        status.write_bytes(whole)
        assert (gallery.count(), second.count()) == (100, 100)


def test_missing_features_are_detected(made: Path) -> None:
    segment_file(made, "vector_storage/matrix.dat").unlink()
    with open_gallery(made) as gallery:
        found = gallery.verify()
        assert any("has no feature" in fault for fault in found.faults)
        with pytest.raises(GalleryError, match=r"is damaged \(it has no feature\).*delete it by"):
            list(gallery.rows())


def test_changed_features_are_detected(made: Path) -> None:
    path = segment_file(made, "vector_storage/matrix.dat")
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(7).tobytes()
    path.write_bytes(data)
    with open_gallery(made) as gallery:
        [fault] = gallery.verify().faults
    assert "has the norm" in fault


@pytest.mark.parametrize(
    ("files", "text", "filters"),
    [
        ("identity-map/page_0.dat", b"0001", Filters(identities=("0001",))),  # growing segment
        ("identity-map/values_to_points.bin", b"0001", Filters(identities=("0001",))),
        ("folded_n-map/page_0.dat", b"red coat", Filters(note="red coat")),
        ("time-numeric/point_to_values.bin", b"", Filters(since=START)),
    ],
)
def test_flipped_bit_in_a_filter_index(
    place: Path, files: str, text: bytes, filters: Filters, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verification finds it, rebuilding repairs it, and deletion does not rely on the index."""
    rows = [row(number) for number in range(60)]
    expected = {one.info.id for one in rows if matches(one, filters)}
    with (
        nullcontext() if "page_0" in files else small_steps(),
        open_gallery(place, model=MODEL, create=True) as gallery,
    ):
        gallery.add(rows)
    for file in place.glob(f"shard/segments/*/payload_index/*{files}"):
        data = bytearray(file.read_bytes())
        found = data.rfind(text) if text else len(data) - 8
        if found != -1:
            data[found + len(text) - 1] ^= 2
            file.write_bytes(data)
            break
    other = place.parent / "rebuilt"
    shutil.copytree(place, other)
    with open_gallery(other, rebuild=True) as gallery:
        assert gallery.verify().passed
        assert {one.info.id for one in gallery.rows(filters)} == expected
    shutil.rmtree(other)
    with open_gallery(place, write=True) as gallery:
        [fault] = gallery.verify().faults
        assert f"The filter index of '{files[:4]}" in fault
        assert gallery.delete(filters) == len(expected)
        assert {one.info.id for one in gallery.rows()} == {r.info.id for r in rows} - expected
    if text:
        assert "The filter indexes of" in capsys.readouterr().err


def test_filter_index_that_the_engine_cannot_open_is_rebuilt(made: Path) -> None:
    segment_file(made, "payload_index/*camera-null/is_null/status.dat").write_bytes(b"")
    with pytest.raises(GalleryError, match=r"cannot be used: .*verify --rebuild"):
        open_gallery(made, write=True)
    with open_gallery(made, rebuild=True) as gallery:
        assert gallery.verify().passed
        assert numbers_in(gallery) == set(range(100))


def test_rebuilding_is_finished_after_a_kill(made: Path) -> None:
    """Between discarding the indexes and building them."""
    _engine.drop_indexes(made / "shard")
    with open_gallery(made, write=True) as gallery:
        assert gallery.verify().passed
        assert numbers_in(gallery) == set(range(100))


def test_rows_changed_by_others_are_no_fault_of_an_index(few: Path) -> None:
    with open_gallery(few, write=True) as gallery:
        store = gallery._store
        comparison = IndexComparison(store)
        for one in store.rows(EVERYTHING):
            comparison.add(one)
        gallery.add([row(number) for number in range(5, 20)])
        gallery.delete(Filters(ids=(row(2).info.id,)))
        assert list(comparison.faults()) == []


def test_deletion_says_that_a_damaged_row_may_match(few: Path) -> None:
    ann, damaged = row(2), row(4)
    with open_gallery(few, write=True) as gallery:
        store = gallery._store
        assert isinstance(store, EmbeddedStore)
        with store._open() as shard:
            change = edge.UpdateOperation.set_payload([damaged.info.id], {"sha256": "ab" * 32})
            shard.update(change)
            shard.flush()
        with pytest.raises(GalleryError, match=r"2 entries .* were deleted, but 1 cannot be read"):
            gallery.delete(Filters(identities=(ann.info.identity,)))
        assert gallery.count() == 3
        assert gallery.delete(Filters(ids=(damaged.info.id,))) == 1


def test_missing_segment_is_detected_until_its_rows_are_back(made: Path) -> None:
    """The engine silently drops a segment without its version file."""
    segment_file(made, "version.info").unlink()
    with open_gallery(made, write=True) as gallery:
        there = gallery.count()
        assert 0 < there < 100
        assert f"{100 - there} rows are lost" in str(gallery.verify())
    with open_gallery(made, write=True) as gallery:
        assert not gallery.verify().passed
        gallery.add([row(number) for number in range(100)])
        assert gallery.verify().passed


def test_rows_deleted_by_another_process_do_not_count_as_lost(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other process gets access between reading the expected and the actual number of rows."""

    def delete_and_read(folder: Path) -> About:
        patch.undo()
        about = read_about(folder)
        with suppress(GalleryError):
            writer.delete(Filters(ids=(row(3).info.id,)))
        return about

    with open_gallery(few) as gallery, open_gallery(few, write=True, lock_timeout=0.5) as writer:
        assert gallery.count() == 5
        store = gallery._store
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "read_about", delete_and_read)
            assert store.count_lost() == 0
        assert gallery.count() == 5


def test_lock_is_released_if_its_holder_cannot_be_written(
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


def test_deleted_rows_leave_no_bytes(made: Path) -> None:
    """In a sealed and in the growing segment; before the deletion all bytes are found."""
    numbers = [3, 97]
    gone = [row(number) for number in numbers]
    whole = contents(made)
    assert all(part(one) in whole for one in gone for part in PARTS.values())
    with small_steps(), open_gallery(made, write=True) as gallery:
        before = set(made.glob("shard/segments/*"))
        assert gallery.delete(Filters(ids=tuple(one.info.id for one in gone))) == len(gone)
        assert before & set(made.glob("shard/segments/*")), "every segment was written anew"
        assert gallery.verify(deleted=gone).passed
        rest = contents(made)
        assert not any(part(one) in rest for one in gone for part in PARTS.values())
        assert not any(part(one) in rest for one in gone for part in NOT_STORED)
        assert numbers_in(gallery) == set(range(100)) - set(numbers)


def test_emptied_gallery_contains_no_bytes_of_rows(few: Path) -> None:
    """The engine reports nothing to rewrite then, and keeps the old files open."""
    gone = [row(number) for number in range(5)]
    with open_gallery(few, write=True) as gallery:
        assert gallery.delete(Filters(ids=tuple(one.info.id for one in gone))) == 5
        assert gallery.verify(deleted=gone).passed
        rest = contents(few)
        assert not any(part(one) in rest for one in gone for part in PARTS.values())
        assert gallery.add(gone).new == 5


def test_verification_finds_traces(few: Path) -> None:
    gone, by_id_alone = row(3), row(4)
    leftovers = few / "shard" / "leftovers"
    with open_gallery(few, write=True) as gallery:
        gallery.delete(Filters(ids=(gone.info.id, by_id_alone.info.id)))
        leftovers.mkdir()
        for what, part in PARTS.items():
            (leftovers / what).write_bytes(b"before" + part(gone) + b"after")
        (leftovers / "thumbnail of the other").write_bytes(PARTS["thumbnail"](by_id_alone))
        found = gallery.verify(deleted=[gone, by_id_alone.info.id, row(50)])
    assert not found.passed
    for what in PARTS:
        text = f"The {what} of '{gone.info.id}' is still found in shard/leftovers/{what}."
        assert text in str(found)
    assert by_id_alone.info.id not in str(found)
    assert "3 deleted entries" in str(found)


def test_bytes_of_another_entry_are_no_trace(few: Path) -> None:
    """The same image in another file keeps its thumbnail and feature."""
    one = row(3)
    twin = changed(one, sha256="ab" * 32)
    with open_gallery(few, write=True) as gallery:
        gallery.add([twin])
        gallery.delete(Filters(ids=(one.info.id,)))
        assert gallery.verify(deleted=[one]).passed
        gallery.delete(Filters(ids=(twin.info.id,)))
        assert gallery.verify(deleted=[one, twin]).passed


def test_search_for_traces_reads_no_other_row(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All thumbnails begin with the same tables, which are no traces."""

    def rows(self: EmbeddedStore, *_: object, **__: object) -> NoReturn:
        pytest.fail("rows were read")

    gone = row(3)
    with open_gallery(few, write=True) as gallery:
        gallery.delete(Filters(ids=(gone.info.id,)))
        monkeypatch.setattr(EmbeddedStore, "rows", rows)
        found = gallery.verify(deleted=[gone], rows=False)
    assert found.passed
    assert str(found) == "1 deleted entry, 0 traces of them"


def test_an_edit_leaves_no_former_value(place: Path) -> None:
    """Neither in the growing segment, where rows are overwritten, nor in a sealed one."""
    with small_steps(), open_gallery(place, model=MODEL, create=True) as gallery:
        rows = [changed(row(n), identity=f"Former{n:04}name") for n in range(60)]
        gallery.add(rows)
        assert gallery.edit({one.info.id: {"identity": "now"} for one in rows}) == 60
        assert gallery.count(Filters(identities=("now",))) == 60
    held = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    assert b"now" in held
    assert b"Former" not in held


def test_writers_that_take_turns(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        open_gallery(few, write=True, turns=True) as one,
        open_gallery(few, write=True, turns=True) as other,
    ):
        one.add([row(100)])
        other.add([row(101)])
        one.delete(Filters(ids=(row(101).info.id,)))
        assert numbers_in(one) == numbers_in(other) == {*range(5), 100}
        assert not (few / "writer.json").exists()
        # A writer that takes no turns excludes them while it is open; they still search.
        with open_gallery(few, write=True), monkeypatch.context() as patch:
            patch.setattr(one._store, "_lock_timeout", 0.0)
            with pytest.raises(GalleryError, match=r"being changed by process .* one writer"):
                one.add([row(102)])
            assert other.count() == 6
        one.add([row(102)])
        assert other.count() == 7


def test_the_next_turn_cleans_up_after_a_kill(made: Path) -> None:
    rows = [row(number) for number in range(100, 110)]
    with open_gallery(made, write=True, turns=True) as gallery:
        assert gallery.count() == 100
        other = Other(write_half, made, list(range(100, 110)))
        other.hear()
        other.kill()
        assert (made / "writer.json").exists()
        gallery.add([row(200)])
        assert not (made / "writer.json").exists()
        assert numbers_in(gallery) == {*range(100), 200}
        assert gallery.verify(deleted=rows).passed
