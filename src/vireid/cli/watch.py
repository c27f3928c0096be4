"""``vireid watch SOURCE… --gallery GALLERY``: adds what arrives, and reports matches."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli._flags import Switch
from vireid.cli._images import LabelOptions, load_for_gallery
from vireid.cli._scenes import DEFAULT_DETECTOR_OPTIONS, DetectorOptions
from vireid.cli.entries import parse_duration, place_beside
from vireid.cli.serve import Logging
from vireid.data.layouts.pattern import AUTO
from vireid.distributed.signals import catch_stop
from vireid.errors import ConfigError
from vireid.gallery import open_gallery
from vireid.log import echo, log
from vireid.types import Device, Modality
from vireid.video import load_detector
from vireid.video.frames import shown

__all__ = ["Receiver", "watch"]


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Where matches with saved searches are sent."""

    webhook: str = ""
    """Address, http(s)://HOST/PATH, that gets a signed POST for each match; without it matches are
    only printed and logged."""
    secret_file: Path | None = None
    """File with the secret that signs them; by default the environment variable
    VIREID_WEBHOOK_SECRET."""


_LABELS, _RECEIVER, _LOGGING = LabelOptions(), Receiver(), Logging()


def watch(
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")],
    /,
    *,
    gallery: str,
    run: Path | None = None,
    scenes: Switch = False,
    people: Path | None = None,
    interval: float = 5.0,
    keep: str = "",
    labels: LabelOptions = _LABELS,
    options: DetectorOptions = DEFAULT_DETECTOR_OPTIONS,
    receiver: Receiver = _RECEIVER,
    logging: Logging = _LOGGING,
    device: Device | None = None,
) -> None:
    """Add what arrives in folders and streams to a gallery; report matches.

    Runs until Ctrl-C or SIGTERM; the same command goes on. Of folders, images and videos are added,
    those that are there included, once they are complete; deleted entries are not added again. An
    arrival that matches a saved search (`vireid gallery save-search`) is reported once for each
    tracklet. `vireid serve` may have the gallery open at the same time.

    Args:
        sources: Folders, and addresses of streams (rtsp://, http://). One watch for each camera, or
            --pattern.
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server; created if it does
            not exist.
        run: Run folder or name of the model, as for `vireid gallery add`.
        scenes: Images show whole scenes: find the people in them; those of a folder that arrive
            together are tracked as frames. By default each image is the crop of one person.
        people: Folder of the state and of the crops of people who were found; by default
            GALLERY.watch in the folder that contains the gallery.
        interval: Seconds between two listings of the folders; a file is complete when two see it
            unchanged.
        keep: Retention period, such as 30d: older entries of the gallery, and their crops in
            --people, are deleted every hour.
        labels: What is known of images and videos.
        options: Options for finding people.
        receiver: Where matches are sent.
        logging: The audit log, which records matches and deletions.
        device: Device; the one used for training by default.
    """
    # Imported here because torch takes seconds, and --help does without.
    from vireid.watching import Watch, Watcher, WatchOptions, Webhook
    from vireid.watching.webhook import read_secret

    folders, streams = _split(sources, labels, scenes=scenes)
    watched = Watch(
        folders=folders,
        without=[place_beside(gallery, ".people").resolve()],
        streams=streams,
        camera=labels.camera,
        modality=Modality(labels.modality) if labels.modality else None,
        pattern=labels.pattern,
        scenes=scenes,
        detection=options.detection,
    )
    settings = WatchOptions(interval=interval, keep=parse_duration(keep) if keep else None)
    if receiver.secret_file and not receiver.webhook:
        raise ConfigError(
            f"--secret-file '{receiver.secret_file}' signs what --webhook gets; expected both; add"
            " --webhook, or leave it out."
        )
    webhook = (
        Webhook(receiver.webhook, read_secret(receiver.secret_file, os.environ))
        if receiver.webhook
        else None
    )
    if scenes or streams:
        load_detector(options.detector)  # fails now if there is none
    extractor = load_for_gallery(run, gallery, device=device, create=True)
    with (
        open_gallery(gallery, model=extractor.model_info, create=True, turns=True) as opened,
        contextlib.closing(logging.open(gallery)) as audit,
    ):
        user = getpass.getuser()

        def record(action: str, details: Mapping[str, object]) -> None:
            audit.write(user, action, details)

        where = people or place_beside(gallery, ".watch")
        watcher = Watcher(
            watched,
            opened,
            extractor,
            where,
            make_detector=partial(load_detector, options.detector),
            record=record,
            options=settings,
            webhook=webhook,
        )
        searches = ", ".join(search.name for search in opened.searches) or "none"
        echo(
            f"Watching {', '.join(map(shown, sources))} (stop with Ctrl-C). Images are"
            f" {'scenes' if scenes else 'crops of one person each'}; crops of people in"
            f" {'scenes and videos' if scenes else 'videos'} stay in '{where}'. Saved searches:"
            f" {searches}."
        )
        sys.stdout.flush()
        if webhook is None and opened.searches:
            log("Without --webhook matches are printed and logged only.")
        with catch_stop(watcher.stop):
            watcher.run()
    echo("The watch has ended; the same command goes on.")


def _split(
    names: tuple[str, ...], labels: LabelOptions, *, scenes: bool
) -> tuple[list[Path], list[str]]:
    """The folders and the streams.

    Raises:
        ConfigError: A source is neither, a stream has no camera, or options are for files alone.
    """
    streams = [name for name in names if "://" in name]
    folders = [Path(name).resolve() for name in names if "://" not in name]
    if not names:
        raise ConfigError("nothing to watch is named; expected folders or addresses of streams.")
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                f"'{folder}' is no folder; expected folders or addresses of streams; add single"
                " files with `vireid gallery add`."
            )
    if streams and not labels.camera:
        raise ConfigError(f"'{shown(streams[0])}' has no camera; expected --camera; add it.")
    if not folders and (scenes or labels.pattern):
        raise ConfigError(
            f"{'--scenes' if scenes else '--pattern'} is for files, and only streams are watched;"
            " expected a folder with it; leave it out."
        )
    if labels.pattern == AUTO:
        raise ConfigError(
            f"--pattern {AUTO} needs images that are there; expected the pattern itself, such as"
            " 'cam{camera}_{time:%Y%m%dT%H%M%S}{any}'."
        )
    return folders, streams
