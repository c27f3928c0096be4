"""Options and output of commands that find people in videos, streams and images of scenes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli._images import LabelOptions
from vireid.cli.entries import parse_duration
from vireid.data.file_kind import is_image, is_video
from vireid.data.inspection import describe_guesses
from vireid.data.layouts.pattern import AUTO
from vireid.data.walk import walk
from vireid.errors import ConfigError, first_few, many
from vireid.log import echo, printable
from vireid.times import parse_time
from vireid.types import Modality
from vireid.video import DetectOptions, People, Source, Stream
from vireid.video.frames import shown
from vireid.video.manifest import MANIFEST
from vireid.video.sources import open_sources

__all__ = [
    "DEFAULT_DETECTOR_OPTIONS",
    "DEFAULT_SCENE_OPTIONS",
    "DetectorOptions",
    "SceneOptions",
    "print_people",
    "split_scenes",
]


_DETECTION = DetectOptions()


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """The detector, and which of its boxes become crops."""

    detector: str = "nanodet"
    """An installed detector (`vireid models`), the path of a NanoDet-g (.xml), or the detector of a
    plugin."""
    detection: DetectOptions = _DETECTION
    """How frames are chosen, and crops of what they show."""


@dataclass(frozen=True, kw_only=True)
class SceneOptions(DetectorOptions):
    """Options for finding people in videos, streams and images of scenes."""

    start: str = ""
    """When the first frame was taken, in ISO 8601 (UTC unless it has an offset); the creation time
    in the video by default."""
    limit: Annotated[str, tyro.conf.arg(name="for")] = ""
    """How long to read streams, such as 10m; until Ctrl-C by default."""

    def open(
        self, names: Sequence[str], labels: LabelOptions, *, images: bool = True
    ) -> list[Source]:
        """Open the sources; arguments as :func:`~vireid.video.sources.open_sources`.

        Raises:
            VireidError: As there, a time or a duration is invalid, or an option applies to none.
        """
        if labels.pattern == AUTO:
            raise ConfigError(
                f"--pattern {AUTO} recognises the names of images of known data sets; expected a"
                " pattern of the names of these videos or scenes, such as"
                " 'cam{camera}_{time:%Y%m%dT%H%M%S}'."
            )
        try:
            start = parse_time(self.start) if self.start else None
        except ValueError as error:
            raise ConfigError(f"--start is {error}.") from None
        sources = open_sources(
            names,
            camera=labels.camera,
            start=start,
            modality=Modality(labels.modality) if labels.modality else None,
            pattern=labels.pattern,
            fps=self.detection.fps,
            limit=parse_duration(self.limit) if self.limit else None,
            images=images,
        )
        named = first_few(map(shown, names))
        streams = [isinstance(source, Stream) for source in sources]
        if self.limit and not any(streams):
            raise ConfigError(
                f"--for '{self.limit}' ends the reading of streams, and {named} has none; expected"
                " one (rtsp://, http://) with it; leave it out."
            )
        for flag, value in (("--start", self.start), ("--pattern", labels.pattern)):
            if value and all(streams):
                raise ConfigError(
                    f"{flag} '{value}' is for files, and {named} is read live; expected a file with"
                    " it; leave it out."
                )
        return sources


DEFAULT_DETECTOR_OPTIONS = DetectorOptions()
DEFAULT_SCENE_OPTIONS = SceneOptions()


def split_scenes(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell images of single people from videos, by their content, and streams.

    Args:
        names: Files, folders, patterns, manifests and addresses.

    Returns:
        The names of images, folders with images and manifests; and those of videos, folders with
        videos and streams. A folder with both is among both.
    """
    images, videos = list[str](), list[str]()
    for name in names:
        path = Path(name)
        if "://" in name:
            videos.append(name)
        elif path.is_dir():
            files = walk([path]).files
            pictures = {file for file in files if is_image(file)}
            has_video = any(
                is_video(file)
                for file in files
                if file not in pictures and not file.name.startswith(".")
            )
            if has_video:
                videos.append(name)
            if pictures or not has_video:
                images.append(name)
        elif glob.has_magic(name) and not path.exists():
            matched = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            own = [file for file in matched if Path(file).is_file() and _shows_video(Path(file))]
            videos += own
            if len(own) < len(matched) or not own:
                images.append(name)
        else:
            (videos if path.is_file() and _shows_video(path) else images).append(name)
    return images, videos


def _shows_video(path: Path) -> bool:
    return not is_image(path) and is_video(path)


def print_people(people: People, out: Path, sources: int) -> None:
    """Print what was found, and what was left out.

    Args:
        people: What was found.
        out: The folder of the crops.
        sources: The number of sources.
    """
    if people.skipped:
        echo(
            f"{many(len(people.skipped), 'source was', 'sources were')} finished before:"
            f" {printable(first_few(people.skipped))}."
        )
    if len(people.skipped) == sources:
        return
    rate = people.frames / max(sum(people.seconds.values()), 1e-9)
    earlier = f" and the boxes of {many(people.resumed, 'earlier one')}" if people.resumed else ""
    echo(
        f"{many(people.frames, 'frame')} ({rate:.1f} frames/s){earlier}:"
        f" {many(people.boxes, 'box', 'boxes')}, {many(people.tracklets, 'tracklet')},"
        f" {many(people.crops, 'crop')} in '{out / MANIFEST}'."
    )
    left_out = [
        (people.single, "in no tracklet, because the next frame does not show the person"),
        (people.small, "lower than --min-height"),
    ]
    if any(number for number, _ in left_out):
        echo(
            "Boxes left out: "
            + ", ".join(f"{number:,} {why}" for number, why in left_out if number)
            + "."
        )
    if people.known:
        echo(f"{many(people.known, 'crop was', 'crops were')} there already.")
    if sum(people.guessed.values()):
        echo(f"{describe_guesses(people.guessed)} Override with --modality.")
    if people.timeless:
        echo(
            f"{many(people.timeless, 'crop has', 'crops have')} no time: neither the file nor its"
            " name gives one; pass --start or --pattern."
        )
    if people.damaged:
        echo(f"{many(len(people.damaged), 'source')} cannot be read: see above.")
