"""What is known of who is together on the images: tracklets, and corrections by a person."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from vireid.adaptation.clustering import Links
from vireid.data.layouts import Layout, Manifest
from vireid.data.listing import list_images
from vireid.data.rows import Columns, read_rows
from vireid.errors import DatasetError, first_few, many
from vireid.log import log
from vireid.types import ImageInfo, ImageRecord, Modality

__all__ = ["known_links"]

_COLUMNS = Columns(required=("first", "second", "same"), optional=())
_ANSWERS = {"yes": True, "no": False}

Pair = tuple[int, int]


def known_links(
    layout: Layout, records: Sequence[ImageRecord], corrections: Path | None
) -> tuple[Links, Links]:
    """What is known of the images of each modality.

    Images of one tracklet show one person; tracklets of one camera whose times overlap show two.

    Args:
        layout: The data set; only a manifest has tracklets.
        records: Its images, visible ones first.
        corrections: A table with the columns ``first`` and ``second``, paths of images, absolute or
            relative to the folder of the table, and ``same``, yes or no; None: no corrections.

    Returns:
        The links of the visible and of the infrared images, by their positions within the modality.

    Raises:
        DatasetError: A row names an image that is not adapted to, images of two modalities, or has
            another answer; or what is known contradicts itself.
    """
    same, apart = _of_tracklets(layout, records)
    if apart or same:
        log(
            f"Of the tracklets, {many(len(same), 'pair')} of images are of one person and"
            f" {many(len(apart), 'pair')} of tracklets of two, at the same time in one camera."
        )
    if corrections is not None:
        for first, second, is_same in _read(corrections, records, layout.root):
            (same if is_same else apart).append((first, second))
    groups = _groups(same)
    of_group = {row: number for number, group in enumerate(groups) for row in group}
    torn = [
        str(records[a].path)
        for a, b in apart
        if a == b or of_group.get(a, -1) == of_group.get(b, -2)
    ]
    if torn:
        raise DatasetError(
            f"{first_few(torn)} and other images are known both as one person and as two; expected"
            " one of them; remove the wrong row of the corrections, or fix the tracklets of the"
            " manifest."
        )
    visible = sum(record.modality is Modality.VISIBLE for record in records)
    return (
        Links([g for g in groups if g[0] < visible], [p for p in apart if p[0] < visible]),
        Links(
            [[row - visible for row in g] for g in groups if g[0] >= visible],
            [(a - visible, b - visible) for a, b in apart if a >= visible],
        ),
    )


def _of_tracklets(layout: Layout, records: Sequence[ImageRecord]) -> tuple[list[Pair], list[Pair]]:
    """Pairs of images of one tracklet, and of two that one camera saw at the same time."""
    if not isinstance(layout, Manifest):
        return [], []
    row_of = {str(record.path.absolute()): row for row, record in enumerate(records)}
    tracklets: dict[tuple[Modality, str, str], list[tuple[int, ImageInfo]]] = {}
    for info in list_images(layout.file):
        row = row_of.get(str(info.path.absolute()))
        if info.tracklet and row is not None:
            key = (records[row].modality, info.camera, info.tracklet)
            tracklets.setdefault(key, []).append((row, info))
    same = [
        (one, other)
        for images in tracklets.values()
        for (one, _), (other, _) in itertools.pairwise(images)
    ]
    apart = []
    spans = sorted(
        (modality, camera, min(times), max(times), images[0][0])
        for (modality, camera, _), images in tracklets.items()
        if len(times := [info.time for _, info in images if info.time]) > 1
    )
    for position, (modality, camera, _, end, row) in enumerate(spans):
        for later in spans[position + 1 :]:
            if later[:2] != (modality, camera) or later[2] >= end:
                break
            apart.append((row, later[4]))
    return same, apart


def _read(file: Path, records: Sequence[ImageRecord], root: Path) -> list[tuple[int, int, bool]]:
    """The corrections: two images, and whether they show the same person."""
    rows = read_rows(file, _COLUMNS)
    known = {str(record.path.absolute()): row for row, record in enumerate(records)}
    found = []
    for row in range(len(rows)):
        pair = []
        for name in ("first", "second"):
            text = rows.columns[name].text(row)
            path = os.path.normpath(file.absolute().parent / text)
            if path not in known:
                raise DatasetError(
                    f"{rows.where(row)} names '{text}', which is not among the images of '{root}';"
                    " expected the path of one of them; fix or remove the row."
                )
            pair.append(known[path])
        first, second = pair
        answer = rows.columns["same"].text(row).lower()
        if answer not in _ANSWERS:
            raise DatasetError(
                f"{rows.where(row)} has '{answer}' in the column same; expected yes or no; fix the"
                " row."
            )
        if records[first].modality is not records[second].modality:
            raise DatasetError(
                f"{rows.where(row)} links images of two modalities; expected images of one, because"
                " each modality is clustered by itself; remove the row."
            )
        found.append((first, second, _ANSWERS[answer]))
    return found


def _groups(pairs: Sequence[Pair]) -> list[list[int]]:
    """Connected rows, each group in ascending order."""
    group_of: dict[int, set[int]] = {}
    for a, b in pairs:
        joined = group_of.get(a, {a}) | group_of.get(b, {b})
        for row in joined:
            group_of[row] = joined
    return sorted(sorted(group) for group in {id(g): g for g in group_of.values()}.values())
