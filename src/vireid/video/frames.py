"""Frames of videos, folders of images and streams, with their times."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import queue
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireid.data.images import read_image
from vireid.data.tone_mapping import AUTO
from vireid.errors import ImageError, VideoError, many
from vireid.log import log, log_once
from vireid.optional_packages import package
from vireid.times import format_time, parse_time
from vireid.types import Modality
from vireid.video.backoff import Backoff

__all__ = [
    "Frame",
    "FrameFolder",
    "SceneImage",
    "Source",
    "Stream",
    "VideoFile",
    "format_seconds",
    "opened",
    "shown",
]

_PROTOCOLS = "file,crypto,data"
"""What a video file may make FFmpeg open, so that a playlist cannot name an address."""
_CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf"
"""What is read of videos from others: no playlists, which name further files."""
_STREAMS = 16
_GAP = 1.0
"""Seconds without a frame that are logged."""
_EARLIEST = 2000
"""Cameras without a clock write 1904 or 1970."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame.

    Attributes:
        image: RGB, uint8 ``[H, W, 3]``, upright.
        number: Its number in the source, from 0: exact where the frame rate is constant.
        seconds: Seconds since the source's first frame.
        time: When it was taken; None if unknown.
        file: The file that it comes from, or the address without a password.
    """

    image: NDArray[np.uint8]
    number: int
    seconds: float
    time: datetime | None
    file: str


class Source(ABC):
    """Frames of one camera in the order of time.

    Attributes:
        name: The file, folder or address, for messages; never with a password.
        place: The same, absolute.
        camera: The camera.
        start: When its first frame was taken; None if unknown.
        modality: Its modality; None to guess that of each tracklet.
        duration: Its length in seconds; None if unknown.
        arrival: Distinguishes it from earlier sources of its place; empty if there are none.
        rewinds: Whether it gives the same frames again.
        tracked: Whether its frames follow one another.
    """

    name: str
    place: str
    camera: str
    start: datetime | None = None
    modality: Modality | None = None
    duration: float | None = None
    arrival: str = ""
    rewinds: bool = True
    tracked: bool = True

    @abstractmethod
    def frames(self, fps: float, *, after: float = -1.0) -> Generator[Frame]:
        """Yield frames, at most one in each interval of 1/fps seconds.

        Args:
            fps: Frames a second, at most.
            after: Only later intervals than that of this second.

        Raises:
            VideoError: There is no frame at all.
        """

    @property
    @abstractmethod
    def version(self) -> str:
        """Changes if the frames do."""

    @property
    def key(self) -> str:
        """A name for files that no other source has: its own with a hash."""
        stem = safe_name(Path(self.name).stem)
        text = f"{self.camera}|{self.place}" + (f"|{self.arrival}" if self.arrival else "")
        digest = hashlib.sha256(text.encode(errors="surrogateescape"))
        return f"{stem}-{digest.hexdigest()[:8]}"

    @property
    def folder(self) -> str:
        """The folder of its crops, which no other source has."""
        return f"{safe_name(self.camera)}/{self.key}"

    def expected(self, fps: float) -> int | None:
        """How many frames it will yield, roughly; None if unknown."""
        return math.ceil(self.duration * fps) if self.duration else None

    def time_at(self, seconds: float) -> datetime | None:
        """When the frame of a second was taken."""
        return self.start + timedelta(seconds=seconds) if self.start else None


class VideoFile(Source):
    """A video file, or a video of known length on a server.

    Args:
        file: The file or address.
        camera: The camera.
        start: When its first frame was taken; the container's creation time by default.

    Attributes:
        until: When decoding ends, in seconds of ``time.monotonic``.

    Raises:
        VideoError: It is no video, has no frames, or its codec is missing.
    """

    until: float = math.inf

    def __init__(self, file: str, camera: str, start: datetime | None = None) -> None:
        self.file, self.name, self.camera = file, shown(file), camera
        self.place = self.name if "://" in file else os.path.realpath(file)
        self._examine(start)

    def _examine(self, start: datetime | None) -> None:
        with self._opened() as (container, video):
            self.duration = _duration(container, video)
            self.start = start or _created(container, self.name)
            self._rate = float(video.average_rate or video.guessed_rate or 0) or 25.0

    def _opened(self) -> contextlib.AbstractContextManager[tuple[Any, Any]]:
        return opened(self.file)

    def _say(self, remark: str) -> None:
        """Say what is damaged."""
        log(remark)

    @property
    def version(self) -> str:
        """Its size and the time of its last change."""
        with contextlib.suppress(OSError):
            status = Path(self.file).stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        return ""

    def frames(self, fps: float, *, after: float = -1.0) -> Generator[Frame]:
        """As :meth:`Source.frames`; damaged parts are passed over and logged."""
        cell, last, seen = math.floor(after * fps + 1e-6), -1.0, False
        damage = _Damage(self.name)
        with self._opened() as (container, video):
            first = Fraction(video.start_time or 0) * (video.time_base or 1)
            if after > 1:
                _seek(container, video, first, after - 0.5)
            for frame in _decoded(container, video, damage, self.until):
                seconds = (
                    float(frame.pts * frame.time_base - first)
                    if frame.pts is not None
                    else last + 1 / self._rate
                )
                if seconds <= last and seen:  # out of order
                    continue
                if seen and seconds - last > max(_GAP, 5 / self._rate):
                    damage.gaps.append((seconds - last, last))
                last, seen = seconds, True
                damage.at = seconds
                if math.floor(seconds * fps + 1e-6) <= cell:
                    continue
                cell = math.floor(seconds * fps + 1e-6)
                number = round(seconds * self._rate)
                yield Frame(
                    _pixels(frame, self.name), number, seconds, self.time_at(seconds), self.place
                )
        length = self.duration if time.monotonic() < self.until else None
        for remark in damage.remarks(seen, length, 1 / self._rate):
            self._say(remark)


class FrameFolder(Source):
    """Images in the order of their numbers, as frames of one camera.

    Args:
        folder: Their folder, for messages.
        files: The images.
        camera: The camera.
        rate: Frames a second.
        start: When the first was taken.
        times: When each was taken, where that is known.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        camera: str,
        *,
        rate: float,
        start: datetime | None = None,
        times: Sequence[datetime | None] = (),
    ) -> None:
        self.name, self.camera, self.place = str(folder), camera, os.path.realpath(folder)
        order = sorted(range(len(files)), key=lambda place: _natural(files[place]))
        self._files = [files[place] for place in order]
        self._times = [times[place] for place in order] if any(times) else []
        if self._times and None not in self._times:
            order = sorted(range(len(files)), key=self._times.__getitem__)  # type: ignore[arg-type]
            self._files = [self._files[place] for place in order]
            self._times = [self._times[place] for place in order]
            start = self._times[0]
        self._rate, self.start = rate, start
        self.duration = self._seconds(len(files) - 1) + 1 / rate

    @property
    def version(self) -> str:
        """The first image: those that are added later are further frames."""
        return self._files[0].name

    def expected(self, fps: float) -> int | None:
        """As :meth:`Source.expected`."""
        return len(self._files)

    def _seconds(self, number: int) -> float:
        if self._times and None not in self._times:
            first, own = self._times[0], self._times[number]
            assert first
            assert own
            # Clocks of whole seconds give several frames the same time.
            return (own - first).total_seconds() + number * 1e-3
        return number / self._rate

    def frames(self, fps: float, *, after: float = -1.0) -> Generator[Frame]:
        """As :meth:`Source.frames`: every image, whatever ``fps`` is; bad ones are logged."""
        bad: list[str] = []
        good = False
        for number, file in enumerate(self._files):
            seconds = self._seconds(number)
            if seconds <= after:
                continue
            try:
                image = np.asarray(read_image(file))
            except ImageError as error:
                bad.append(str(error))
                continue
            good = True
            time = self._times[number] if self._times else self.time_at(seconds)
            yield Frame(image, number, seconds, time, os.path.realpath(file))
        if bad:
            of = f"of '{self.name}'"
            passed = many(len(bad), f"frame {of} is", f"frames {of} are")
            log(f"{passed} passed over, the first: {bad[0]}")
        if not good and after < 0:
            raise VideoError(f"'{self.name}' has no frame that can be read; check its images.")


class SceneImage(FrameFolder):
    """A single image of a scene.

    Args:
        file: The image.
        camera: The camera.
        start: When it was taken.
    """

    tracked = False

    def __init__(self, file: Path, camera: str, start: datetime | None = None) -> None:
        super().__init__(file, [file], camera, rate=1.0, start=start)


class Stream(Source):
    """A live stream; a frame is taken when it arrives, and those that come too fast are dropped.

    Args:
        address: Such as ``rtsp://HOST/PATH`` or ``http://HOST/PATH``.
        camera: The camera.
        limit: How long to read it; None reads until Ctrl-C.
        patience: Seconds without a frame after which it is opened again.
        backoff: Logs losses of the connection; that of an earlier stream of this address goes on.
    """

    rewinds = False

    def __init__(
        self,
        address: str,
        camera: str,
        *,
        limit: timedelta | None,
        patience: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.address, self.name, self.camera = address, shown(address), camera
        self.place = self.name
        self.duration = limit.total_seconds() if limit else None
        self._patience, self._backoff = patience, backoff or Backoff(30.0)
        self.start = datetime.now(UTC)
        self.dropped = 0
        self._ended = threading.Event()

    def end(self) -> None:
        """Let :meth:`frames` end, from another thread."""
        self._ended.set()

    @property
    def version(self) -> str:
        """When it was opened."""
        return format_time(self.start) if self.start else ""

    @property
    def stable_key(self) -> str:
        """As :attr:`Source.key`, the same whenever it is opened."""
        return super().key

    @property
    def key(self) -> str:
        """As :attr:`Source.key`, with the time at which it was opened."""
        assert self.start
        return f"{self.stable_key}-{round(self.start.timestamp() * 1e6)}"

    def frames(self, fps: float, *, after: float = -1.0) -> Generator[Frame]:
        """As :meth:`Source.frames`; a stream that breaks off or stalls is opened again."""
        # Its first connection fails loudly: the address may be wrong.
        with opened(self.address, patience=self._patience):
            pass
        self.start = datetime.now(UTC)
        began = time.monotonic()
        newest: queue.Queue[Frame | VideoError] = queue.Queue(1)
        stopped = threading.Event()
        reader = threading.Thread(
            target=self._read, args=(newest, stopped, began, fps), daemon=True, name="stream"
        )
        reader.start()
        try:
            while (left := self._left(began)) > 0:
                with contextlib.suppress(queue.Empty):
                    item = newest.get(timeout=min(left, 1.0))
                    if isinstance(item, VideoError):
                        raise item
                    yield item
        finally:
            stopped.set()
            if self.dropped:
                of = f"of '{self.name}'"
                log(
                    f"{many(self.dropped, f'frame {of} was', f'frames {of} were')} dropped, because"
                    " they came faster than they were analysed; with a lower --fps fewer are."
                )

    def _left(self, began: float) -> float:
        """Seconds left to read."""
        if self._ended.is_set():
            return 0.0
        return (self.duration or math.inf) - (time.monotonic() - began)

    def _read(
        self,
        newest: queue.Queue[Frame | VideoError],
        stopped: threading.Event,
        began: float,
        fps: float,
    ) -> None:
        """Read the stream into a queue that holds the newest frame, until stopped."""
        cell, number = -1, 0
        while not stopped.is_set() and self._left(began) > 0:
            try:
                with opened(self.address, patience=self._patience) as (container, video):
                    for packet in _packets(container, video):
                        for frame in packet.decode():
                            if stopped.is_set():
                                return
                            self._backoff.succeeded(f"'{self.name}' is read again")
                            seconds, number = time.monotonic() - began, number + 1
                            if math.floor(seconds * fps) <= cell:
                                continue
                            cell = math.floor(seconds * fps)
                            pixels = _pixels(frame, self.name)
                            taken = Frame(
                                pixels, number - 1, seconds, self.time_at(seconds), self.place
                            )
                            with contextlib.suppress(queue.Empty):
                                newest.get_nowait()
                                self.dropped += 1
                            newest.put(taken)
                problem = "ended"
            except VideoError as error:
                problem = f"broke off ({error})"
            except _ffmpeg_error() as error:
                stalled = type(error).__name__ == "ExitError"  # what a timeout raises
                reason = f"nothing came for {self._patience:g} s" if stalled else _reason(error)
                problem = f"broke off ({reason})"
            except Exception as error:  # the consumer must hear of it
                newest.put(VideoError(f"'{self.name}' cannot be decoded: {error!r}."))
                return
            if not stopped.is_set():
                stopped.wait(self._backoff.failed(f"'{self.name}' {problem}"))


@dataclass(slots=True)
class _Damage:
    """What is damaged in a video.

    Attributes:
        name: The video, for messages.
        at: The second of the last good frame.
        first: The second of the first damage.
        packets: Packets that cannot be decoded.
        reason: Why the first cannot.
        gaps: The length and the beginning of each gap, seconds.
    """

    name: str
    at: float = 0.0
    first: float | None = None
    packets: int = 0
    reason: str = ""
    gaps: list[tuple[float, float]] = field(default_factory=list)

    def add(self, error: Exception) -> None:
        """Count a damaged packet."""
        self.packets += 1
        if self.first is None:
            self.first, self.reason = self.at, _reason(error)

    def remarks(self, seen: bool, duration: float | None, step: float) -> Iterator[str]:
        """What is damaged or missing.

        Raises:
            VideoError: There is no frame at all.
        """
        if not seen:
            raise VideoError(
                f"'{self.name}' has no frame that can be decoded"
                f"{f' ({self.reason})' if self.reason else ''}; expected a video with frames; copy"
                " it again."
            )
        if self.packets:
            yield (
                f"'{self.name}' is damaged after {format_seconds(self.first or 0)} ({self.reason});"
                f" {many(self.packets, 'packet or frame is', 'packets or frames are')} passed over,"
                " the rest is kept."
            )
        if self.gaps:
            longest, begin = max(self.gaps)
            yield (
                f"'{self.name}' has {many(len(self.gaps), 'gap')} without frames, the longest of"
                f" {longest:.1f} s after {format_seconds(begin)}."
            )
        if duration and self.at + max(2 * step, 1.0) < duration:
            yield (
                f"'{self.name}' ends after {format_seconds(self.at)} of"
                f" {format_seconds(duration)}: it is cut; what it has is kept."
            )


def shown(address: str) -> str:
    """An address without the user and password in it."""
    return re.sub("//[^/@]*@", "//***@", address)


def safe_name(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w.-]+|^[.]+", "_", text)[:40] or "_"


def format_seconds(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, such as ``0:01:23.4``."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{rest:04.1f}"


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts frame_10 after frame_9."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def _ffmpeg_error() -> type[Exception]:
    error: type[Exception] = package("av", extra="video").error.FFmpegError
    return error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


@contextlib.contextmanager
def opened(
    source: str | io.BytesIO, *, name: str = "", patience: float = 30.0, pixels: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Open a video for decoding.

    Args:
        source: The file or address, or the content of a file: then nothing else is opened, and
            only the usual containers.
        name: Its name, for messages.
        patience: Seconds to wait for a server.
        pixels: Most pixels of a frame; 0 is FFmpeg's own limit.

    Yields:
        The container and its first video stream.

    Raises:
        VideoError: It is no video, or its codec is missing.
    """
    av = package("av", extra="video")
    live = isinstance(source, str) and "://" in source
    if isinstance(source, io.BytesIO):
        options = {"protocol_whitelist": "none", "format_whitelist": _CONTAINERS}
    elif live:
        options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    else:
        options = {"protocol_whitelist": _PROTOCOLS}
    name = name or shown(str(source))
    try:
        container = av.open(
            source,
            options=options,
            # Frames are decoded for their size before the codec's own options are set.
            stream_options=[{"max_pixels": str(pixels)}] * _STREAMS if pixels else None,
            timeout=(patience, patience) if live else None,
        )
    except av.error.FFmpegError as error:
        fix = "check the address, the network and the password" if live else "copy it again"
        raise VideoError(
            f"'{name}' cannot be opened ({_reason(error)}); expected a video; {fix}."
        ) from error
    with contextlib.closing(container):
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(
                f"'{name}' has no images, only {kinds}; expected a video; leave it out."
            )
        video = container.streams.video[0]
        if video.codec_context is None:
            raise VideoError(
                f"'{name}' is coded by a codec that this FFmpeg lacks; expected one such as H.264,"
                " H.265, MPEG-4, MJPEG, VP9 or AV1; convert it, for example with ffmpeg -i FILE"
                " out.mp4."
            )
        video.thread_type = "AUTO"
        if pixels:
            if not 0 < video.width * video.height <= pixels:
                raise VideoError(
                    f"'{name}' has frames of more than {pixels / 1e6:.3g} million pixels, or none"
                    " that can be decoded; expected smaller ones; reduce their size."
                )
            # They may grow.
            video.codec_context.options = {"max_pixels": str(pixels)}
        yield container, video


def _packets(container: Any, video: Any) -> Iterator[Any]:
    """The packets of a video; the last one flushes the decoder, also where an error ends them.

    FFmpeg ends an HTTP response without a length by an error, and decoders hold frames back.
    """
    try:
        yield from container.demux(video)
    except _ffmpeg_error():
        last = package("av", extra="video").Packet()
        last.stream, last.time_base = video, video.time_base
        yield last
        raise


def _decoded(container: Any, video: Any, damage: _Damage, until: float) -> Iterator[Any]:
    """All frames of a video; damaged packets are counted."""
    error_type = _ffmpeg_error()
    packets = _packets(container, video)
    while time.monotonic() < until:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except error_type as error:
            damage.add(error)
            return
        try:
            for frame in packet.decode():
                if frame.is_corrupt:
                    damage.add(ValueError("a frame is corrupt"))
                else:
                    yield frame
        except EOFError:
            return
        except error_type as error:
            damage.add(error)


def _seek(container: Any, video: Any, first: Fraction, seconds: float) -> None:
    """Go to the last key frame before a second; from the start where that fails."""
    with contextlib.suppress(_ffmpeg_error()):
        container.seek(int((first + Fraction(seconds)) / video.time_base), stream=video)


def _duration(container: Any, video: Any) -> float | None:
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    return container.duration / 1e6 if container.duration else None


def _created(container: Any, name: str) -> datetime | None:
    """The container's creation time, if it is one."""
    text = container.metadata.get("creation_time", "")
    try:
        created = parse_time(text)
    except ValueError:
        return None
    if created.year < _EARLIEST:
        log(f"'{name}' says that it was created in {created.year}, which is ignored.")
        return None
    return created


def _pixels(frame: Any, name: str) -> NDArray[np.uint8]:
    """A frame as 8-bit RGB, upright."""
    grey = frame.format.name.startswith("gray") and frame.format.components[0].bits > 8
    if grey:
        mapped = AUTO.apply(frame.to_ndarray(format="gray16le"))
        log_once(f"The frames of '{name}' have more than 8 bits and were {mapped.window.how}.")
        image = np.repeat(mapped.pixels[:, :, None], 3, axis=2)
    else:
        image = frame.to_ndarray(format="rgb24")
    # FFmpeg counts counter-clockwise, as numpy does.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
