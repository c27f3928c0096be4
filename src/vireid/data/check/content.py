"""What is wrong with images and identities, told from the facts that were kept of each image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vireid.data.check.kinds import (
    DAMAGED,
    EMPTY,
    FEW,
    FLAT,
    GREY_OR_COLOUR,
    LONELY_TEST,
    LONELY_TRAIN,
    MISNAMED,
    NO_IMAGE,
    REPEATED,
    SHARED_BY_IDENTITIES,
    SHARED_BY_SPLITS,
    SWAPPED,
    TINY,
    TOO_LARGE,
    UNREADABLE,
    Kind,
)
from vireid.data.check.looks import ENDINGS, Look
from vireid.data.check.report import Finding, Location, found_at
from vireid.data.inspection import GREY_BELOW
from vireid.data.layouts._common import many
from vireid.types import ImageRecord, Modality

__all__ = ["COLOUR_FROM", "Splits", "content_findings", "file_findings"]

Splits = Mapping[str, Sequence[ImageRecord]]
"""The images of each split: train, val and test."""

COLOUR_FROM = 8.0
"""Mean chroma from which an image is in colour: the least colourful of the visible images of SynVI
has 10, most have 20 to 50. Between this and ``GREY_BELOW`` lie dark or pale visible images and
infrared images with a tint, of which nothing is said."""
_SMALL = 8
"""Pixels a side under which an image is tiny."""

_FILE_FAULTS = {
    EMPTY: "of 0 bytes",
    NO_IMAGE: "named like an image, with something else inside",
    DAMAGED: "that cannot be decoded to the end",
    TOO_LARGE: "of more than 89 million pixels",
    UNREADABLE: "that the system does not open",
}


def file_findings(looks: Mapping[Path, Look], *, root: Path) -> Iterator[Finding]:
    """Yield what is wrong with single files.

    Args:
        looks: What is known of each image.
        root: The root of the data set; places are named below it.
    """

    def place(path: Path, detail: str = "") -> Location:
        return Location((name_of(path, root),), detail)

    for kind, words in _FILE_FAULTS.items():
        found = [place(path, seen.reason) for path, seen in looks.items() if seen.fault is kind]
        yield from found_at(kind, found, "file", words)
    whole = {path: seen for path, seen in looks.items() if seen.fault is None}
    misnamed = [
        place(path, f"{seen.format} inside")
        for path, seen in whole.items()
        if seen.format and path.suffix.lower() not in ENDINGS[seen.format]
    ]
    yield from found_at(MISNAMED, misnamed, "image", "of another format than the name says")
    tiny = [
        place(path, "{} x {} pixels".format(*seen.size))
        for path, seen in whole.items()
        if min(seen.size) < _SMALL
    ]
    yield from found_at(TINY, tiny, "image", f"under {_SMALL} pixels wide or high")
    flat = [place(path) for path, seen in whole.items() if seen.flat]
    yield from found_at(FLAT, flat, "image", "with the same colour in every pixel")


def content_findings(
    splits: Splits, looks: Mapping[Path, Look], *, root: Path
) -> Iterator[Finding]:
    """Yield what is wrong with the images and identities of the splits, taken together.

    Args:
        splits: The images of each split.
        looks: What is known of each image.
        root: The root of the data set; places are named below it.
    """
    yield from _copies(splits, looks, root=root)
    yield from _modalities(splits, looks, root=root)
    yield from _identities(splits)


def name_of(path: Path, root: Path) -> str:
    """The name of a file below the root, with forward slashes."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _copies(splits: Splits, looks: Mapping[Path, Look], *, root: Path) -> Iterator[Finding]:
    """Name images whose decoded pixels are equal, whatever the encoding."""
    same: dict[bytes, list[tuple[str, ImageRecord]]] = defaultdict(list)
    for split, records in splits.items():
        for record in records:
            seen = looks[record.path]
            # Images of one colour are named as such; they are all alike.
            if seen.fault is None and not seen.flat:
                same[seen.digest].append((split, record))
    places: dict[Kind, list[Location]] = {
        SHARED_BY_SPLITS: [],
        SHARED_BY_IDENTITIES: [],
        REPEATED: [],
    }
    for copies in same.values():
        if len(copies) < 2:
            continue
        in_splits = list(dict.fromkeys(split for split, _ in copies))
        identities = sorted({record.identity for _, record in copies})
        names = tuple(name_of(record.path, root) for _, record in copies)
        if len(in_splits) > 1:
            places[SHARED_BY_SPLITS].append(Location(names, " and ".join(in_splits)))
        elif len(identities) > 1:
            told = " and ".join(map(str, identities))
            places[SHARED_BY_IDENTITIES].append(Location(names, f"identities {told}"))
        else:
            places[REPEATED].append(Location(names, f"identity {identities[0]}"))
    words = {
        SHARED_BY_SPLITS: "in more than one split",
        SHARED_BY_IDENTITIES: "under more than one identity",
        REPEATED: "that an identity has more than once",
    }
    for kind, found in places.items():
        yield from found_at(kind, found, "image", words[kind])


def _modalities(splits: Splits, looks: Mapping[Path, Look], *, root: Path) -> Iterator[Finding]:
    """Name images in colour of infrared cameras, and grey ones of visible cameras."""
    cameras: dict[tuple[int, Modality], list[ImageRecord]] = defaultdict(list)
    for records in splits.values():
        for record in records:
            if looks[record.path].fault is None and not looks[record.path].flat:
                cameras[record.camera, record.modality].append(record)
    for (camera, modality), records in sorted(cameras.items()):
        wrong = [record for record in records if _like_the_other(modality, looks[record.path])]
        if wrong:
            yield Finding(
                SWAPPED if len(wrong) > len(records) / 2 else GREY_OR_COLOUR,
                f"{len(wrong):,} of {many(len(records), f'{modality} image')} of"
                f" {f'camera {camera}' if camera else 'cameras without a number'}"
                f" {'is' if len(wrong) == 1 else 'are'}"
                f" {'grey' if modality is Modality.VISIBLE else 'in colour'}",
                tuple(Location((name_of(record.path, root),)) for record in wrong),
            )


def _like_the_other(modality: Modality, seen: Look) -> bool:
    if modality is Modality.VISIBLE:
        return seen.chroma < GREY_BELOW
    return seen.chroma >= COLOUR_FROM


def _identities(splits: Splits) -> Iterator[Finding]:
    """Name identities without images of a modality, or with a single one to train on."""
    for split, records in splits.items():
        images = Counter((record.identity, record.modality) for record in records)
        kind = LONELY_TRAIN if split == "train" else LONELY_TEST
        words = f"of the {split} split with images of one modality only"
        yield from found_at(kind, _with(images, 0), "identity", words, plural="identities")
        if split == "train":
            words = "of the train split with a single image of a modality"
            yield from found_at(FEW, _with(images, 1), "identity", words, plural="identities")


def _with(images: Counter[tuple[int, Modality]], number: int) -> list[Location]:
    """The identities with just so many images of a modality."""
    return [
        Location((f"{identity}",), f"{number or 'no'} {modality} image")
        for identity in sorted({identity for identity, _ in images})
        for modality in Modality
        if images[identity, modality] == number
    ]
