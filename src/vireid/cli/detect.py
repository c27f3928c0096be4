"""``vireid detect SOURCES… --camera NAME --out FOLDER``: people in videos, frames and streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli._images import LabelOptions
from vireid.cli._scenes import DEFAULT_SCENE_OPTIONS, SceneOptions, print_people
from vireid.files import require_writable
from vireid.video import People, detect_people, load_detector

__all__ = ["detect"]

_DEFAULT_LABELS = LabelOptions()


def detect(
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")],
    /,
    *,
    out: Path,
    labels: LabelOptions = _DEFAULT_LABELS,
    options: SceneOptions = DEFAULT_SCENE_OPTIONS,
) -> People:
    """Find the people in videos, frames and streams; write their best crops.

    People are detected, and tracked from frame to frame; of each tracklet the few best crops are
    kept: sharp, whole and apart in time. Every command that takes images takes the manifest. Run
    the same command again to continue after an interruption.

    Args:
        sources: Videos, folders of videos or of frames (searched recursively), images of scenes,
            and addresses of streams (rtsp://, http://). One command for each camera, or --pattern.
        out: Output folder: the crops and their manifest.csv.
        labels: What is known of the sources.
        options: Options for detection.

    Returns:
        What was found.
    """
    require_writable(out, folder=True)
    opened = options.open(sources, labels)
    people = detect_people(opened, out, load_detector(options.detector), options.detection)
    print_people(people, out, len(opened))
    return people
