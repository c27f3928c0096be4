"""Checks and phrases that every layout shares."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality

__all__ = [
    "Surplus",
    "Tally",
    "counts",
    "files_below",
    "in_order",
    "is_image",
    "many",
    "refuse",
    "require_both_modalities",
    "require_folder",
    "tally",
]

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many identities and images a part of a data set has.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        modality: The modality counted.
        camera: The camera counted; None for all cameras of the modality.
        identities: Identities with at least one such image; None where no figure is published.
        images: Such images; None where no figure is published.
    """

    split: str
    modality: Modality
    camera: int | None
    identities: int | None
    images: int | None


class Surplus(str):
    """A problem that stops and falsifies nothing: files that are there and that no split uses."""

    __slots__ = ()


def tally(split: str, records: Sequence[ImageRecord]) -> tuple[Tally, ...]:
    """Count records by modality, and by camera within it."""
    found = []
    for modality in Modality:
        own = [record for record in records if record.modality is modality]
        for camera in (None, *sorted({record.camera for record in own})):
            seen = [r for r in own if camera is None or r.camera == camera]
            found.append(Tally(split, modality, camera, len({r.identity for r in seen}), len(seen)))
    return tuple(found)


def files_below(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield every file below some folders, in sorted order; a folder that is not there has none.

    Links to folders are followed, but for those to a folder that they lie in.
    """
    for folder in folders:
        found: list[Path] = []
        for base, below, names in os.walk(folder, followlinks=True):
            here = Path(base)
            whole = here.resolve()
            # Such a link would be walked for ever.
            below[:] = [name for name in below if not whole.is_relative_to((here / name).resolve())]
            found += [here / name for name in names]
        yield from sorted(found)


def many(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    # A leading dot marks the twins that macOS adds to archives ("._0001.jpg").
    return path.suffix.lower() in _ENDINGS and not path.name.startswith(".")


def refuse(faults: Sequence[str]) -> None:
    """Raise the first of the faults that were found, if any was.

    Raises:
        DatasetError: If there is a fault.
    """
    if faults:
        raise DatasetError(faults[0])


def require_folder(folder: Path, *, expected: str, mend: str) -> None:
    """Refuse a folder that is not there.

    Args:
        folder: The folder that must exist.
        expected: What it should hold, for the message.
        mend: Where to get it or what to pass instead, for the message.

    Raises:
        DatasetError: If ``folder`` is missing or is a file.
    """
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"'{folder}' {state}; expected {expected}; {mend}.")


def require_both_modalities(records: Sequence[ImageRecord], *, where: str, mend: str) -> None:
    """Refuse records without a single image of one modality.

    Raises:
        DatasetError: If there is no visible or no infrared image.
    """
    present = {record.modality for record in records}
    for modality in Modality:
        if modality not in present:
            raise DatasetError(
                f"{where} has 0 {modality} images among its {len(records):,}; expected images of"
                f" both modalities; {mend}."
            )


def in_order(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
    """Sort by camera, identity and file name, whatever the order of the file system."""
    return tuple(sorted(records, key=lambda r: (r.camera, r.identity, r.path.name)))


def counts(records: Sequence[ImageRecord]) -> str:
    """Say how many identities and images of each modality there are."""
    visible = sum(record.modality is Modality.VISIBLE for record in records)
    identities = len({record.identity for record in records})
    return (
        f"{identities:,} identities with {visible:,} visible"
        f" and {len(records) - visible:,} infrared images"
    )
