"""``vireid gallery COMMAND GALLERY``: galleries in folders and on Qdrant servers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm
from tyro.extras import SubcommandApp

from vireid.cli import gallery_case
from vireid.cli._flags import Switch
from vireid.cli._images import (
    DEFAULT_IMAGE_OPTIONS,
    ImageOptions,
    list_labelled,
    load_for_gallery,
    print_converted,
    print_detected,
    print_skipped,
)
from vireid.cli._scenes import (
    DEFAULT_SCENE_OPTIONS,
    SceneOptions,
    print_people,
    split_scenes,
)
from vireid.cli._standardise import log_few_images
from vireid.cli.calibrate import calibrate
from vireid.cli.entries import EntryFilters, parse_duration, place_beside
from vireid.cli.gallery_search import search
from vireid.cli.saved_search import save_search
from vireid.errors import ConfigError, GalleryError, VideoError, VireidError, first_few, many
from vireid.gallery import (
    BATCH,
    EDITABLE,
    EVERYTHING,
    EXACT_UP_TO,
    Added,
    Filters,
    Gallery,
    Info,
    Verification,
    open_gallery,
)
from vireid.gallery._checks import check_model
from vireid.gallery.no_match import missing_field, unknown_value
from vireid.gallery.options import DEFAULT_COLLECTION, CollectionOptions, ServerOptions
from vireid.log import echo, log, on_stop, printable
from vireid.standardisation import Standardisation, arrays_of
from vireid.times import parse_time
from vireid.types import ImageInfo, IndexedImage, Modality, id_of
from vireid.video import DetectOptions, Detector, Source, detect_people, load_detector
from vireid.video.manifest import MANIFEST, read_crops

if TYPE_CHECKING:
    from vireid.features import ExtractedBatch
    from vireid.features.bulk import FeatureFolder, Part
    from vireid.features.parquet import FeatureFile

__all__ = [
    "add",
    "app",
    "copy",
    "edit",
    "expire",
    "export",
    "forget",
    "info",
    "standardise",
    "verify",
]

PROVED = 1_000
"""Maximum number of deleted entries whose traces are searched for."""

Place = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")]
Ids = tyro.conf.UseAppendAction[tuple[str, ...]]


def app() -> SubcommandApp:
    """``vireid gallery`` with its sub-commands."""
    verbs = SubcommandApp()
    for verb in (
        add,
        edit,
        search,
        save_search,
        calibrate,
        info,
        export,
        forget,
        expire,
        copy,
        standardise,
        verify,
    ):
        verbs.command(verb)
    verbs.command(gallery_case.app(), name="case", help=gallery_case.SUMMARY)
    return verbs


def add(
    gallery: Place,
    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")
    ] = (),
    /,
    *,
    run: Path | None = None,
    encoded: Path | None = None,
    part: str = "1/1",
    update: Switch = False,
    scenes: Switch = False,
    people: Path | None = None,
    options: ImageOptions = DEFAULT_IMAGE_OPTIONS,
    detection: SceneOptions = DEFAULT_SCENE_OPTIONS,
    collection: CollectionOptions = DEFAULT_COLLECTION,
) -> Added:
    """Add images to a gallery, and the people in videos; create the gallery if it does not exist.

    Images that the gallery already holds (same bytes) are skipped, so the command can be run again
    after an interruption, or regularly on a growing folder. If they come with another camera, time,
    identity, tracklet or note, that is said, and --update takes it.

    Videos, which are recognised by their content, and streams go through `vireid detect` first: the
    best crops of each tracklet are added.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        images: Image files, folders, patterns and manifests, as for `vireid encode`; videos, and
            addresses of streams (rtsp://, http://).
        run: Run folder or name of the model; one model per gallery. By default the gallery's model
            if it is an installed one; of a new gallery the default model (`vireid models`).
        encoded: Instead of images and --run: a file written by `vireid encode` or `vireid gallery
            export`, or a folder written by `vireid encode --shard-rows`.
        part: Of a folder of shards, add only the I-th of N parts, written I/N (such as 2/4).
            Several commands may add different parts to a gallery on a server concurrently.
        update: Replace camera, time, identity, tracklet and note of images that the gallery already
            holds, where they are given.
        scenes: Images show whole scenes: find the people in them too, and track them through the
            images of a folder. By default each image is the crop of one person.
        people: Folder of the crops of people who were found, with their manifest.csv; by default
            GALLERY.people in the folder that contains the gallery.
        options: Options for the images.
        detection: Options for finding people.
        collection: Options for a new gallery on a Qdrant server.

    Returns:
        How many images were new, and how many known.
    """
    # Imported here because torch takes seconds, and other commands do without.
    from vireid.features import extract_from_files
    from vireid.features.bulk import WHOLE, Part

    if encoded is not None:
        given = options != DEFAULT_IMAGE_OPTIONS or detection != DEFAULT_SCENE_OPTIONS
        if images or run or update or scenes or people or given:
            raise ConfigError(
                f"--encoded '{encoded}' already holds features; expected no image, no --run, no"
                " --update and no option for images or videos with it; leave out one or the other."
            )
        file = _open_encoded(encoded, Part.parse(part))
        with open_gallery(
            gallery, model=file.model, create=True, options=ServerOptions(collection=collection)
        ) as opened:
            return _add(opened, file.unless(opened.known), total=file.rows)
    if part != str(WHOLE):
        raise ConfigError(
            f"--part '{part}' selects shards of a folder of features; expected --encoded with it;"
            " add --encoded or leave out --part."
        )
    crops, videos = ([], list(images)) if scenes else split_scenes(images)
    if images and not videos and (people or detection != DEFAULT_SCENE_OPTIONS):
        raise ConfigError(
            "--people and options for finding people, such as --start and --detector, are for"
            f" videos, streams and scenes, and {first_few(images)} holds crops of one person each;"
            " add --scenes if they are scenes, or leave the options out. The times of crops come"
            " from a manifest or --pattern."
        )
    if videos:
        where = people or place_beside(gallery, ".people")
        sources = detection.open(videos, options, images=scenes)
        found = _Found(sources, where, load_detector(detection.detector), detection.detection)
        one = len(sources) == 1
        video = "is a video by its content" if one else "are videos by their content"
        echo(
            f"People are detected in {many(len(sources), 'source')},"
            f" {'as --scenes says' if scenes else f'which {video}'}."
            f" {'Its' if one else 'Their'} crops stay in '{where}'."
        )
        if crops:
            start = ", to which --start does not apply" if detection.start else ""
            echo(f"Images are taken as crops of one person each{start}; with --scenes as scenes.")
    else:
        found = None
    listed = options.list(crops, videos=False) if crops or not found else []
    extractor = load_for_gallery(
        run, gallery, device=options.device, tone_mapping=options.tone_mapping, create=True
    )
    extract = partial(
        extract_from_files, extractor, batch_size=options.batch_size, skip_bad=options.skip_bad
    )
    with open_gallery(
        gallery,
        model=extractor.model_info,
        create=True,
        options=ServerOptions(collection=collection),
    ) as opened:
        batches = extract(listed, known=opened.known) if listed else iter(())
        if found:
            own = (batch for infos in found for batch in extract(infos, known=opened.known))
            batches = chain(batches, own)
        with options.hint():
            return _add(opened, batches, total=None if found else len(listed), update=update)


class _Found:
    """The crops of people in sources, source by source, each after its detection.

    Args:
        sources: The sources.
        out: The folder of the crops.
        detector: The detector.
        options: Options of the detection.
    """

    def __init__(
        self, sources: Sequence[Source], out: Path, detector: Detector, options: DetectOptions
    ) -> None:
        self._sources, self._out = sources, out
        self._detector, self._options = detector, options

    def __iter__(self) -> Iterator[list[ImageInfo]]:
        bad = list[str]()
        for source in self._sources:
            manifest = self._out / MANIFEST
            there = manifest.stat().st_size if manifest.exists() else 0
            try:
                people = detect_people([source], self._out, self._detector, self._options)
            except VideoError as error:
                if len(self._sources) == 1:
                    raise
                bad.append(str(error))
                log(printable(str(error)))
                continue
            print_people(people, self._out, 1)
            resumed = people.skipped or people.resumed or people.known
            infos = [
                info
                for info, _ in read_crops(self._out, 0 if resumed else there)
                if info.path.parent == self._out / source.folder
            ]
            gone = [info.path for info in infos if not info.path.exists()]
            if gone:
                log(
                    f"{many(len(gone), 'crop')} of '{printable(source.name)}' were deleted, such as"
                    f" {first_few(gone, shown=1)}, and are left out."
                )
            yield [info for info in infos if info.path not in set(gone)]
        if bad:
            echo(f"{many(len(bad), 'source')} cannot be read: see above.")
            if len(bad) == len(self._sources):
                raise VideoError(" ".join(bad))


@dataclass(frozen=True, kw_only=True)
class NewValues:
    """New values for the selected entries; an empty text stands for unknown."""

    set_camera: str | None = None
    """Camera."""
    set_identity: str | None = None
    """Identity."""
    set_time: str | None = None
    """Time in ISO 8601, UTC unless it has an offset."""
    set_tracklet: str | None = None
    """Tracklet."""
    set_note: str | None = None
    """Note."""

    def changes(self) -> dict[str, Any]:
        """The given values, by the names of the library.

        Raises:
            ConfigError: The time is invalid.
        """
        given = {name: getattr(self, f"set_{name}") for name in EDITABLE}
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("time"):
            try:
                given["time"] = parse_time(given["time"])
            except ValueError as error:
                raise ConfigError(f"--set-time is {error}.") from None
        return given | ({"time": None} if given.get("time") == "" else {})


def edit(
    gallery: Place,
    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")
    ] = (),
    /,
    *,
    id: Ids = (),
    filters: EntryFilters = EVERYTHING,
    values: NewValues = NewValues(),
    pattern: str = "",
    yes: Switch = False,
) -> int:
    """Change camera, time, identity, tracklet and note of entries.

    Either give images, folders or manifests as to `vireid gallery add`: what a manifest or
    --pattern says of an image replaces what its entry has, and empty cells change nothing. Or
    select entries by --id and filters, and give them new values by --set-camera and so on.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        images: Image files, folders, patterns and manifests; the files are read to find their
            entries.
        id: Change the entry with this id, as shown by `vireid gallery search --json`.
        filters: Change all entries that match these filters (with --id: those of them).
        values: New values for the selected entries.
        pattern: Pattern of the ends of image paths, as for `vireid gallery add`.
        yes: Confirm changing more than one selected entry.

    Returns:
        The number of changed entries.
    """
    selected = replace(filters, ids=id)
    changes = values.changes()
    if bool(images) == bool(changes) or bool(changes) != (selected != EVERYTHING):
        raise ConfigError(
            "vireid gallery edit expected either images or manifests, or new values (--set-camera,"
            " --set-identity, --set-time, --set-tracklet, --set-note) and the entries that get them"
            " (--id or filters); leave out one or the other."
        )
    if pattern and not images:
        raise ConfigError(
            f"--pattern '{pattern}' is read from the names of images; expected some; leave it out."
        )
    with open_gallery(gallery, write=True) as opened:
        if images:
            listed = list_labelled(images, pattern)
            found = _given(replace(one, sha256=_sha256(one.path)) for one in listed)
            there = opened.count(Filters(ids=tuple(found)))
            lacking = many(len(found) - there, "image is", "images are")
            absent = f"; {lacking} not in it" if there < len(found) else ""
        else:
            ids = opened.select(selected)
            if len(ids) > 1 and not yes:
                raise ConfigError(
                    f"{len(ids):,} entries of '{gallery}' would be changed; add --yes to do so."
                )
            found, there, absent = dict.fromkeys(ids, changes), len(ids), ""
        number = opened.edit(found)
    echo(
        f"{many(number, 'entry was', 'entries were')} changed of {there:,} in '{gallery}'{absent}."
    )
    return number


def _given(infos: Iterable[ImageInfo]) -> dict[str, dict[str, Any]]:
    """By the id of each image what is known of it."""
    return {
        info.id: {name: value for name in EDITABLE if (value := getattr(info, name))}
        for info in infos
    }


def info(gallery: Place, /) -> Info:
    """Print a summary of a gallery.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.

    Returns:
        The summary.
    """
    with open_gallery(gallery) as opened:
        found = opened.info()
    echo(found)
    return found


def export(gallery: Place, /, *, out: Path, filters: EntryFilters = EVERYTHING) -> int:
    """Export entries and their features to a file for `vireid gallery add --encoded`.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        out: Output file, ending in .parquet.
        filters: Filters; all entries by default.

    Returns:
        The number of exported entries.
    """
    from vireid.features.parquet import check_ending, write_features

    check_ending(out)
    with open_gallery(gallery) as opened:
        rows = tqdm(
            opened.rows(filters),
            total=opened.count(filters),
            desc="exporting",
            unit="image",
            disable=None,
        )
        number = write_features(out, _batches(rows), opened.model)
    echo(f"'{out}' holds {many(number, 'entry', 'entries')} of '{gallery}'.")
    return number


def forget(
    gallery: Place,
    /,
    *,
    id: Ids = (),
    image: tyro.conf.UseAppendAction[tuple[Path, ...]] = (),
    filters: EntryFilters = EVERYTHING,
    yes: Switch = False,
) -> int:
    """Delete entries for good, thumbnails and features included, and verify the deletion.

    Cases lose what they hold of the entries, too. Image files and exported files are not touched.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        id: Delete the entry with this id, as shown by `vireid gallery search --json`.
        image: Delete the entry of this image file.
        filters: Delete all entries that match these filters (with --id or --image: those of them).
        yes: Confirm deleting more than one entry.

    Returns:
        The number of deleted entries.
    """
    filters = replace(filters, ids=(*id, *map(_id_of_file, image)))
    if filters == EVERYTHING:
        raise ConfigError(
            "vireid gallery forget got no condition; expected --id, --image, --identity or another"
            " one; to delete everything, delete the gallery's folder or collection."
        )
    with open_gallery(gallery, write=True) as opened:
        selected = opened.select(filters)
        number = len(selected)
        if number > 1 and not yes:
            some = Filters(ids=selected[:3])
            rows = opened.rows(some, features=False, thumbnails=False)
            names = [printable(str(row.info.path)) for row in rows]
            rest = f" and {number - len(names):,} more" if number > len(names) else ""
            raise ConfigError(
                f"{number:,} entries of '{gallery}' would be deleted for good:"
                f" {first_few(names)}{rest}; add --yes to do so."
            )
        return _forget(opened, filters)


def expire(gallery: Place, /, *, older_than: str) -> int:
    """Delete entries older than a retention period for good, and verify the deletion.

    The age of an entry counts from when its image was taken or added, whichever came first. Cases
    lose their hits and queries with the entries, query images that are no entries at the same age,
    and are deleted when they have no image left and were not changed since.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        older_than: Retention period, such as 30d, 12h, 90m or 2w.

    Returns:
        The number of deleted entries.
    """
    before = datetime.now(UTC) - parse_duration(older_than)
    with open_gallery(gallery, write=True) as opened:
        number = _forget(opened, Filters(retained_before=before))
        cases = opened.cases.expire(before) if opened.cases.available else 0
        future = opened.count() - opened.count(Filters(retained_before=datetime.now(UTC)))
    if cases:
        echo(f"{many(cases, 'case without images was', 'cases without images were')} deleted.")
    if future:
        log(
            f"{many(future, 'entry is', 'entries are')} dated in the future and"
            f" {'does' if future == 1 else 'do'} not expire before then: the clock was ahead when"
            " they were added, or is behind now; set it, delete them and add their images again."
        )
    return number


def copy(
    source: Place, target: Place, /, *, collection: CollectionOptions = DEFAULT_COLLECTION
) -> int:
    """Copy entries, cases, saved searches and the calibration of a gallery to another gallery.

    The target is created if it does not exist; what it has already stays as it is. Use this to move
    a gallery to a server, which keeps no cases, or back.

    Args:
        source: Gallery to read.
        target: Gallery to add to.
        collection: Options for a new gallery on a Qdrant server.

    Returns:
        The number of new entries.
    """
    if _same(source, target):
        raise ConfigError(
            f"'{source}' would be copied to itself; expected two different galleries."
        )
    with (
        open_gallery(source) as read,
        open_gallery(
            target, model=read.model, create=True, options=ServerOptions(collection=collection)
        ) as written,
    ):
        new, number = read.copy_to(written), read.count()
        _index(written)
    echo(
        f"'{target}' has {many(new, 'entry', 'entries')} more, of {number:,} in '{source}'; it"
        " already had the others."
    )
    return new


def standardise(
    source: Place,
    target: Place,
    /,
    *,
    encoded: tuple[Path, ...] = (),
    deviation: Switch = False,
    collection: CollectionOptions = DEFAULT_COLLECTION,
) -> Standardisation:
    """Copy a gallery to a new one with standardised features.

    Subtracts from each feature the mean of the entries of the same modality (and camera, from 100
    entries), which improves searches between modalities. The new gallery keeps the statistics and
    standardises what is added and searched. It gets the cases, and the saved searches that the
    calibration decides; use it in place of the source, and calibrate it. Run the command on it to
    update the statistics, or again after an interruption.

    Args:
        source: Gallery to read; it is not changed.
        target: New gallery.
        encoded: Also compute the statistics from these files of `vireid encode`, of unlabelled
            images; needed for a modality that the gallery lacks and queries have.
        deviation: Also divide by the standard deviation.
        collection: Options for a new gallery on a Qdrant server.

    Returns:
        The statistics.
    """
    from vireid.features.parquet import FeatureFile

    if _same(source, target):
        raise ConfigError(
            f"'{source}' would be standardised into itself; expected a new gallery as the second."
        )
    files = [FeatureFile(path) for path in encoded]
    with open_gallery(source) as read:
        before = read.standardisation
        network = before.network(read.model) if before else read.model
        for file in files:
            check_model(source, network, file.model)

        def raw() -> Iterator[Sequence[IndexedImage]]:
            for batch in _batches(read.rows()):
                yield before.of_images(batch.images, invert=True) if before else batch.images

        found = Standardisation.fit_batches(
            (
                arrays_of(images)
                for images in chain(raw(), (b.images for file in files for b in file))
            ),
            source="entries" + (" and other images" if files else ""),
            divide=deviation,
        )
        for modality in Modality:
            if (modality, "") not in found.groups:
                raise ConfigError(
                    f"'{source}' has no {modality} entry; expected entries of both modalities, as"
                    " queries are standardised by the mean of theirs; add features of unlabelled"
                    f" {modality} images with --encoded FILE."
                )
        with open_gallery(
            target,
            model=found.model(network),
            create=True,
            options=ServerOptions(collection=collection),
        ) as written:
            # Before the first entry, so that a kill leaves no gallery without its statistics.
            written.save_standardisation(found)
            for images in raw():
                written.add(found.of_images(images))
            read.copy_cases_and_searches(written)
            _index(written)
            entries = written.count()
    log_few_images(found)
    echo(
        f"'{target}' holds {many(entries, 'entry', 'entries')} with standardised features:"
        f" {found}. Use it in place of the source, and calibrate it (`vireid gallery calibrate`)."
    )
    return found


def verify(gallery: Place, /, *, gone: Ids = (), rebuild: Switch = False) -> Verification:
    """Read every entry and case of a gallery, and compare the filter indexes with the entries.

    Reports damaged entries, indexes and cases, cases that name deleted entries, and missing image
    files.

    Args:
        gallery: A folder, or http(s)://HOST:PORT/COLLECTION of a Qdrant server.
        gone: Also search for traces of the deleted entry with this id.
        rebuild: First discard the filter indexes and build them from the entries.

    Returns:
        The report.
    """
    with open_gallery(gallery, rebuild=rebuild) as opened:
        found = opened.verify(deleted=gone)
    echo(found)
    _require_whole(found, gallery)
    return found


def _batches(rows: Iterable[IndexedImage]) -> Iterator[ExtractedBatch]:
    """Group rows into batches."""
    from vireid.features import ExtractedBatch

    waiting = iter(rows)
    while batch := tuple(islice(waiting, BATCH)):
        yield ExtractedBatch(batch)


def _add(
    gallery: Gallery, batches: Iterable[ExtractedBatch], *, total: int | None, update: bool = False
) -> Added:
    """Add images with a progress bar, and print a summary."""
    new = known = differing = 0
    bad: list[str] = []
    guessed: Counter[Modality] = Counter()
    remarks: Counter[str] = Counter()

    def kept() -> str:
        there = f"{many(new, 'new image is', 'new images are')} in '{gallery.location}'"
        return f"{there}; run the same command again to continue." if new else ""

    with (
        on_stop(kept, VireidError),
        tqdm(total=total, desc="adding", unit="image", disable=None) as bar,
    ):
        for batch in batches:
            added = gallery.add(batch.images)
            new += added.new
            known += added.known + batch.known
            differing += gallery.edit(_given(batch.known_infos), dry_run=not update)
            bad += batch.bad
            guessed.update(batch.guessed)
            remarks.update(batch.remarks)
            bar.update(batch.seen)
    entries = gallery.count()
    _index(gallery)
    stay = f"; {known:,} were already there" if known else ""
    echo(f"'{gallery.location}' holds {many(entries, 'entry', 'entries')}: {new:,} new{stay}.")
    if differing:
        what = "camera, time, identity, tracklet or note"
        echo(
            f"{many(differing, 'entry', 'entries')} got a new {what}."
            if update
            else f"{many(differing, 'known image')} came with another {what}; the entries stay as"
            " they were. With --update they take the new values."
        )
    print_converted(remarks)
    print_detected(guessed)
    print_skipped(bad)
    return Added(new, known)


def _open_encoded(place: Path, part: Part) -> FeatureFile | FeatureFolder:
    from vireid.features.bulk import WHOLE, FeatureFolder
    from vireid.features.parquet import FeatureFile

    if place.is_dir():
        return FeatureFolder(place, part)
    if part != WHOLE:
        raise ConfigError(
            f"--part {part} selects shards of a folder, but --encoded '{place}' is a file; expected"
            " a folder of `vireid encode --shard-rows`, or no --part."
        )
    return FeatureFile(place)


def _index(gallery: Gallery) -> None:
    """Build the index of a large gallery if it is missing, for example after a kill."""
    entries = gallery.count()
    if entries > EXACT_UP_TO:
        log(f"Building the index that makes searching {entries:,} entries fast.")
        gallery.index()


def _same(one: str, other: str) -> bool:
    """Whether two arguments name the same gallery."""
    if "://" in one or "://" in other:
        return one.rstrip("/") == other.rstrip("/")
    return Path(one).resolve() == Path(other).resolve()


def _forget(gallery: Gallery, filters: Filters) -> int:
    """Delete entries, print how many, and verify the deletion."""
    # Read now, to search for their traces afterwards.
    gone = _readable(gallery, gallery.select(filters)[:PROVED])
    with on_stop(lambda: "some entries may be left: run the same command again to finish."):
        number = gallery.delete(filters)
    if not number:
        reason = missing_field(gallery, filters) or unknown_value(gallery, filters)
        echo(f"'{gallery.location}' has no such entry; no entry was deleted. {reason}".rstrip())
        return 0
    echo(
        f"{many(number, 'entry was', 'entries were')} deleted; '{gallery.location}' holds"
        f" {gallery.count():,}."
    )
    if gone:
        found = gallery.verify(deleted=gone, rows=False)
        echo(found)
        _require_whole(found, gallery.location)
    return number


def _readable(gallery: Gallery, ids: Sequence[str]) -> Sequence[IndexedImage | str]:
    """The entries, or only their ids if one of them is damaged."""
    try:
        return list(gallery.rows(Filters(ids=tuple(ids)))) if ids else []
    except GalleryError as error:
        log(f"Some entries cannot be read, so fewer traces can be verified: {error}")
        return ids


def _require_whole(found: Verification, place: str) -> None:
    if not found.passed:
        raise GalleryError(
            f"'{place}' is damaged, see above; expected no fault and no trace; delete the listed"
            " entries and add their images again."
        )


def _id_of_file(image: Path) -> str:
    """The id of the entry of an image file."""
    return id_of(_sha256(image, "--image "))


def _sha256(image: Path, flag: str = "") -> str:
    try:
        with image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{flag}'{image}' cannot be read ({error.strerror}), by whose bytes its entry is found;"
            " expected a file; use --id instead."
        ) from error
