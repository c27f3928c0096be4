"""Why filters match no entry of a gallery."""

from __future__ import annotations

from datetime import UTC, datetime

from vireid.errors import first_few
from vireid.gallery.filters import Filters
from vireid.gallery.gallery import Gallery
from vireid.gallery.store import Field

__all__ = ["missing_field", "unknown_value"]

_FIRST = datetime.min.replace(tzinfo=UTC)


def missing_field(gallery: Gallery, filters: Filters) -> str:
    """Say which field of the filters no entry has, and how to give it; empty if each has some.

    Args:
        gallery: The gallery.
        filters: The filters.
    """
    missing: list[str] = [
        field for field, _ in _given(filters) if not gallery.count_by(field).keys() - {""}
    ]
    if filters.since or filters.until:
        missing += ["time"] * (not gallery.count(Filters(since=_FIRST)))
    if not missing:
        return ""
    flag = " or --camera" if missing[0] == "camera" else ""
    what = f"{'an' if missing[0] == 'identity' else 'a'} {missing[0]}"
    return (
        f"No entry of '{gallery.location}' has {what}, so no filter on it can match; give it to"
        f" `vireid gallery add` by the column '{missing[0]}' of a manifest{flag}, after deleting"
        " entries that are to get one."
    )


def unknown_value(gallery: Gallery, filters: Filters) -> str:
    """Say which value of the filters no entry has, and which there are; empty if there is each.

    Args:
        gallery: The gallery.
        filters: The filters.
    """
    for field, values in _given(filters):
        counts = gallery.count_by(field)
        if not counts.keys() & set(values):
            known = first_few([name for name in counts if name], shown=5)
            return f"No entry has the {field} {first_few(values)}; there are {known or 'none'}."
    if filters.note and not gallery.count(Filters(note=filters.note)):
        return f"No note contains '{filters.note}'."
    return ""


def _given(filters: Filters) -> list[tuple[Field, tuple[str, ...]]]:
    """The fields with conditions, and the values that they may have."""
    modality = (filters.modality.value,) if filters.modality else ()
    every: list[tuple[Field, tuple[str, ...]]] = [
        ("camera", filters.cameras),
        ("identity", filters.identities),
        ("tracklet", filters.tracklets),
        ("modality", modality),
    ]
    return [(field, values) for field, values in every if any(values)]
