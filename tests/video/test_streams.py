"""Live streams on the loopback interface: they stall, break off and come back."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.videos import BrightBoxes, walk, write_video
from tests.video.test_people import rows

from vireid.errors import VideoError
from vireid.video import Stream, VideoFile, detect_people
from vireid.video.sources import open_sources


class Server:
    """Sends a video; each connection as its number says.

    Args:
        length: Whether it says how many bytes there are, as a server of files does.

    Attributes:
        connections: How many there were.
        released: Set to end connections that stall.
    """

    def __init__(self, video: bytes, *, length: bool = False) -> None:
        self.length = length
        self.video, self.connections, self.released = video, 0, threading.Event()

    @contextmanager
    def running(self) -> Iterator[str]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.connections += 1
                self.send_response(200)
                if outer.length:
                    self.send_header("Content-Length", str(len(outer.video)))
                self.end_headers()
                try:
                    self.wfile.write(outer.video)
                    if outer.connections == 2:  # after that of the check
                        outer.released.wait(20)
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://user:word@127.0.0.1:{server.server_address[1]}/live"
            finally:
                self.released.set()
                server.shutdown()
                thread.join()


def test_a_stream_that_stalls_and_breaks_off_is_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.ts", walk(20), codec="mpeg2video").read_bytes()
    server = Server(video)
    with server.running() as address:
        stream = Stream(address, "gate", limit=timedelta(seconds=60), patience=1.0)
        seen = 0
        for _ in stream.frames(1000.0):
            seen += 1
            # The second connection stalls; the server closes those after it.
            if server.connections >= 6:
                break
    assert seen > 0
    said = capsys.readouterr().err
    # However often it breaks off, each reason is logged once.
    assert said.count("' broke off (nothing came for 1 s). It ") == 1
    assert said.count("' broke off (Input/output error). It ") == 1
    assert "/live' is read again after 0:00:0" in said
    assert "word" not in said


def test_people_of_a_stream(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.ts", walk(40), codec="mpeg2video").read_bytes()
    server = Server(video)

    class Enough(BrightBoxes):
        def boxes(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 8:
                raise KeyboardInterrupt
            return super().boxes(frame)

    with server.running() as address:
        stream = Stream(address, "gate", limit=timedelta(minutes=5), patience=0.5)
        # Ctrl-C ends a stream as its end would.
        people = detect_people([stream], tmp_path / "out", Enough())
    assert people.frames == 8
    found = rows(tmp_path / "out")
    assert len(found) == people.crops > 0
    assert {row["source"] for row in found} == {address.replace("user:word", "***")}
    assert all(row["time"] for row in found)


def test_an_address_that_nobody_serves(tmp_path: Path) -> None:
    stream = Stream("http://127.0.0.1:9/live", "gate", limit=None)
    with pytest.raises(VideoError, match=r"cannot be opened \(Connection refused\); expected"):
        detect_people([stream], tmp_path / "out", BrightBoxes())


def test_a_video_of_known_length_on_a_server_is_read_as_a_file(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", walk(20)).read_bytes()
    server = Server(video, length=True)
    server.released.set()
    with server.running() as address:
        [source] = open_sources([address], camera="gate")
        assert isinstance(source, VideoFile)
        assert len(list(source.frames(5.0))) == 10


def test_the_last_frame_of_a_response_without_a_length(tmp_path: Path) -> None:
    # FFmpeg reports an input/output error at its end, while the decoder holds a frame.
    video = write_video(tmp_path / "a.ts", walk(20), codec="mpeg2video").read_bytes()
    server = Server(video)
    server.released.set()
    with server.running() as address:
        assert [f.number for f in VideoFile(address, "gate").frames(10.0)] == list(range(20))
