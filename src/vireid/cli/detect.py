"""``vireid detect SOURCES… --camera NAME --out FOLDER``: people in videos, frames and streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli.entries import parse_duration
from vireid.data.inspection import describe_guesses
from vireid.data.layouts._common import many
from vireid.errors import ConfigError, first_few
from vireid.log import echo, printable
from vireid.times import parse_time
from vireid.video import DetectOptions, People, detect_people, load_detector
from vireid.video.people import MANIFEST
from vireid.video.sources import open_sources

__all__ = ["detect"]

_DEFAULT = DetectOptions()


def detect(
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")],
    /,
    *,
    out: Path,
    camera: str = "",
    start: str = "",
    pattern: str = "",
    detector: str = "nanodet",
    limit: Annotated[str, tyro.conf.arg(name="for")] = "",
    options: DetectOptions = _DEFAULT,
) -> People:
    """Find the people in videos, frames and streams; write their best crops.

    People are detected, and tracked from frame to frame; of each tracklet the few best crops are
    kept: sharp, whole and apart in time. Every command that takes images takes the manifest. Run
    the same command again to continue after an interruption.

    Args:
        sources: Videos, folders of videos or of frames (searched recursively), images of scenes,
            and addresses of streams (rtsp://, http://).
        out: Output folder: the crops and their manifest.csv.
        camera: Camera of the sources; one command for each camera, or a pattern.
        start: When the first frame was taken, in ISO 8601 (UTC unless it has an offset); the
            creation time in the video by default.
        pattern: Pattern that reads camera and time from the names of files, such as
            'cam{camera}_{time:%Y%m%dT%H%M%S}'.
        detector: An installed detector (`vireid models`), the path of a NanoDet-g (.xml), or the
            detector of a plugin.
        limit: How long to read streams, such as 10m; until Ctrl-C by default.
        options: Options for detection.

    Returns:
        What was found.
    """
    try:
        began = parse_time(start) if start else None
    except ValueError as error:
        raise ConfigError(f"--start is {error}.") from None
    opened = open_sources(
        sources,
        camera=camera,
        start=began,
        pattern=pattern,
        fps=options.fps,
        limit=parse_duration(limit) if limit else None,
    )
    people = detect_people(opened, out, load_detector(detector), options)
    _print(people, out, len(opened))
    return people


def _print(people: People, out: Path, sources: int) -> None:
    """Print what was found, and what was left out."""
    if people.skipped:
        echo(
            f"{many(len(people.skipped), 'source was', 'sources were')} finished before:"
            f" {printable(first_few(people.skipped))}."
        )
    if len(people.skipped) == sources:
        return
    rate = people.frames / max(sum(people.seconds.values()), 1e-9)
    earlier = f" and the boxes of {people.resumed:,} earlier ones" if people.resumed else ""
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
