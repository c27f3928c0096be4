"""Faults of images and identities, from what the check keeps of each image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vireid.data.bit_depth import PREVIEW, UNDEFINED, Levels
from vireid.data.check.faults import (
    DAMAGED,
    DUPLICATE,
    EMPTY,
    FEW,
    FLAT,
    FRAMES,
    METADATA,
    MISNAMED,
    NARROW,
    NEGATIVE,
    NOT_AN_IMAGE,
    ONE_MODALITY_TEST,
    ONE_MODALITY_TRAIN,
    RADIOMETRIC,
    SHARED_BY_IDENTITIES,
    SHARED_BY_SPLITS,
    SWAPPED,
    TINY,
    TOO_LARGE,
    UNDEFINED_PIXELS,
    UNMAPPED,
    UNREADABLE,
    WRONG_MODALITY,
    Fault,
)
from vireid.data.check.images import CheckedImage
from vireid.data.check.report import Finding, Location, found_at
from vireid.data.images import FIRST_FRAME, MAX_SIDE
from vireid.data.inspection import GREY_BELOW
from vireid.data.tone_mapping import AUTO, Bounds, ToneMapping
from vireid.errors import many
from vireid.types import ImageRecord, Modality

__all__ = ["COLOUR_FROM", "Splits", "content_findings", "file_findings"]

Splits = Mapping[str, Sequence[ImageRecord]]
"""The images of each split: train, val and test."""

COLOUR_FROM = 8.0
"""Mean chroma from which an image is in colour: the least colourful visible image of SynVI has 10,
most have 20 to 50. Dark or pale visible images and tinted infrared images lie between this and
``GREY_BELOW``; they are not reported."""
_MIN_SIDE = 8
"""Width or height in pixels below which an image is tiny."""

_FILE_FAULTS = {
    EMPTY: "of 0 bytes",
    NOT_AN_IMAGE: "with an image's extension but other content",
    DAMAGED: "that cannot be fully decoded",
    UNMAPPED: "that cannot be mapped to 8 bits",
    TOO_LARGE: f"of more than 89 million pixels, or {MAX_SIDE:,} in width or height",
    UNREADABLE: "that cannot be opened",
}


def file_findings(images: Mapping[Path, CheckedImage], *, root: Path) -> Iterator[Finding]:
    """Yield the faults of single files.

    Args:
        images: The check of each image.
        root: The root of the data set; paths are reported relative to it.
    """

    def place(path: Path, detail: str = "") -> Location:
        return Location((name_of(path, root),), detail)

    for fault, words in _FILE_FAULTS.items():
        by_fix: dict[str, list[Location]] = {}
        for path, seen in images.items():
            if seen.fault is fault:
                fix = seen.kind.fix if seen.kind else ""
                by_fix.setdefault(fix, []).append(place(path, seen.reason))
        for fix, found in by_fix.items():
            do = f" ({fix.format('it' if len(found) == 1 else 'them')})" if fix else ""
            yield from found_at(fault, found, "file", words + do)
    readable = {path: seen for path, seen in images.items() if seen.fault is None}
    misnamed = [
        place(path, f"contains {seen.kind.format}")
        for path, seen in readable.items()
        if seen.kind and path.suffix.lower() not in seen.kind.endings
    ]
    yield from found_at(MISNAMED, misnamed, "image", "in another format than the extension says")
    damaged = [place(path, seen.metadata) for path, seen in readable.items() if seen.metadata]
    yield from found_at(METADATA, damaged, "image", "with metadata that cannot be read")
    tiny = [
        place(path, "{} x {} pixels".format(*seen.size))
        for path, seen in readable.items()
        if min(seen.size) < _MIN_SIDE
    ]
    yield from found_at(TINY, tiny, "image", f"less than {_MIN_SIDE} pixels wide or high")
    flat = [place(path) for path, seen in readable.items() if seen.flat]
    yield from found_at(FLAT, flat, "image", "of a single colour")
    for fault, remark in (
        (RADIOMETRIC, PREVIEW),
        (UNDEFINED_PIXELS, UNDEFINED),
        (FRAMES, FIRST_FRAME),
    ):
        own = [place(path) for path, seen in readable.items() if remark in seen.remarks]
        yield from found_at(fault, own, "image", remark)


def content_findings(
    splits: Splits,
    images: Mapping[Path, CheckedImage],
    *,
    root: Path,
    tone_mapping: ToneMapping = AUTO,
) -> Iterator[Finding]:
    """Yield the faults of the images and identities of all splits together.

    Args:
        splits: The images of each split.
        images: The check of each image.
        root: The root of the data set; paths are reported relative to it.
        tone_mapping: How images of more than 8 bits were mapped to 8.
    """
    yield from _copies(splits, images, root=root)
    yield from _modalities(splits, images, root=root)
    yield from _narrow(splits, images, tone_mapping)
    yield from _identities(splits)


def name_of(path: Path, root: Path) -> str:
    """The name of a file below the root, with forward slashes."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _copies(
    splits: Splits, images: Mapping[Path, CheckedImage], *, root: Path
) -> Iterator[Finding]:
    """Yield images with equal decoded pixels, whatever their encoding."""
    same: dict[bytes, list[tuple[str, ImageRecord]]] = defaultdict(list)
    for split, records in splits.items():
        for record in records:
            seen = images[record.path]
            # Images of a single colour are reported as such.
            if seen.fault is None and not seen.flat:
                same[seen.digest].append((split, record))
    places: dict[Fault, list[Location]] = {
        SHARED_BY_SPLITS: [],
        SHARED_BY_IDENTITIES: [],
        DUPLICATE: [],
    }
    for copies in same.values():
        if len(copies) < 2:
            continue
        in_splits = list(dict.fromkeys(split for split, _ in copies))
        identities = sorted({(record.identity, record.identity_name) for _, record in copies})
        names = tuple(name_of(record.path, root) for _, record in copies)
        if len(in_splits) > 1:
            places[SHARED_BY_SPLITS].append(Location(names, " and ".join(in_splits)))
        elif len(identities) > 1:
            listed = " and ".join(name for _, name in identities)
            places[SHARED_BY_IDENTITIES].append(Location(names, f"identities {listed}"))
        else:
            places[DUPLICATE].append(Location(names, f"identity {identities[0][1]}"))
    words = {
        SHARED_BY_SPLITS: "in more than one split",
        SHARED_BY_IDENTITIES: "under more than one identity",
        DUPLICATE: "found more than once in an identity",
    }
    for fault, found in places.items():
        yield from found_at(fault, found, "image", words[fault])


def _modalities(
    splits: Splits, images: Mapping[Path, CheckedImage], *, root: Path
) -> Iterator[Finding]:
    """Yield colour images of infrared cameras, and grey images of visible cameras."""
    cameras: dict[tuple[int, Modality], list[ImageRecord]] = defaultdict(list)
    for records in splits.values():
        for record in records:
            if images[record.path].fault is None and not images[record.path].flat:
                cameras[record.camera, record.modality].append(record)
    for (camera, modality), records in sorted(cameras.items()):
        wrong = [record for record in records if _looks_like_other(modality, images[record.path])]
        if wrong:
            yield Finding(
                SWAPPED if len(wrong) > len(records) / 2 else WRONG_MODALITY,
                f"{len(wrong):,} of {many(len(records), f'{modality} image')} of"
                f" {f'camera {records[0].camera_name}' if camera else 'unknown cameras'}"
                f" {'is' if len(wrong) == 1 else 'are'}"
                f" {'grey' if modality is Modality.VISIBLE else 'in colour'}",
                tuple(Location((name_of(record.path, root),)) for record in wrong),
            )


def _narrow(
    splits: Splits, images: Mapping[Path, CheckedImage], tone_mapping: ToneMapping
) -> Iterator[Finding]:
    """Yield the cameras whose images use less than a quarter of the range of their values."""
    cameras: dict[tuple[str, Modality], dict[Path, Levels]] = defaultdict(dict)
    for record in (record for records in splits.values() for record in records):
        levels = images[record.path].levels
        if levels and tone_mapping.of(record.camera_name).kind in ("auto", "full"):
            cameras[record.camera_name, record.modality][record.path] = levels
    for (camera, modality), found in sorted(cameras.items()):
        low, high = min(s.low for s in found.values()), max(s.high for s in found.values())
        highest = max(seen.highest for seen in found.values())
        if 4 * (high - low) < highest or not highest:
            how = Counter(seen.how for seen in found.values())
            each = ", ".join(f"{number:,} {words}" for words, number in how.most_common())
            held = f"of 0 to {highest:,}" if highest else "of no fixed range"
            place = f"camera '{camera}'" if camera else "unknown cameras"
            own = Bounds(float(f"{low:.6g}"), float(f"{high:.6g}"), camera)
            yield Finding(
                NARROW,
                f"{many(len(found), f'{modality} image')} of"
                f" {place} with values from {low:,.6g} to {high:,.6g} {held}: {each} (tone mapping"
                f" {tone_mapping}); for fixed bounds: --tone-mapping 'bounds:{own}'",
            )


def _looks_like_other(modality: Modality, seen: CheckedImage) -> bool:
    if modality is Modality.VISIBLE:
        return seen.chroma < GREY_BELOW
    return seen.chroma >= COLOUR_FROM


def _identities(splits: Splits) -> Iterator[Finding]:
    """Yield identities without images of a modality, and training identities with a single one."""
    for split, records in splits.items():
        people = [record for record in records if record.role == "person"]
        images = Counter(((r.identity, r.identity_name), r.modality) for r in people)
        sizes = Counter(record.identity_name for record in people)
        negative = [
            Location((name,), many(sizes[name], "image"))
            for name in sorted(sizes)
            if name.startswith("-") and name[1:].isdecimal()
        ]
        words = f"of the {split} split with a negative number"
        yield from found_at(NEGATIVE, negative, "identity", words, plural="identities")
        fault = ONE_MODALITY_TRAIN if split == "train" else ONE_MODALITY_TEST
        words = f"of the {split} split with images of one modality only"
        yield from found_at(fault, _with(images, 0), "identity", words, plural="identities")
        if split == "train":
            words = "of the train split with a single image of a modality"
            yield from found_at(FEW, _with(images, 1), "identity", words, plural="identities")


def _with(images: Counter[tuple[tuple[int, str], Modality]], number: int) -> list[Location]:
    """The identities, by number and name, with exactly this number of images of a modality."""
    return [
        Location((identity[1],), f"{number or 'no'} {modality} image")
        for identity in sorted({identity for identity, _ in images})
        for modality in Modality
        if images[identity, modality] == number
    ]
