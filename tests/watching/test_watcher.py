"""What arrives in folders and streams is added, compared with saved searches and reported."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.app.people import photograph, write_run
from tests.helpers.videos import BrightBoxes, walk, write_video
from tests.video.test_streams import Server
from tests.watching.receiver import Receiver

from vireid.errors import ConfigError, DiskFullError
from vireid.features import FeatureExtractor, extract_from_bytes, load
from vireid.gallery import Filters, Gallery, SavedSearch, open_gallery
from vireid.gallery.cases import CaseQuery
from vireid.types import ImageInfo, id_of
from vireid.video import DetectOptions, Detector, Stream
from vireid.watching import Watch, Watcher, WatchOptions, Webhook
from vireid.watching.state import State

SECRET = b"a secret of at least 20 characters"
OPTIONS = WatchOptions(interval=0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def extractor(run: Path) -> FeatureExtractor:
    return load(run)


@pytest.fixture
def place(tmp_path: Path, extractor: FeatureExtractor) -> Path:
    with open_gallery(tmp_path / "g", model=extractor.model_info, create=True):
        return tmp_path / "g"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


class Watching:
    """A watch in a thread.

    Attributes:
        recorded: Each line of the audit log.
        finished: The ids of each batch that was recorded, and what was reported.
    """

    def __init__(
        self,
        watch: Watch,
        place: Path,
        extractor: FeatureExtractor,
        *,
        options: WatchOptions = OPTIONS,
        webhook: Webhook | None = None,
        detector: Callable[[], Detector] = BrightBoxes,
    ) -> None:
        self.recorded: queue.Queue[tuple[str, Mapping[str, Any]]] = queue.Queue()
        self.finished: queue.Queue[tuple[list[str], list[Any]]] = queue.Queue()
        self.gallery = open_gallery(
            place, model=extractor.model_info, write=True, turns=True, lock_timeout=60
        )
        self.watcher = Watcher(
            watch,
            self.gallery,
            extractor,
            place.with_name("w"),
            make_detector=detector,
            record=lambda action, details: self.recorded.put((action, dict(details))),
            options=options,
            webhook=webhook,
        )

    @contextmanager
    def running(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        original = State.finish_adding

        def finish(state: State, ids: list[str], **named: Any) -> int:
            dropped = original(state, ids, **named)
            self.finished.put((ids, list(named["reports"])))
            return dropped

        errors = []

        def work() -> None:
            try:
                self.watcher.run()
            except Exception as error:
                errors.append(error)

        with monkeypatch.context() as patch:
            patch.setattr(State, "finish_adding", finish)
            thread = threading.Thread(target=work)
            thread.start()
            try:
                yield
            finally:
                self.watcher.stop()
                thread.join(60)
                self.gallery.close()
        assert not thread.is_alive()
        if errors:
            raise errors[0]

    def added(self, number: int) -> None:
        """Wait until so many entries are added."""
        while number > 0:
            number -= len(self.finished.get(timeout=60)[0])


def infos(place: Path) -> list[ImageInfo]:
    with open_gallery(place) as gallery:
        return [row.info for row in gallery.rows(features=False, thumbnails=False)]


def save_search(place: Path, extractor: FeatureExtractor, person: int, **named: Any) -> None:
    data = photograph(person, camera=1, frame=9, grey=True)
    [row] = extract_from_bytes(extractor, [data], [ImageInfo(path=Path("q.png"))])
    search = SavedSearch(
        name=f"person-{person}",
        saved=datetime.now(UTC),
        ids=(row.info.id,),
        modality=row.info.modality,
        camera="",
        vector=SavedSearch.encoded(row.feature),
        **named,
    )
    with open_gallery(place, write=True, turns=True) as gallery:
        gallery.save_search(search)


def test_crops_and_videos_that_arrive_are_added_once(
    place: Path,
    folder: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = write_video(folder / "cam7_a.mp4", walk(20))
    (folder / "cam7_cut.mp4").write_bytes(video.read_bytes()[:60])
    (folder / "cam7_bad.png").write_bytes(photograph(0)[:99])
    (folder / "cam7_0.png").write_bytes(photograph(0))
    (folder / "other.png").write_bytes(photograph(1))
    watch = Watch(folders=[folder], pattern="cam{camera}_{any}", camera="unknown")
    watching = Watching(watch, place, extractor)
    with watching.running(monkeypatch):
        watching.added(6)
        # While it runs: another writer that takes turns, such as `vireid serve`.
        with open_gallery(place, write=True, turns=True) as served:
            assert served.count() == 6
            served.delete(Filters(cameras=("unknown",)))
        (folder / "cam7_2.png").write_bytes(photograph(2))
        watching.added(1)
    said = capsys.readouterr()
    for name in ("cam7_cut.mp4", "cam7_bad.png"):
        assert said.err.count(f"'{folder / name}'") == 1
    assert "1 image does not match the pattern 'cam{camera}_{any}'" in said.err
    assert "'cam7_a.mp4': 10 frames, 1 tracklet, 4 crops; 1 box in no tracklet." in said.out
    found = infos(place)
    assert len(found) == 6
    assert {info.camera for info in found} == {"7"}
    crops = [info for info in found if info.tracklet]
    assert len({info.tracklet for info in crops}) == 1
    assert all(info.path.is_relative_to(place.with_name("w")) for info in crops)
    # Nothing again, also not what was deleted; a changed file is another arrival.
    shutil.copy(write_video(folder.with_name("b.mp4"), walk(20, step=3)), video)
    (folder / "cam7_copy.png").write_bytes(photograph(0))
    watching = Watching(watch, place, extractor)
    with watching.running(monkeypatch):
        watching.added(4)
    assert f"added to '{place}'; 1 image already there." in capsys.readouterr().out
    assert len(infos(place)) == 10
    assert len({info.tracklet for info in infos(place) if info.tracklet}) == 2


def test_matches_are_reported_once_and_delivered_later(
    place: Path,
    folder: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_search(place, extractor, 0, threshold=0.99, filters=Filters(cameras=("gate",)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    webhook = Webhook(f"http://127.0.0.1:{port}/hook/very-secret", SECRET)
    watch = Watch(folders=[folder], camera="gate")
    for frame in range(2):
        (folder / f"0_{frame}.png").write_bytes(photograph(0, frame=frame))
    (folder / "1.png").write_bytes(photograph(1))
    watching = Watching(watch, place, extractor, webhook=webhook)
    with watching.running(monkeypatch):
        watching.added(3)
        alerts = [watching.recorded.get(timeout=60) for _ in range(2)]
    assert watching.recorded.empty()
    assert [action for action, _ in alerts] == ["alert", "alert"]
    said = capsys.readouterr().err
    assert said.count("Matches cannot be delivered to 'http://127.0.0.1:") == 1
    assert "2 matches wait for the receiver" in said
    assert "very-secret" not in said
    # The next watch delivers them, although the receiver fails at first.
    receiver = Receiver(503, 500)
    watching = Watching(watch, place, extractor, webhook=webhook)
    with receiver.running(port), watching.running(monkeypatch):
        got = [receiver.received.get(timeout=60) for _ in range(4)]
    bodies = [json.loads(body) for _, body in got]
    assert {body["id"] for body in bodies} == {details["id"] for _, details in alerts}
    for (headers, _), body in zip(got, bodies, strict=True):
        assert headers["X-Vireid-Delivery"] == body["id"]
        assert (body["event"], body["search"]) == ("match", "person-0")
        assert body["score"] >= 0.99
        assert body["entry"]["camera"] == "gate"
    with State(place.with_name("w") / "state.sqlite") as state:
        assert state.waiting_deliveries() == 0


def test_a_tracklet_is_reported_once(
    place: Path, folder: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_search(place, extractor, 0, threshold=-1.0)
    write_video(folder / "a.mp4", walk(20))
    watching = Watching(Watch(folders=[folder], camera="gate"), place, extractor)
    with watching.running(monkeypatch):
        watching.added(4)
    action, details = watching.recorded.get(timeout=60)
    assert action == "alert"
    assert details["entry"]["tracklet"]
    assert watching.recorded.empty()


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from tests.watching.test_watcher import Watching
from vireid.features import load
from vireid.watching import Watch
from vireid.watching.state import State
State.finish_adding = lambda *args, **named: os.kill(os.getpid(), signal.SIGKILL)
place, folder, run = map(Path, sys.argv[1:])
Watching(Watch(folders=[folder], camera="gate"), place, load(run)).watcher.run()
"""


def test_a_kill_loses_no_match(
    place: Path,
    folder: Path,
    run: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_search(place, extractor, 0, threshold=0.99)
    (folder / "0.png").write_bytes(photograph(0))
    command = [sys.executable, "-c", KILLED, str(place), str(folder), str(run)]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Killed between the addition to the gallery and its record.
    assert len(infos(place)) == 1
    watching = Watching(Watch(folders=[folder], camera="gate"), place, extractor)
    with watching.running(monkeypatch):
        assert watching.recorded.get(timeout=60)[0] == "alert"
    assert len(infos(place)) == 1


def test_a_full_disk_is_said_once_and_tried_again(
    place: Path,
    folder: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "0.png").write_bytes(photograph(0))
    add, failures = Gallery.add, iter([True, True])

    def full(gallery: Gallery, rows: Any) -> Any:
        if next(failures, False):
            raise DiskFullError("The disk is full; free space on it.")
        return add(gallery, rows)

    monkeypatch.setattr(Gallery, "add", full)
    watching = Watching(Watch(folders=[folder], camera="gate"), place, extractor)
    with watching.running(monkeypatch):
        watching.added(1)
    said = capsys.readouterr().err
    assert said.count("The disk is full; free space on it. It is tried again until it works.") == 1
    assert said.count("It works again after 0:00:0") == 1
    assert len(infos(place)) == 1


def test_retention(
    place: Path, folder: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(folder / "cam1_20200101.mp4", walk(20))
    old = place.with_name("w") / "2020-01-02/cam"
    old.mkdir(parents=True)
    save_search(place, extractor, 0, threshold=1.0)
    watch = Watch(folders=[folder], pattern="cam{camera}_{time:%Y%m%d}")
    watching = Watching(watch, place, extractor)
    with watching.running(monkeypatch):
        watching.added(4)
    [*crops] = place.with_name("w").rglob("*.jpg")
    assert len(crops) == 4
    upload = CaseQuery(
        id=id_of("0" * 64), name="x.png", by="ada", time=datetime(2020, 1, 1, tzinfo=UTC)
    )
    with open_gallery(place, write=True) as gallery:
        case = gallery.cases.create("bag", by="ada")
        gallery.cases.add(case.id, queries=[upload])
    options = replace(OPTIONS, keep=timedelta(days=30))
    watching = Watching(watch, place, extractor, options=options)
    with watching.running(monkeypatch):
        action, details = watching.recorded.get(timeout=60)
    assert (action, details["deleted"]) == ("expire", 4)
    assert infos(place) == []
    assert not any(crop.exists() for crop in crops)
    assert not old.parent.exists()
    with open_gallery(place) as gallery:
        assert [search.name for search in gallery.searches] == ["person-0"]
        assert gallery.cases.get(case.id).queries == ()


def test_a_stream_is_added_while_it_runs(
    place: Path, tmp_path: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "a.ts", walk(40), codec="mpeg2video").read_bytes()
    server = Server(video)
    seen = threading.Event()

    class Seeing(BrightBoxes):
        def boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            if self.calls == 4:
                seen.set()
            return super().boxes(frame)

    watch = Watch(camera="gate", detection=DetectOptions(fps=1000.0))
    with server.running() as address:
        watching = Watching(replace(watch, streams=[address]), place, extractor, detector=Seeing)
        with watching.running(monkeypatch):
            assert seen.wait(60)
    # The end of the watch writes the tracklet that goes on, and adds its crops.
    assert {info.camera for info in infos(place)} == {"gate"}
    [manifest] = place.with_name("w").rglob("manifest.csv")
    assert "user:word" not in manifest.read_text()


def test_an_rtsp_camera_that_is_silent(
    place: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: queue.Queue[bytes] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                connections.append(connection)
                asked.put(connection.recv(1000))

        connections: list[socket.socket] = []
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        address = f"rtsp://user:word@127.0.0.1:{listening.getsockname()[1]}/cam"
        monkeypatch.setattr(Stream.__init__, "__kwdefaults__", {"patience": 0.3, "backoff": None})
        watching = Watching(Watch(streams=[address], camera="gate"), place, extractor)
        with watching.running(monkeypatch):
            # By TCP; and again after the wait.
            assert asked.get(timeout=60).startswith(b"OPTIONS rtsp://127.0.0.1:")
            assert asked.get(timeout=60).startswith(b"OPTIONS rtsp://127.0.0.1:")
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        for connection in connections:
            connection.close()


def test_a_name_that_the_pattern_cannot_read_stops_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(folders=[folder], camera="hall", pattern="{modality}_{camera}.png")
    names = ("ir_gate.png", "thermal2_gate.png", "other.png")
    found = watch.label([folder / name for name in names])
    assert [(info.modality, info.camera) for info in found] == [
        ("infrared", "gate"),
        (None, "hall"),
        (None, "hall"),
    ]
    assert "2 images do not match the pattern" in capsys.readouterr().err


def test_another_gallery_gets_everything(
    place: Path,
    folder: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "0.png").write_bytes(photograph(0))
    watch = Watch(folders=[folder], camera="gate")
    for _ in range(2):
        watching = Watching(watch, place, extractor)
        with watching.running(monkeypatch):
            watching.added(1)
        shutil.rmtree(place)
        with open_gallery(place, model=extractor.model_info, create=True):
            pass
    assert "is of another gallery than" in capsys.readouterr().err


def test_a_copy_does_not_get_what_was_deleted(
    place: Path,
    folder: Path,
    extractor: FeatureExtractor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied = place.with_name("copied")
    (folder / "0.png").write_bytes(photograph(0))
    watch = Watch(folders=[folder], camera="gate")
    watching = Watching(watch, place, extractor)
    with watching.running(monkeypatch):
        watching.added(1)
    with (
        open_gallery(place, write=True) as gallery,
        open_gallery(copied, model=gallery.model, create=True) as other,
    ):
        gallery.delete(Filters(cameras=("gate",)))
        gallery.copy_to(other)
    assert f"with the folder of the watch of '{place}'" in capsys.readouterr().err
    (folder / "1.png").write_bytes(photograph(1))
    watching = Watching(watch, copied, extractor)
    with watching.running(monkeypatch):
        watching.added(1)
    assert [info.name for info in infos(copied)] == ["1.png"]


def test_a_second_watch_is_refused(
    place: Path, folder: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "0.png").write_bytes(photograph(0))
    first = Watching(Watch(folders=[folder], camera="gate"), place, extractor)
    with first.running(monkeypatch):
        first.added(1)
        second = Watching(Watch(folders=[folder], camera="gate"), place, extractor)
        with (
            pytest.raises(ConfigError, match="another process watches with the folder"),
            second.running(monkeypatch),
        ):
            pass
