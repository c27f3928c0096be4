"""Checks and phrases that every layout shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality

__all__ = ["counts", "first_few", "in_order", "require_both_modalities", "require_folder"]


def first_few(names: Iterable[object], *, shown: int = 3) -> str:
    """Return the first names, quoted, and how many there are beyond them."""
    quoted = [f"'{name}'" for name in names]
    rest = len(quoted) - shown
    return ", ".join(quoted[:shown]) + (f" and {rest} more" if rest > 0 else "")


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
