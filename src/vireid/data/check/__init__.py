"""Check the layout of a data set and the integrity of its images.

Example:
    >>> source = DataSource(layout="regdb", root=Path("data/RegDB"))  # doctest: +SKIP
    >>> report = check(source)  # doctest: +SKIP
    >>> report.exit_status  # doctest: +SKIP
    0
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from vireid.data.check.content import Splits, content_findings, file_findings, name_of
from vireid.data.check.faults import (
    COUNTS,
    LAYOUT,
    MERGED_NAMES,
    NOT_READ,
    ONE_SPLIT,
    OTHER_FILE,
    REPEATED,
    SEVERITIES,
    UNUSED,
)
from vireid.data.check.images import check_images
from vireid.data.check.report import CheckReport, Count, Finding, Location, found_at
from vireid.data.check.sheet import check_extension, write_sheet
from vireid.data.file_kind import is_image, kinds_left_out
from vireid.data.layouts import DataSource, Layout, Tally, folder_of, is_synthetic
from vireid.data.layouts._common import UnusedImages, tally
from vireid.data.layouts._custom import MergedNames
from vireid.data.tone_mapping import AUTO, ToneMapping
from vireid.data.walk import Walk
from vireid.errors import ConfigError, DatasetError, VireidError, many
from vireid.log import printable
from vireid.types import ImageRecord, Modality

__all__ = ["CheckReport", "check"]


def check(
    source: DataSource,
    *,
    tone_mapping: ToneMapping = AUTO,
    sheet: Path | None = None,
    threads: int | None = None,
    progress: bool = False,
    show: Callable[[CheckReport], object] = lambda _: None,
) -> CheckReport:
    """Check a data set: lists, folders, counts, every image and every identity.

    Every image is decoded once, listed or not; no pixels are kept.

    Args:
        source: The data set.
        tone_mapping: How images of more than 8 bits are mapped to 8.
        sheet: File for a contact sheet (.jpg or .png) of some identities of each split.
        threads: Number of decoding threads; by default one per processor, at most 8.
        progress: Show a bar with images/s on standard error.
        show: Called with the report before the sheet is written, which a full disk may prevent.

    Returns:
        The report; a data set that cannot be opened is a finding too.

    Raises:
        ConfigError: If an option is out of range or does not apply to the layout.
        OSError: If the sheet cannot be written.
    """
    if sheet:
        check_extension(sheet)
    try:
        layout = source.open()
    except (DatasetError, OSError) as error:
        report = CheckReport(
            about=f"Layout {source.layout} at '{printable(str(source.root))}': it cannot be opened,"
            " so no image was checked. Fix this first, then check again.",
            findings=(Finding(LAYOUT, _other_root(source) or _message(error)),),
        )
        show(report)
        return report
    splits, findings = _structure(layout)
    walked = _walk(layout)
    findings += _folders(walked, findings, root=folder_of(layout.root))
    listed = {record.path for records in splits.values() for record in records}
    found = set(filter(is_image, walked.files))
    paths = sorted(listed | found)
    mappings = {
        record.path: tone_mapping.of(record.camera_name)
        for records in splits.values()
        for record in records
    }
    cameras = {record.camera_name for records in splits.values() for record in records}
    if unknown := tone_mapping.unknown(cameras):
        raise ConfigError(unknown)
    images = check_images(paths, tone_mappings=mappings, threads=threads, progress=progress)

    root = folder_of(layout.root)
    synthetic = is_synthetic(root)
    counts = _counts(splits, () if synthetic else layout.published())
    findings += _differences(counts)
    findings += file_findings(images, root=root)
    others = [path for path in walked.files if path not in found and path.suffix != ".npy"]
    findings += _other_files(others, {path.parent for path in paths}, root=root)
    findings += content_findings(splits, images, root=root, tone_mapping=tone_mapping)
    report = CheckReport(
        about=_about(source, splits, images=len(images), synthetic=synthetic),
        counts=counts,
        findings=tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.fault.severity))),
    )
    show(report)
    if sheet:
        readable = {path for path, seen in images.items() if seen.fault is None}
        write_sheet(sheet, splits, readable, tone_mapping)
    return report


def _other_root(source: DataSource) -> str:
    """Return a message if the data set is in a folder below or above the root, else nothing."""
    root = source.root
    near = [*sorted(root.glob("*/")), *sorted(root.glob("*/*/"))]
    if root.is_dir():
        near.append(root.absolute().parent)
    for folder in near:
        # Archives from macOS have a second tree of companion files, without images.
        if "__MACOSX" in folder.parts:
            continue
        try:
            source.at(folder).open()
        except (VireidError, OSError):
            continue
        return (
            f"The data set is in '{folder}', not directly in '{root}'; expected the folder that"
            f" directly holds its images and lists; pass '{folder}' instead."
        )
    return ""


def _structure(layout: Layout) -> tuple[dict[str, tuple[ImageRecord, ...]], list[Finding]]:
    """Read the splits, and the faults of lists and folders."""
    splits: dict[str, tuple[ImageRecord, ...]] = {}
    refused: list[str] = []
    try:
        problems = layout.problems()
        for split, read in (("train", layout.train), ("val", layout.val), ("test", layout.test)):
            try:
                splits[split] = read()
            except DatasetError as error:
                refused.append(str(error))
    except OSError as error:
        return splits, [Finding(LAYOUT, _message(error))]
    harmless = {UnusedImages: UNUSED, MergedNames: MERGED_NAMES}
    findings = [Finding(harmless.get(type(problem), LAYOUT), problem) for problem in problems]
    # Usually the layout has reported the cause already, and in more detail.
    if not any(finding.fault is LAYOUT for finding in findings):
        usable = "train" in splits or "test" in splits
        findings += [Finding(ONE_SPLIT if usable else LAYOUT, words) for words in refused]
    return splits, findings


def _walk(layout: Layout) -> Walk:
    """The files of a layout; none if a fault, already reported, prevents listing them."""
    try:
        return layout.walk()
    except (DatasetError, OSError):
        return Walk()


def _folders(walked: Walk, reported: Sequence[Finding], *, root: Path) -> Iterator[Finding]:
    """Report folders that cannot be read, and links that are not followed."""
    known = {finding.what for finding in reported}
    messages = map(_message, walked.unreadable)
    yield from (Finding(LAYOUT, message) for message in messages if message not in known)
    links = [Location((name_of(path, root),)) for path in walked.repeats]
    yield from found_at(REPEATED, links, "link", "to a folder that is listed already")


def _message(error: DatasetError | OSError) -> str:
    if isinstance(error, DatasetError):
        return str(error)
    return (
        f"'{error.filename}' cannot be read ({error.strerror}); expected readable files and"
        " folders; grant permission, for example by chmod -R u+rX."
    )


def _counts(splits: Splits, published: Sequence[Tally]) -> tuple[Count, ...]:
    """Compare found with published numbers, for the splits that could be read."""
    should = {(t.split, t.modality, t.camera): t for t in published}
    rows = []
    for split, records in splits.items():
        names = {record.camera: record.camera_name or "unknown" for record in records}
        found = {(t.split, t.modality, t.camera): t for t in tally(split, records)}
        if not records and not any(t.split == split for t in published):
            continue
        for modality in Modality:
            own = {c for s, m, c in (*found, *should) if (s, m) == (split, modality)}
            cameras = sorted(camera for camera in own if camera is not None)
            # The row of an only camera would repeat that of all cameras.
            for camera in (None, *(cameras if len(cameras) > 1 else ())):
                row = split, modality, camera
                name = "all" if camera is None else names.get(camera, str(camera))
                rows.append(Count(found.get(row, Tally(*row, 0, 0)), name, should.get(row)))
    return tuple(rows)


def _differences(counts: Sequence[Count]) -> Iterator[Finding]:
    """Report the rows of the table that differ from the published numbers."""
    places = []
    for count in counts:
        found, should = count.found, count.published
        if should is not None and count.differs:
            camera = "all cameras" if found.camera is None else f"camera {count.camera}"
            name = f"{found.split}, {found.modality}, {camera}"
            places.append(Location((name,), f"{_numbers(found)} instead of {_numbers(should)}"))
    return found_at(COUNTS, places, "row", "in the table above with other counts than published")


def _numbers(row: Tally) -> str:
    identities = ""
    if row.identities is not None:
        identities = many(row.identities, "identity", "identities")
    images = many(row.images, "image") if row.images is not None else ""
    return f"{identities}{' with ' if identities and images else ''}{images}"


def _other_files(
    files: Sequence[Path], folders: Collection[Path], *, root: Path
) -> Iterator[Finding]:
    """Report files that are neither images nor arrays; companions only among images."""
    left_out = kinds_left_out(files)
    for kind, paths in left_out.items():
        one = len(paths) == 1
        words = f"{kind.one if one else f'{len(paths):,} {kind.many}'}"
        fix = kind.fix.format("it" if one else "them")
        yield Finding(
            NOT_READ, f"{words} ({fix})", tuple(Location((name_of(path, root),)) for path in paths)
        )
    named = {path for paths in left_out.values() for path in paths}
    places = [
        Location((name_of(path, root),))
        for path in files
        if path.parent in folders and path not in named
    ]
    yield from found_at(OTHER_FILE, places, "file", "of another kind among the images")


def _about(source: DataSource, splits: Splits, *, images: int, synthetic: bool) -> str:
    trial = f", trial {source.trial}" if source.layout == "regdb" else ""
    root = printable(str(source.root))
    sentences = [f"Layout {source.layout}{trial} at '{root}': {many(images, 'image')}."]
    if absent := [split for split in ("train", "val", "test") if split not in splits]:
        sentences.append(
            f"Not counted, for the reasons below: {', '.join(absent)} (images of these splits are"
            " checked one by one, but not compared)."
        )
    if synthetic:
        sentences.append("Synthetic people (SynVI): the published counts do not apply.")
    return "\n".join(sentences)
