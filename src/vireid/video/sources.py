"""Sources from what a user names: videos, folders, images and addresses."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from vireid.data.file_kind import describe_left_out, is_image, is_video, kind_of
from vireid.data.layouts.pattern import PathPattern
from vireid.data.rows import parse_modality
from vireid.data.walk import walk
from vireid.errors import ConfigError, DatasetError, VideoError
from vireid.log import log, printable
from vireid.times import parse_time
from vireid.types import Modality
from vireid.video.frames import FrameFolder, SceneImage, Source, Stream, VideoFile, shown

__all__ = ["open_arrivals", "open_sources"]


class _Labels(NamedTuple):
    camera: str
    modality: Modality | None
    start: datetime | None

    def put_on(self, source: Source) -> Source:
        source.modality = self.modality
        return source


@dataclass(frozen=True, slots=True)
class _Opening:
    """How sources are opened, as :func:`open_sources` takes it."""

    camera: str
    start: datetime | None
    pattern: PathPattern | None
    modality: Modality | None
    fps: float
    limit: timedelta | None
    images: bool

    def labels(self, path: Path, root: Path) -> _Labels:
        """What is known of a file.

        Raises:
            ConfigError: The pattern does not match it, or gives no camera.
        """
        found: dict[str, str] = {}
        if self.pattern:
            match = self.pattern.match_end
            matched = match(path, root) or match(path.with_suffix(""), root)
            if matched is None:
                raise ConfigError(
                    f"--pattern '{self.pattern.pattern}' does not match '{path.relative_to(root)}';"
                    " expected it to match the end of the path of every file below its source;"
                    " change the pattern."
                )
            found = matched
        camera = found.get("camera") or self.camera
        if not camera:
            raise ConfigError(
                f"'{path}' has no camera; expected its name as --camera, or {{camera}} in"
                " --pattern; add one of them."
            )
        modality, start = self.modality, self.start
        try:
            if name := found.get("modality"):
                modality = parse_modality(name)
            if time := found.get("time"):
                start = parse_time(time)
        except ValueError as error:
            raise ConfigError(
                f"--pattern '{self.pattern}' reads from '{path}' {error}; change the pattern, or"
                " rename the file."
            ) from None
        return _Labels(camera, modality, start)


def open_sources(
    names: Sequence[str],
    *,
    camera: str,
    start: datetime | None = None,
    modality: Modality | None = None,
    pattern: str = "",
    fps: float = 5.0,
    limit: timedelta | None = None,
    images: bool = True,
) -> list[Source]:
    """Open sources.

    Args:
        names: Video files, images of scenes, folders (searched recursively for videos and images;
            the images of a folder are the frames of one camera), and addresses of streams.
        camera: The camera where the pattern gives none.
        start: When the first frame was taken where the pattern gives none.
        modality: The modality likewise; guessed for each tracklet by default.
        pattern: See :mod:`vireid.data.layouts.pattern`; camera, time and modality of each file.
        fps: Frames a second of folders of images without times.
        limit: How long to read streams.
        images: Whether images in folders are frames; otherwise they are passed over.

    Returns:
        At least one source. Of several, those that cannot be opened are left out and logged.

    Raises:
        ConfigError: No source is named, or one has no camera.
        DatasetError: A source does not exist, or holds neither videos nor images.
        VideoError: None can be opened.
    """
    if not names:
        raise ConfigError("no source is named; expected videos, folders, images or addresses.")
    read = PathPattern(pattern) if pattern else None
    opening = _Opening(camera, start, read, modality, fps, limit, images)
    opened: list[Source] = []
    errors: list[str] = []
    seen: set[str] = set()
    for name in names:
        for source in _named_by(name, opening, errors):
            if source.name in seen:
                continue
            seen.add(source.name)
            opened.append(source)
    if not opened:
        raise VideoError(" ".join(errors))
    for error in errors:
        log(printable(error))
    return opened


def open_arrivals(
    files: Sequence[Path],
    root: Path,
    *,
    camera: str,
    modality: Modality | None,
    pattern: str,
    fps: float,
) -> list[Source]:
    """Open files that have arrived in a folder: videos, and images as frames of their folders.

    A folder's only image is a scene by itself.

    Args:
        files: The files.
        root: The folder, below which patterns describe paths.
        camera: As for :func:`open_sources`, as are the others.
        modality: As there.
        pattern: As there.
        fps: As there.

    Raises:
        ConfigError: A file has no camera.
        VideoError: A video cannot be opened.
    """
    read = PathPattern(pattern) if pattern else None
    errors: list[str] = []
    opening = _Opening(camera, None, read, modality, fps, None, True)
    opened = list(_of_files(files, root, opening, errors, [], single=True))
    if errors:
        raise VideoError(" ".join(errors))
    return opened


def _named_by(name: str, opening: _Opening, errors: list[str]) -> Iterator[Source]:
    path = Path(name)
    if "://" in name:
        yield _at_address(name, opening)
    elif path.is_dir():
        yield from _in_folder(path, opening, errors)
    elif path.is_file():
        labels = opening.labels(path, path.parent)
        if is_image(path):
            yield labels.put_on(SceneImage(path, labels.camera, labels.start))
        else:
            yield from _video(path, labels, errors)
    else:
        problem = "is no ordinary file" if os.path.lexists(path) else "does not exist"
        raise DatasetError(
            f"'{name}' {problem}; expected a video, an image, a folder of them, or the address of"
            " a stream (rtsp://, http://); check its name."
        )


def _at_address(address: str, opening: _Opening) -> Source:
    if not opening.camera:
        raise ConfigError(f"'{shown(address)}' has no camera; expected --camera; add it.")
    labels = _Labels(opening.camera, opening.modality, opening.start)
    if address.startswith(("http://", "https://")) and not opening.limit:
        video = VideoFile(address, opening.camera, opening.start)
        if video.duration:
            return labels.put_on(video)
    return labels.put_on(Stream(address, opening.camera, limit=opening.limit))


def _in_folder(folder: Path, opening: _Opening, errors: list[str]) -> Iterator[Source]:
    others: list[Path] = []
    found = -len(errors)
    for source in _of_files(walk([folder]).files, folder, opening, errors, others):
        found += 1
        yield source
    if not found + len(errors):
        raise DatasetError(
            f"'{folder}' is a folder without any video or image in it or below; expected some;"
            f" check its name. {describe_left_out(others)}".rstrip()
        )
    if opening.images and (remark := describe_left_out(others)):
        log(printable(f"'{folder}': {remark}"))


def _of_files(
    files: Sequence[Path],
    folder: Path,
    opening: _Opening,
    errors: list[str],
    others: list[Path],
    *,
    single: bool = False,
) -> Iterator[Source]:
    frames: dict[tuple[Path, str, Modality | None], list[tuple[Path, datetime | None]]]
    frames = defaultdict(list)
    for file in files:
        if is_image(file):
            if opening.images:
                camera, modality, time = opening.labels(file, folder)
                frames[file.parent, camera, modality].append((file, time))
        elif not file.name.startswith(".") and is_video(file):
            yield from _video(file, opening.labels(file, folder), errors)
        else:
            others.append(file)
    for (own, camera, modality), found in frames.items():
        paths, times = zip(*found, strict=True)
        if single and len(paths) == 1:
            yield _Labels(camera, modality, None).put_on(SceneImage(paths[0], camera, times[0]))
            continue
        given = opening.pattern is not None and any(time != opening.start for time in times)
        source = FrameFolder(
            own,
            paths,
            camera,
            rate=opening.fps,
            start=opening.start,
            times=times if given else (),
        )
        yield _Labels(camera, modality, None).put_on(source)


def _video(file: Path, labels: _Labels, errors: list[str]) -> Iterator[Source]:
    try:
        yield labels.put_on(VideoFile(str(file), labels.camera, labels.start))
    except VideoError as error:
        kind = kind_of(file)
        what = "" if is_video(file) else f" It seems to be {kind.one}."
        errors.append(f"{error}{what}")
