"""Whether a data set is laid out as published and its images are whole.

Example:
    >>> source = DataSource(layout="regdb", root=Path("data/RegDB"))  # doctest: +SKIP
    >>> report = check(source)  # doctest: +SKIP
    >>> report.exit_status  # doctest: +SKIP
    0
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from vireid.data.check.content import Splits, content_findings, file_findings, name_of
from vireid.data.check.kinds import COUNTS, LAYOUT, ONE_SPLIT, SEVERITIES, STRAY, SURPLUS
from vireid.data.check.looks import look_at_all
from vireid.data.check.report import CheckReport, Count, Finding, Location, found_at
from vireid.data.check.sheet import check_ending, write_sheet
from vireid.data.layouts import DataSource, Layout, Tally, folder_of, is_synthetic
from vireid.data.layouts._common import Surplus, is_image, many, tally
from vireid.errors import DatasetError, VireidError
from vireid.types import ImageRecord, Modality

__all__ = ["CheckReport", "check"]


def check(
    source: DataSource,
    *,
    sheet: Path | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> CheckReport:
    """Look at a whole data set: lists, folders, counts, every image and every identity.

    Every image is decoded once, listed or not; a few facts are kept of each, no pixels.

    Args:
        source: The data set.
        sheet: Where to write a contact sheet (.jpg or .png) of some identities of each split.
        threads: Threads that decode; as many as there are processors, at most 8, by default.
        progress: Show a bar with images/s on standard error.

    Returns:
        What was found. A data set that cannot be opened is a finding too.

    Raises:
        ConfigError: If an option is out of range or does not go with the layout.
        OSError: If the sheet cannot be written.
    """
    if sheet:
        check_ending(sheet)
    try:
        layout = source.open()
    except (DatasetError, OSError) as error:
        return CheckReport(
            about=f"Layout {source.layout} at '{source.root}': it cannot be opened, so that no"
            " image was looked at. Mend this first, and check again.",
            findings=(Finding(LAYOUT, _elsewhere(source) or _words(error)),),
        )
    splits, findings = _structure(layout)
    files = _files(layout)
    listed = {record.path for records in splits.values() for record in records}
    paths = sorted(listed.union(filter(is_image, files)))
    looks = look_at_all(paths, threads=threads, progress=progress)

    root = folder_of(layout.root)
    synthetic = is_synthetic(root)
    counts = _counts(splits, () if synthetic else layout.published())
    findings += _differences(counts)
    findings += file_findings(looks, root=root)
    findings += _strays(files, {path.parent for path in paths}, root=root)
    findings += content_findings(splits, looks, root=root)
    if sheet:
        whole = {path for path, seen in looks.items() if seen.fault is None}
        write_sheet(sheet, splits, whole)
    return CheckReport(
        about=_about(source, splits, images=len(looks), synthetic=synthetic),
        counts=counts,
        findings=tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.kind.severity))),
    )


def _elsewhere(source: DataSource) -> str:
    """Say in which folder below or above the root the data set lies, if it does."""
    root = source.root
    near = [*sorted(root.glob("*/")), *sorted(root.glob("*/*/"))]
    if root.is_dir():
        near.append(root.absolute().parent)
    for folder in near:
        # Archives packed on macOS bring a twin of the whole tree, without images.
        if "__MACOSX" in folder.parts:
            continue
        try:
            source.at(folder).open()
        except (VireidError, OSError):
            continue
        return (
            f"The data set lies not in '{root}' itself but in '{folder}'; expected the folder that"
            f" directly holds its images and lists; pass '{folder}' instead."
        )
    return ""


def _structure(layout: Layout) -> tuple[dict[str, tuple[ImageRecord, ...]], list[Finding]]:
    """Read the splits, and everything that is wrong with lists and folders."""
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
        return splits, [Finding(LAYOUT, _words(error))]
    findings = [Finding(SURPLUS if isinstance(p, Surplus) else LAYOUT, p) for p in problems]
    # As a rule the layout has named the cause already, and better, knowing all of it.
    if not any(finding.kind is LAYOUT for finding in findings):
        usable = "train" in splits or "test" in splits
        findings += [Finding(ONE_SPLIT if usable else LAYOUT, words) for words in refused]
    return splits, findings


def _files(layout: Layout) -> list[Path]:
    """The files of a layout; none where what is wrong, and named already, hides them."""
    try:
        return list(layout.files())
    except (DatasetError, OSError):
        return []


def _words(error: DatasetError | OSError) -> str:
    if isinstance(error, DatasetError):
        return str(error)
    return (
        f"The system does not let '{error.filename}' be read ({error.strerror}); expected files and"
        " folders that may be read; give yourself the right to, as by chmod -R u+rX."
    )


def _counts(splits: Splits, published: Sequence[Tally]) -> tuple[Count, ...]:
    """Put what is there beside what is published, for the splits that could be read."""
    should = {(t.split, t.modality, t.camera): t for t in published}
    rows = []
    for split, records in splits.items():
        found = {(t.split, t.modality, t.camera): t for t in tally(split, records)}
        if not records and not any(t.split == split for t in published):
            continue
        for modality in Modality:
            own = {c for s, m, c in (*found, *should) if (s, m) == (split, modality)}
            cameras = sorted(camera for camera in own if camera is not None)
            # The row of a single camera would repeat that of all cameras.
            for camera in (None, *(cameras if len(cameras) > 1 else ())):
                row = split, modality, camera
                rows.append(Count(found.get(row, Tally(*row, 0, 0)), should.get(row)))
    return tuple(rows)


def _differences(counts: Sequence[Count]) -> Iterator[Finding]:
    """Name the rows of the table whose published figures are others."""
    places = []
    for count in counts:
        found, should = count.found, count.published
        if should is not None and count.differs:
            camera = "all cameras" if found.camera is None else f"camera {found.camera}"
            name = f"{found.split}, {found.modality}, {camera}"
            places.append(Location((name,), f"{_numbers(found)} instead of {_numbers(should)}"))
    return found_at(COUNTS, places, "row", "in the table above with other figures than published")


def _numbers(row: Tally) -> str:
    identities = f"{row.identities:,} identities" if row.identities is not None else ""
    images = f"{row.images:,} images" if row.images is not None else ""
    return f"{identities}{' with ' if identities and images else ''}{images}"


def _strays(files: Sequence[Path], folders: Collection[Path], *, root: Path) -> Iterator[Finding]:
    """Name files in the folders of images that are neither images nor arrays of them."""
    places = [
        Location((name_of(path, root),))
        for path in files
        if path.parent in folders and not is_image(path) and path.suffix.lower() != ".npy"
    ]
    return found_at(STRAY, places, "file", "of another kind among the images")


def _about(source: DataSource, splits: Splits, *, images: int, synthetic: bool) -> str:
    trial = f", trial {source.trial}" if source.layout == "regdb" else ""
    sentences = [f"Layout {source.layout}{trial} at '{source.root}': {many(images, 'image')}."]
    sentences += [
        f"The {split} split could not be read: it is not counted, and its images were looked at one"
        " by one but not compared."
        for split in ("train", "val", "test")
        if split not in splits
    ]
    if synthetic:
        sentences.append("Synthetic people (SynVI): the published figures do not apply.")
    return "\n".join(sentences)
